"""The worker process: disk, subprocesses, logs, the control API. Ordinary Python; nothing here keeps time.

It does what the heartbeat asks, reports what it finds, and makes sure of one thing by itself: when the heartbeat is
gone without a goodbye, nobody renews the right to serve, so mfsmaster is killed before anything else.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from pycarpd.control.health import has_successor
from pycarpd.control.history import History
from pycarpd.control.metrics import Metrics
from pycarpd.control.reports import Report, report
from pycarpd.control.server import serve_tcp, serve_unix
from pycarpd.control.status import HistoryAnswer, Status
from pycarpd.daemon import messages as msg
from pycarpd.daemon.arbitration import Arbitration
from pycarpd.daemon.board import Board
from pycarpd.daemon.bugs import end_on_bugs
from pycarpd.daemon.channel import Channel, Closed
from pycarpd.daemon.chronicle import Chronicle
from pycarpd.daemon.disk import Disk
from pycarpd.daemon.drills import Drills
from pycarpd.daemon.emergency import stop_serving
from pycarpd.daemon.founding import COMMAND as FOUND
from pycarpd.daemon.founding import Founding
from pycarpd.daemon.handover import HandoverDesk
from pycarpd.daemon.host import Host
from pycarpd.daemon.jobs import Job, Kind, Listener, faults_of
from pycarpd.daemon.patient import Findings, Patient, finds_serving, remembered_metaid
from pycarpd.daemon.plans import PlanDesk
from pycarpd.daemon.scribe import Scribe
from pycarpd.daemon.standby import Needs, Standby
from pycarpd.daemon.stonith import COMMAND as CONFIRM_DEAD
from pycarpd.daemon.stonith import Stonith
from pycarpd.daemon.watchman import Watchman
from pycarpd.election import effects as fx
from pycarpd.election.model import Role
from pycarpd.linux.files import write_durably
from pycarpd.settings import DaemonSettings
from pycarpd.takeover.demote import ARCHIVING_STEP
from pycarpd.takeover.events import Outcome
from pycarpd.takeover.executor import StepProgress
from pycarpd.takeover.lost import LOST_FILE
from pycarpd.takeover.step import Verb

logger = logging.getLogger(__name__)

END_TIMEOUT_S = 60.0
METAID_FILE = "metaid"
JOURNAL_FILE = "journal"
HISTORY_FILE = "history.jsonl"
SERVING_ROLES = (Role.MASTER, Role.SUSPENDED)


class Worker:
    """Wires the heartbeat's wishes to the host; ``run`` returns the process's exit code."""

    def __init__(
        self, settings: DaemonSettings, host: Host | None, heartbeat: Channel, votes: Channel, supervisor: Channel
    ) -> None:
        self._settings = settings
        self._host = host
        self._heartbeat = heartbeat
        self._supervisor = supervisor
        self._state_dir = Path(settings.state_dir)
        self._metaid = remembered_metaid(self._state_dir / METAID_FILE)
        self._arbitration = Arbitration(settings, heartbeat.send)
        self._board = Board(settings, more_reports=self._arbitration.reports)
        self._stonith = Stonith(lambda: self._settings, lambda: self._board.news)
        self._scribe = Scribe(self._state_dir, votes, is_urgent=settings.realtime)
        self._disk = Disk()
        self._chronicle = Chronicle(History(self._state_dir / HISTORY_FILE), self._board, self._disk)
        self._role = Role.INIT
        self._over: asyncio.Future[int] | None = None
        self._desk: PlanDesk | None = None
        self._patient: Patient | None = None
        self._handover: HandoverDesk | None = None
        self._standby: Standby | None = None
        self._founding: Founding | None = None
        self._watchman: Watchman | None = None
        self._runners: list[web.AppRunner] = []

    async def run(self) -> int:
        """Work until the heartbeat says goodbye (0) or is gone (1)."""
        loop = asyncio.get_running_loop()
        end_on_bugs(loop)
        self._over = loop.create_future()
        self._scribe.start()
        await self._serve()
        if self._host is not None:
            await self._prepare_host(self._host)
        host, metaid = self._host, self._expected_metaid()
        serves = host is not None and await asyncio.to_thread(finds_serving, host, metaid)
        self._heartbeat.send(msg.WorkerHello(serves))
        self._arbitration.start()
        loop.add_reader(self._heartbeat.fileno(), self._read_heartbeat)
        loop.add_reader(self._supervisor.fileno(), self._read_supervisor)
        self._read_heartbeat()
        if self._patient is not None:
            self._patient.start()
        elif self._host is None:
            self._heartbeat.send(msg.FreshnessNews(None, "a witness votes and never serves"))
        self._supervisor.send(msg.ReadyNews())
        code = await self._over
        await self._end(code)
        return code

    async def _serve(self) -> None:
        settings = self._settings
        served = [await serve_unix(self, Path(settings.control_socket))]
        if settings.http_host is not None and settings.http_port is not None:
            served.append(await serve_tcp(self, settings.http_host, settings.http_port))
        for each in served:
            if isinstance(each, Report):
                logger.error("%s", each.line)
            else:
                self._runners.append(each)

    async def _prepare_host(self, host: Host) -> None:
        loop = asyncio.get_running_loop()
        self._desk = PlanDesk(host.takeover, self._state_dir / JOURNAL_FILE, self._expected_metaid, host.follower)
        self._desk.fence = self._stonith.fence
        self._desk.listener = Listener(
            want_address=lambda term: self._heartbeat.send(msg.EarlyAddress(term)),
            ask_address=lambda term, version: self._heartbeat.send(msg.AttachRequest(term, version)),
            ended=self._on_plan_ended,
            progress=self._on_progress,
            finished=self._on_plan_finished,
            proved=lambda found: self._heartbeat.send(
                msg.FreshnessNews(found, "", host.exports.digest(), has_files=True, is_settled=True)
            ),
        )
        recovered = await self._desk.recover()
        if recovered.plan != "none":
            logger.warning("took back an interrupted plan=%s undone=%s", recovered.plan, recovered.undone)
        moosefs = self._settings.moosefs
        hang_timeout_s = moosefs.hang_timeout_s if moosefs is not None else 0

        def tell(found: Findings) -> None:
            loop.call_soon_threadsafe(self._on_findings, found)

        self._patient = Patient(host, hang_timeout_s, self._expected_metaid, tell)
        self._handover = HandoverDesk(self._heartbeat, self._desk, self._patient, self._board, self._operate)
        self._watchman = Watchman(host.mfsmaster, self._on_mfsmaster_gone)
        desk = self._desk
        self._founding = Founding(host.takeover, self._board, self._expected_metaid, lambda: desk.is_busy)
        self._standby = self._make_standby(host, self._desk, self._patient)
        self._standby.on_plan_ended(recovered)

    def _make_standby(self, host: Host, desk: PlanDesk, patient: Patient) -> Standby:
        def interval_s() -> int:
            return self._settings.moosefs.drill_interval_s if self._settings.moosefs is not None else 0

        drills = Drills(host.takeover, self._state_dir, self._expected_metaid, interval_s)
        needs = Needs(host, self._board, self._disk, drills, lambda: desk.is_busy, self._operate, patient.look_now)
        return Standby(needs)

    async def _end(self, code: int) -> None:
        """Leave the host as it is to be left: after a goodbye finish what runs, without one stop serving first.

        A promotion in progress would otherwise start mfsmaster after it was ended.
        """
        loop = asyncio.get_running_loop()
        for fileno in (self._heartbeat.fileno(), self._supervisor.fileno()):
            loop.remove_reader(fileno)
        if code:
            self._heartbeat.close()
            if self._desk is not None:
                self._desk.give_up()
        if code and self._host is not None:
            await asyncio.to_thread(stop_serving, self._host, self._settings)
        if self._patient is not None:
            self._patient.stop()
        if self._desk is not None and not await self._desk.idle(END_TIMEOUT_S):
            logger.error("a plan does not end, its journal is taken up by the next start")
        self._chronicle.keep()
        self._disk.close()
        await asyncio.to_thread(self._scribe.close)
        await self._arbitration.close()
        for runner in self._runners:
            await runner.cleanup()

    def status(self) -> Status:
        """Return what this node knows now."""
        if self._standby is not None:
            self._board.drill = self._standby.drills.status()
            self._board.standby_reports = self._standby.reports(self._role)
        return self._board.status()

    def history(self) -> HistoryAnswer:
        """Return the kept transitions."""
        return self._chronicle.answer(self._settings.node_name)

    def metrics(self) -> Metrics:
        """Return the counters since the start."""
        return self._board.metrics()

    async def command(self, name: str, args: Mapping[str, Any]) -> tuple[Report, ...]:
        """Pass an operator's command on to the election, or refuse it with the reason."""
        if name == CONFIRM_DEAD:
            return self._stonith.confirm(args)
        if name == "switchover" and self._handover is not None:
            return await self._handover.command(args)
        if name == FOUND and self._founding is not None:
            return await self._founding.command(args)
        if name == "drill" and self._standby is not None and not args:
            return self._standby.drill(self._role)
        if args:
            return (report("command-bad-argument", f"{name} takes no arguments", key=next(iter(args))),)
        if name == "resign" and self._role not in (Role.MASTER, Role.PROMOTING, Role.SUSPENDED):
            return (report("not-master", f"this node is {self._role.name}, it has nothing to give away"),)
        if name == "resign" and self._role is Role.MASTER and not has_successor(self.status()):
            return (report("no-successor", "no other member could take over now"),)
        self._heartbeat.send(msg.OperatorNews(name))
        return (report("command-accepted", "passed on to the election", key=name),)

    def _read_supervisor(self) -> None:
        message = self._supervisor.receive()
        if isinstance(message, msg.SettingsNews):
            self._settings = DaemonSettings.from_json(message.text)
            self._board.settings = self._settings
        elif isinstance(message, Closed):
            # The heartbeat has seen it too and hands over; its goodbye ends this process.
            asyncio.get_running_loop().remove_reader(self._supervisor.fileno())

    def _read_heartbeat(self) -> None:
        while self._over is not None and not self._over.done():
            message = self._heartbeat.receive()
            if message is None:
                return
            if isinstance(message, Closed):
                logger.error("the heartbeat is gone, mfsmaster is ended")
                self._over.set_result(1)
            elif isinstance(message, msg.Goodbye):
                self._over.set_result(0)
            else:
                self._on_heartbeat(message)

    def _on_heartbeat(self, message: msg.Message) -> None:
        match message:
            case msg.PreserveRequest(term=term):
                if self._standby is not None:
                    self._standby.lose_master(term)
            case msg.TransitionNews():
                self._on_transition(message)
            case msg.StatusNews():
                self._board.news = message
                self._arbitration.publish(message)
            case msg.LogNews(level=level, text=text):
                logging.getLogger("pycarpd.heartbeat").log(level, "%s", text)
            case _:
                self._on_wish(message)

    def _on_wish(self, message: msg.Message) -> None:
        """Do what concerns plans."""
        match message:
            case msg.PromoteRequest():
                self._board.promotions += 1
                self._stonith.ask(message.peers)
                self._operate(Job.of_promotion(message))
            case msg.DemoteRequest():
                self._operate(Job.of_demotion(message))
            case fx.Speculate() | fx.CancelSpeculation() if self._desk is not None:
                self._speculate(self._desk, message)
            case msg.AbortRequest(term=term) if self._desk is not None:
                self._desk.abort(term)
            case msg.AttachAnswer(term=term, is_attached=is_attached) if self._desk is not None:
                self._desk.answer_address(term, is_attached=is_attached)
            case _ if self._arbitration.on_message(message) or (self._handover and self._handover.on_message(message)):
                pass
            case _:
                logger.error("unexpected message from the heartbeat type=%s", type(message).__name__)

    def _operate(self, job: Job) -> None:
        if self._desk is None or self._patient is None:
            self._heartbeat.send(msg.PlanEnded(job.term, job.kind is Kind.PROMOTE, is_ok=job.kind is Kind.DEMOTE))
            return
        self._make_way(self._patient)
        self._desk.ask(job)

    def _make_way(self, patient: Patient) -> None:
        """Let nothing else use the host's files while a plan does."""
        if self._standby is not None:
            self._standby.drills.cancel()
        patient.is_operated_on = True
        self._board.phases.clear()

    def _speculate(self, desk: PlanDesk, wish: msg.SpeculationWish) -> None:
        if isinstance(wish, fx.CancelSpeculation):
            desk.end_speculation()
        elif self._patient is not None and desk.speculate(wish.term):
            logger.info("the master is overdue, mfsmaster is loaded on suspicion term=%d", wish.term)
            self._make_way(self._patient)

    def _on_plan_ended(self, job: Job, is_ok: bool) -> None:
        """Tell the heartbeat, but not that a host is demoted whose mfsmaster runs on: this process's end kills it.

        A state directory that cannot be written keeps any plan from its first step.
        """
        is_left = job.kind is Kind.DEMOTE and not is_ok and self._host is not None and self._host.mfsmaster.processes()
        if is_left and self._over is not None and not self._over.done():
            logger.critical("the demotion failed before mfsmaster was ended, it is killed without a plan")
            self._over.set_result(1)
            return
        self._heartbeat.send(msg.PlanEnded(job.term, job.kind is Kind.PROMOTE, is_ok))

    def _on_progress(self, job: Job, progress: StepProgress) -> None:
        # Everybody waits for a node that is PROMOTING: for one whose disk hangs they would wait for ever.
        if progress.is_stuck and self._role is Role.PROMOTING and self._over is not None and not self._over.done():
            logger.critical("plan=%s step=%s hangs, this node leaves the election", progress.plan, progress.step)
            self._over.set_result(1)
        if progress.elapsed_ms is None or progress.verb is Verb.CHECK:
            return
        self._board.phases[progress.step] = progress.elapsed_ms
        level = logging.INFO if progress.fault is None else logging.WARNING
        fault = f" code={progress.fault.code} detail={progress.fault.detail}" if progress.fault else ""
        logger.log(
            level, "plan=%s term=%d step=%s verb=%s ms=%d%s",
            progress.plan, job.term, progress.step, progress.verb.value, progress.elapsed_ms, fault,
        )  # fmt: skip

    def _on_plan_finished(self, job: Job, outcome: Outcome) -> None:
        faults = faults_of(job, outcome)
        has_failed = outcome.fault is not None and not outcome.is_called_off
        self._board.promotions_failed += job.kind is Kind.PROMOTE and has_failed
        context = self._desk.context if self._desk is not None else None
        lost = context.operations_lost if context is not None else None
        if context is not None and lost:
            faults.append(report("operations-lost", f"{lost}, listed in {context.archive / LOST_FILE}", value=lost))
        self._board.plan_faults = tuple(faults)
        self._chronicle.end_plan(outcome, lost)
        if self._standby is not None:
            self._standby.on_plan_ended(outcome)
        if job.kind is Kind.DEMOTE and job.successor:
            has_archived = ARCHIVING_STEP in dict(outcome.phases_ms)
            self._heartbeat.send(msg.StandbyNews(job.term, outcome.ok, has_archived))
        if self._patient is not None:
            self._patient.is_operated_on = self._desk is not None and self._desk.has_waiting
            self._patient.look_now()

    def _on_transition(self, news: msg.TransitionNews) -> None:
        self._role = news.role
        self._chronicle.note(news, is_promoting=self._desk is not None and self._desk.is_promoting)
        self._watch(is_serving=news.role in SERVING_ROLES)

    def _watch(self, *, is_serving: bool) -> None:
        if self._patient is not None and self._patient.is_serving != is_serving:
            self._patient.serve(is_serving=is_serving)
        if self._watchman is not None:
            self._watchman.watch() if is_serving else self._watchman.rest()

    def _on_findings(self, found: Findings) -> None:
        if self._desk is not None and self._desk.is_busy and not self._desk.is_promoting:
            return
        if self._patient is not None and not self._patient.is_current(found):
            return  # judged by files that were put away, the ones that have come since would be put away too
        if found.freshness is not None and self._role is Role.MASTER:
            self._remember_metaid(found.freshness.metaid)
        if found.hangs and self._role in SERVING_ROLES:
            self._on_mfsmaster_gone("hangs")
            return
        if self._standby is not None:
            found = self._standby.judge(found, self._role)
        has_files = self._founding is None or self._founding.has_files(found)
        is_settled = found.lacks_metalogger
        self._heartbeat.send(
            msg.FreshnessNews(found.freshness, found.why_not, found.exports_digest, has_files, is_settled)
        )
        if self._standby is not None:
            self._standby.look_after(found, self._role)
        if self._role is Role.MASTER and found.freshness is not None:
            # From a mfsmaster that does not answer nothing is learnt; who was connected to it is needed to replace it.
            self._heartbeat.send(msg.ConnectionsNews(found.connections))

    def _on_mfsmaster_gone(self, how: str) -> None:
        if self._role not in SERVING_ROLES or self._watchman is None:
            return
        may_restart = self._watchman.may_restart()
        logger.error("mfsmaster %s may_restart=%s", how, may_restart)
        self._heartbeat.send(msg.MfsmasterGone(may_restart))

    def _expected_metaid(self) -> int | None:
        moosefs = self._settings.moosefs
        configured = moosefs.expected_metaid if moosefs is not None else None
        return configured if configured is not None else self._metaid

    def _remember_metaid(self, metaid: int) -> None:
        """Keep the metaid of the file system served here: metadata of another one is refused from then on."""
        if self._metaid == metaid:
            return
        self._metaid = metaid
        text = f"{metaid:016x}\n".encode()
        self._disk.write("remember the metaid", lambda: write_durably(self._state_dir / METAID_FILE, text))
