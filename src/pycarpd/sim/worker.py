"""The simulated worker: the plan desk of a node, with the real Runner and its journal on a simulated disk.

As at the real desk one plan runs, at most one waits, the newest wish counts; a plan that the journal has open is taken
back before anything else. Steps take their time, fail, hang until they are cancelled, or lose the host's power.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from pycarpd.election import effects as fx
from pycarpd.election.events import (
    AddressWanted,
    ClientsHeld,
    DemotionFinished,
    FilesLevel,
    FreshnessKnown,
    HandoverConfirmed,
    HandoverFailed,
    PromotionFinished,
    PromotionReady,
    StandbyMade,
    StatePersisted,
)
from pycarpd.election.model import Persistent
from pycarpd.invariant import invariant
from pycarpd.sim import plans
from pycarpd.sim.agenda import NS_PER_MS, Action
from pycarpd.sim.host import Host
from pycarpd.sim.jobs import Job, Reporting
from pycarpd.sim.operation import Operating, Surroundings
from pycarpd.sim.plans import DEMOTE, HOLD, LEVEL, PROMOTE, Operation
from pycarpd.takeover.events import Outcome
from pycarpd.takeover.records import OpenPlan, decode, open_plan

LOOK_SOON_NS = 5 * NS_PER_MS
LOOK_EVERY_NS = 500 * NS_PER_MS
"""How often a host looks at its files."""


class SimWorker:
    """Carries out one node's requests and reports to its heartbeat."""

    def __init__(self, host: Host, reporting: Reporting) -> None:
        self._host = host
        self._reporting = reporting
        self._current: Job | None = None
        self._waiting: Job | None = None
        self._operating: Operating | None = None
        self._aborted_term: int | None = None
        self._is_overtaken = False
        self._is_reported = False
        self._is_asking = False
        self._is_confirmed = False
        self._is_called_on = False
        self._is_alive = True
        self._is_writing = False
        self._to_write: list[Persistent] = []

    @property
    def is_busy(self) -> bool:
        """Tell whether a plan is in progress."""
        return self._operating is not None

    @property
    def is_asking(self) -> bool:
        """Tell whether a promotion waits for the address: what it has started was proved."""
        return self._is_asking

    def die(self) -> None:
        """End without a word; what was under way stays as it is."""
        self._is_alive = False
        if self._reporting.arbiter is not None:
            self._reporting.arbiter.die()
        if self._operating is not None:
            self._operating.die()

    def begin(self, ready: Action) -> None:
        """Take back what an earlier worker has left half done, then be ready."""

        def recovered(outcome: Outcome | None) -> None:
            self._operating = None
            if outcome is not None:
                self._reporting.mark("recovery: " + ("undone" if outcome.undone else "stays open"))
                if outcome.committed:
                    self._reporting.mark("recovery: after the commit")
            ready()
            self._look()
            if self._reporting.arbiter is not None:
                self._reporting.arbiter.start()

        self._take_back(recovered)

    def persist(self, persistent: Persistent) -> None:
        """Write the state, after what was to be written before, and report it when it is on disk."""
        self._to_write.append(persistent)
        if not self._is_writing:
            self._write_next()

    def promote(self, term: int) -> None:
        """Ask for a promotion."""
        self._ask(Job(PROMOTE, term))

    def demote(self, term: int, *, has_successor: bool = False, is_foreign: bool = False) -> None:
        """Ask for a demotion; a promotion under way is ended for it."""
        self._ask(Job(DEMOTE, term, has_successor, is_foreign))

    def look_now(self) -> None:
        """Look at the files soon, not only when it is time again."""
        self._later(LOOK_SOON_NS, self._tell_files)

    def obey(self, effect: fx.Effect) -> None:
        """Carry out what the election wants of a worker."""
        match effect:
            case fx.Persist(persistent=persistent):
                self.persist(persistent)
            case fx.PreserveFiles():
                self._host.data.preserved = self._host.data.best
                self._later(LOOK_SOON_NS, lambda: self._tell_files(is_settled=True))
            case fx.StartPromotion(term=term):
                self.promote(term)
            case fx.AbortPromotion(term=term):
                self.abort(term)
            case fx.Speculate(term=term):
                self._speculate(term)
            case fx.CancelSpeculation():
                self._give_up_speculation("in vain")
            case fx.StartDemotion(term=term, successor=successor, is_foreign=is_foreign):
                self.demote(term, has_successor=bool(successor), is_foreign=is_foreign)
            case fx.HoldClients() | fx.ConfirmHandover() | fx.LevelFiles() | fx.EndHandover():
                self._hand_over(effect)
            case fx.AskArbiter() | fx.ReleaseTerm() if self._reporting.arbiter is not None:
                self._reporting.arbiter.obey(effect)
            case _:
                invariant(False, f"a worker is not asked for {type(effect).__name__}")

    def _hand_over(self, wish: fx.HoldClients | fx.ConfirmHandover | fx.LevelFiles | fx.EndHandover) -> None:
        match wish:
            case fx.HoldClients(term=term) | fx.LevelFiles(term=term) if self._current is not None:
                self._reporting.report(HandoverFailed(term, "another plan is in progress"))
            case fx.HoldClients(term=term):
                self._ask(Job(HOLD, term))
            case fx.LevelFiles(term=term):
                self._ask(Job(LEVEL, term))
            case fx.ConfirmHandover(term=term):
                if self._current == Job(HOLD, term) and self._operating is not None:
                    self._operating.go_on()
            case fx.EndHandover(term=term):
                is_meant = self._current in (Job(HOLD, term), Job(LEVEL, term)) and not self._is_confirmed
                if is_meant and self._operating is not None:
                    self._operating.abort("the switchover was called off")
            case _:
                assert_never(wish)

    def _speculate(self, term: int) -> None:
        if self._current is None:
            self._ask(Job(PROMOTE, term, is_speculative=True))

    def _give_up_speculation(self, reason: str) -> None:
        if self._current is not None and self._current.is_speculative and self._operating is not None:
            self._operating.abort(reason)

    def _adopt(self, job: Job, operation: Operation) -> None:
        """Let the plan that waited be the promotion that was asked for."""
        self._reporting.mark("what was loaded on suspicion is served")
        self._current, self._waiting = job, None
        operation.term = self._host.serving_term = job.term

    def abort(self, term: int) -> None:
        """End and undo a promotion; its end is reported once nothing of it runs any more."""
        if self._waiting is not None and self._waiting.plan == PROMOTE:
            self._waiting = None
        if self._current is None or self._current.plan != PROMOTE or self._operating is None:
            self._tell_ended(Job(PROMOTE, term), is_ok=False)
            return
        self._aborted_term = term
        self._operating.abort("a better claim was heard")

    def answer_attach(self, term: int, *, is_attached: bool) -> None:
        """Take in the heartbeat's answer to the question for the address; one to an older question says nothing."""
        if self._is_asking and self._current is not None and self._current.term == term and self._operating is not None:
            self._is_asking = False
            self._operating.answer_address(is_attached=is_attached)

    def _ask(self, job: Job) -> None:
        if self._current is None:
            self._begin_job(job)
            return
        self._waiting = job
        if self._current.is_speculative and job.plan == PROMOTE:
            self._is_called_on = True
            if self._operating is not None:
                self._operating.go_on()
        elif self._current.is_speculative:
            self._give_up_speculation(f"{job.plan} was asked for")
        elif self._current.plan == PROMOTE:
            self._is_overtaken = True
            if self._operating is not None:
                self._operating.abort(f"{job.plan} was asked for")
        elif self._current.plan == LEVEL and job.plan == PROMOTE:
            self._is_called_on = True
            if self._operating is not None:
                self._operating.go_on()
        elif self._current.plan in (HOLD, LEVEL) and not self._is_confirmed and self._operating is not None:
            self._operating.abort(f"{job.plan} was asked for")

    def _begin_job(self, job: Job) -> None:
        self._current = job
        self._is_overtaken = self._is_reported = self._is_confirmed = self._is_called_on = False

        def taken_back(outcome: Outcome | None) -> None:
            if outcome is not None and outcome.undo_faults:
                self._finished(outcome)
                return
            operation = self._operation(self._label(job), job)
            around = replace(
                self._surroundings(self._finished),
                told=lambda: self._told(job, operation),
                confirmed=lambda: self._confirmed(job, operation),
            )
            self._operating = Operating(operation, around, self._starts)
            self._operating.start(
                (
                    ("term", str(job.term)),
                    ("has_successor", str(int(job.has_successor))),
                    ("is_foreign", str(int(job.is_foreign))),
                    ("is_speculative", str(int(job.is_speculative))),
                ),
                plans.spec_of(operation),
            )

        self._take_back(taken_back)

    def _label(self, job: Job) -> str:
        self._host.plans += 1
        return f"{self._host.plans}-{job.term}"

    def _operation(self, label: str, job: Job) -> Operation:
        return Operation(
            self._host,
            job.plan,
            label,
            job.term,
            job.has_successor,
            lambda: self._want_address(job.term),
            self._release_address,
            is_foreign=job.is_foreign,
            is_speculative=job.is_speculative,
        )

    def _surroundings(self, finished: Callable[[Outcome], None]) -> Surroundings:
        return Surroundings(self._later, finished, self._ask_address, self._reporting.mark, self._reporting.lose_power)

    def _take_back(self, then: Callable[[Outcome | None], None]) -> None:
        """Undo the plan that the journal has open, if there is one."""
        records, whole = decode(self._host.journal)
        self._host.journal = self._host.journal[:whole]
        interrupted = open_plan(records)
        if interrupted is None:
            then(None)
            return
        operation = self._rebuilt(interrupted)
        self._operating = Operating(operation, self._surroundings(then), lambda _step, _is_undo: None)
        self._operating.recover(interrupted, plans.spec_of(operation))

    def _rebuilt(self, interrupted: OpenPlan) -> Operation:
        fields = dict(interrupted.opened.parameters)
        job = Job(
            interrupted.opened.plan,
            int(fields["term"]),
            fields["has_successor"] == "1",
            fields["is_foreign"] == "1",
            fields["is_speculative"] == "1",
        )
        if job.is_speculative:
            self._reporting.mark("recovery: of what was loaded on suspicion")
        operation = self._operation(interrupted.opened.plan_id, job)
        operation.want_address = operation.release_address = lambda: None
        return operation

    def _starts(self, step: str, is_undo: bool) -> None:
        """Tell a demotion's end as soon as the step after the kill begins: no mfsmaster runs here any more."""
        job = self._current
        if job is not None and job.plan == DEMOTE and not is_undo and step != plans.KILL:
            self._tell(job, is_ok=True)
        elif job is not None and job.plan == PROMOTE and not is_undo and step == plans.PROVED_BEFORE:
            self._tell_found(is_settled=True)

    def _ask_address(self) -> None:
        job = self._current
        if job is None or self._is_overtaken:
            if self._operating is not None:
                self._operating.answer_address(is_attached=False)
            return
        self._is_asking = True
        self._reporting.report(PromotionReady(job.term, self._host.expected_version))

    def _told(self, job: Job, operation: Operation) -> None:
        if not job.is_speculative:
            found = ClientsHeld if job.plan == HOLD else FilesLevel
            self._reporting.report(found(job.term, operation.version))
        if self._is_called_on:  # the promotion was asked for before
            self._later(0, self._go_on)

    def _go_on(self) -> None:
        if self._operating is not None and self._is_called_on:
            self._operating.go_on()

    def _confirmed(self, job: Job, operation: Operation) -> None:
        if job.is_speculative:
            if self._waiting is not None and self._waiting.plan == PROMOTE:
                self._adopt(self._waiting, operation)
            return
        self._is_confirmed = True
        self._reporting.report(HandoverConfirmed(job.term))

    def _want_address(self, term: int) -> None:
        if not self._is_overtaken:
            self._reporting.report(AddressWanted(term))

    def _release_address(self) -> None:
        if self._current is not None:
            self._tell(self._current, is_ok=False)

    def _tell(self, job: Job, *, is_ok: bool) -> None:
        if not self._is_overtaken and not self._is_reported and job == self._current:
            self._is_reported = True
            self._aborted_term = None
            self._tell_ended(job, is_ok=is_ok)

    def _tell_ended(self, job: Job, *, is_ok: bool) -> None:
        finished = PromotionFinished if job.plan == PROMOTE else DemotionFinished
        self._reporting.report(finished(job.term, is_ok))

    def _finished(self, outcome: Outcome) -> None:
        self._operating = None
        self._is_asking = False
        job, waiting = self._current, self._waiting
        if job is not None and job.plan in (HOLD, LEVEL):
            if not outcome.ok:
                self._reporting.report(HandoverFailed(job.term, str(outcome.failed_step)))
        elif job is not None and job.is_speculative:
            self._reporting.mark("what was loaded on suspicion is taken back")
        elif job is not None:
            self._tell(job, is_ok=outcome.ok)
            if job.has_successor:
                has_archived = "archive-files" in dict(outcome.phases_ms)
                self._reporting.report(StandbyMade(job.term, outcome.ok, has_archived))
        aborted_term, self._aborted_term = self._aborted_term, None
        if aborted_term is not None:
            self._tell_ended(Job(PROMOTE, aborted_term), is_ok=False)
        self._current = self._waiting = None
        if waiting is not None:
            self._begin_job(waiting)
        self._tell_files()

    def _write_next(self) -> None:
        self._is_writing = bool(self._to_write)
        if not self._to_write:
            return
        persistent = self._to_write.pop(0)

        def put() -> None:
            self._host.disk = persistent

        def write() -> None:
            if self._host.write(put):
                self._reporting.report(StatePersisted(persistent))
                self._write_next()
            else:
                self._reporting.lose_power()

        self._later(self._host.habits.persist_ns + self._host.disk_delay_ns, write)

    def _later(self, delay_ns: int, action: Action) -> None:
        def happen() -> None:
            if self._is_alive:
                action()

        self._host.after(delay_ns, happen)

    def _look(self) -> None:
        if self._operating is None and not self._host.has_mfsmaster:
            self._host.has_metalogger = True  # a standby's is started again when it is found not to run
        self._tell_files()
        self._later(LOOK_EVERY_NS, self._look)

    def _tell_files(self, *, is_settled: bool = False) -> None:
        """Tell what lies here; *is_settled*: the metalogger was stopped for it, and has no buffer any more."""
        if self._operating is None:
            self._tell_found(is_settled=is_settled)

    def _tell_found(self, *, is_settled: bool) -> None:
        host = self._host
        has_files = host.data.best is not None
        self._reporting.report(FreshnessKnown(host.freshness, host.refusal, has_files, is_settled))
