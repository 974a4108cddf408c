"""The worker's part in a switchover: the operator's command, the two halves' plans, and what became of it.

The heartbeat decides; here its wishes become plans at the desk, what the plans find is told to it, and the operator
waits for the end: until another node serves, or until it is said why not.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from pycarpd.control.reports import Report, closest, report
from pycarpd.daemon.board import Board
from pycarpd.daemon.channel import Channel
from pycarpd.daemon.jobs import HandoverListener, Job, Kind
from pycarpd.daemon.messages import Message, SwitchoverNews
from pycarpd.daemon.moment import patience_ns
from pycarpd.daemon.patient import Patient
from pycarpd.daemon.plans import PlanDesk
from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Role
from pycarpd.linux.clock import boottime_ns, realtime_ns
from pycarpd.settings import DaemonSettings
from pycarpd.takeover.events import Outcome

logger = logging.getLogger(__name__)

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
DECIDED_WITHIN_S = 8.0
"""Longer than the election's own bound."""
POLL_S = 0.02
SERVING_POLLS_MAX = 700
"""How long the command waits for the successor to serve: 14 s; the successor goes on without anybody waiting."""


class HandoverDesk:
    """Between heartbeat, plan desk and operator; use from the worker's event loop only."""

    def __init__(
        self,
        heartbeat: Channel,
        desk: PlanDesk,
        patient: Patient,
        board: Board,
        operate: Callable[[Job], None],
    ) -> None:
        self._heartbeat = heartbeat
        self._desk = desk
        self._patient = patient
        self._board = board
        self._operate = operate
        self._answer: asyncio.Future[SwitchoverNews] | None = None
        self._moments: dict[str, int] = {}
        desk.handover_listener = HandoverListener(self._on_told, self._on_confirmed, self._on_finished)

    async def command(self, args: Mapping[str, Any]) -> tuple[Report, ...]:
        """Carry out ``switchover`` with an optional ``to``; returns when another node serves, or none will."""
        settings = self._board.settings
        refusal = self._refusal(settings, args)
        if refusal is not None:
            return (refusal,)
        name = args.get("to")
        target = next((m.node_id for m in settings.election.members if m.name == name), 0)
        self._answer = asyncio.get_running_loop().create_future()
        last = self._board.last_transition
        phases = last.phases if last is not None else {}
        wait_ns = patience_ns(realtime_ns(), phases, is_early=settings.election.majority > 1)
        await asyncio.sleep(wait_ns / NS_PER_S)
        self._moments = {"asked": boottime_ns()}
        self._heartbeat.send(ev.SwitchoverAsked(target))
        try:
            async with asyncio.timeout(DECIDED_WITHIN_S):
                news = await self._answer
        except TimeoutError:
            return (report("switchover-aborted", "the election has not decided in time"),)
        finally:
            self._answer = None
        if news.code:
            return (report(news.code, news.detail, key=news.successor or None),)
        return (await self._await_successor(news.successor),)

    def on_message(self, message: Message) -> bool:
        """Take in a wish or news of the heartbeat; False if it concerns no handover."""
        match message:
            case fx.HoldClients(term=term):
                self._moments.setdefault("asked", boottime_ns())
                self._begin(Job(Kind.HOLD, term))
            case fx.LevelFiles(term=term):
                self._begin(Job(Kind.LEVEL, term))
            case fx.ConfirmHandover(term=term):
                self._note("level")
                self._desk.confirm(term)
            case fx.EndHandover(term=term):
                self._desk.end_handover(term)
            case SwitchoverNews():
                self._on_news(message)
            case _:
                return False
        return True

    def _begin(self, job: Job) -> None:
        """Begin a half if nothing else is in progress: a promotion's last steps must not be cut short for it."""
        if self._desk.is_busy:
            self._heartbeat.send(ev.HandoverFailed(job.term, "another plan is in progress on this host"))
        else:
            self._operate(job)

    def _refusal(self, settings: DaemonSettings, args: Mapping[str, Any]) -> Report | None:
        """Return why the command cannot even be passed on."""
        others = {m.name for m in settings.election.members if m.name != settings.node_name}
        name = args.get("to")
        unknown = next((key for key in args if key != "to"), None)
        if unknown is not None or not isinstance(name, str | None):
            return report("command-bad-argument", "switchover takes the name of a member, as 'to'", key=unknown or "to")
        news = self._board.news
        if news is None or news.role is not Role.MASTER:
            master = news.master if news is not None else ""
            text = f"the master is asked, which is {master}" if master else "the master is asked, and none is known"
            return report("not-master", text, key=settings.node_name)
        if name is not None and name not in others:
            near = closest(name, others)
            hint = f"did you mean {near!r}?" if near else f"the others are: {', '.join(sorted(others))}"
            return report("switchover-unknown-node", f"{name!r} is no other member", key="to", hint=hint)
        if self._answer is not None:
            return report("switchover-busy", "a switchover is in progress already")
        return None

    async def _await_successor(self, successor: str) -> Report:
        """Wait until somebody serves."""
        for _ in range(SERVING_POLLS_MAX):
            master = self._other_master()
            if master:
                break
            await asyncio.sleep(POLL_S)
        else:
            return report("switchover-unfinished", f"{successor} does not serve yet", key=successor)
        self._note("take-over")
        marks = list(self._moments.items())
        phases = [f"{name} {(at_ns - before_ns) // NS_PER_MS} ms" for (_, before_ns), (name, at_ns) in pairwise(marks)]
        total_ms = (marks[-1][1] - marks[0][1]) // NS_PER_MS
        if master != successor:
            return report("switchover-elsewhere", f"{master} is master, {successor} did not succeed", key=master)
        return report("switchover-done", f"{master} is master after {total_ms} ms ({', '.join(phases)})", key=master)

    def _other_master(self) -> str:
        """Return the node that this one follows as master, empty for none yet."""
        news, own = self._board.news, self._board.settings.node_name
        if news is None or news.role is not Role.BACKUP or news.master == own:
            return ""
        return next((p.name for p in news.peers if p.name == news.master and p.role is Role.MASTER), "")

    def _on_told(self, job: Job, version: int) -> None:
        if job.kind is Kind.HOLD:
            self._note("hold")
            self._heartbeat.send(ev.ClientsHeld(job.term, version))
        else:
            self._heartbeat.send(ev.FilesLevel(job.term, version))

    def _on_confirmed(self, job: Job) -> None:
        self._note("confirm")
        self._heartbeat.send(ev.HandoverConfirmed(job.term))

    def _on_finished(self, job: Job, outcome: Outcome) -> None:
        if not outcome.ok:
            fault = outcome.fault
            detail = f"{outcome.failed_step}: {fault.detail}" if fault is not None else "for no reason that is known"
            logger.warning("%s was taken back undone=%s %s", job.kind.value, outcome.undone, detail)
            self._heartbeat.send(ev.HandoverFailed(job.term, detail))
        if not self._desk.has_waiting:
            self._patient.is_operated_on = False
            self._patient.look_now()

    def _on_news(self, news: SwitchoverNews) -> None:
        if news.code:
            logger.warning("no switchover code=%s %s", news.code, news.detail)
        else:
            logger.warning("the role is given away successor=%s", news.successor)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(news)
        elif self._answer is None:
            self._moments.clear()

    def _note(self, phase: str) -> None:
        self._moments[phase] = boottime_ns()
