"""The order of a takeover as a pure state machine: events in, commands out, nothing else.

Theory of operation. A step is journalled as started before it runs and as done before the next one starts;
both facts travel in one write, so a plan of n steps waits n+1 times for the disk. When a step fails, times out, or
somebody asks for an abort, the step in progress is cancelled and *waited for* (a thread cannot be killed,
and undoing beside it would race it), then every started step is undone in reverse order. Steps marked
REPORT never end a plan: their faults are carried along in the outcome. A plan whose undo could not be
completed is left open in the journal, so that the next start tries again. After a commit (see UndoScope)
the files are left alone.

The driver executes commands in order and answers each WriteJournal with JournalWritten or JournalFailed, each
Execute with one result event; it calls ``handle(TimePassed(), now)`` when ``next_deadline()`` has come.
"""

from collections.abc import Callable
from enum import Enum
from typing import assert_never

from pycarpd.invariant import invariant
from pycarpd.takeover.events import (
    ABORTED,
    AbortRequested,
    Cancel,
    Checked,
    Command,
    Event,
    Execute,
    Finished,
    JournalFailed,
    JournalWritten,
    Outcome,
    StepFailed,
    StepSucceeded,
    Stuck,
    TimePassed,
    UndoFailed,
    Undone,
    WriteJournal,
)
from pycarpd.takeover.records import (
    OpenPlan,
    PlanClosed,
    PlanOpened,
    Record,
    StepDone,
    StepStarted,
    StepUndone,
    UndoBegan,
)
from pycarpd.takeover.step import CANCEL_GRACE_NS, OnFailure, PlanSpec, StepFault, StepSpec, UndoScope, Verb

UNDO_ATTEMPTS_MAX = 2
"""An undo that fails is tried once more; then the rest is undone and the plan stays open in the journal."""

_NS_PER_MS = 1_000_000


class _Stage(Enum):
    IDLE = "idle"
    JOURNALLING = "journalling"
    CHECKING = "checking"
    RUNNING = "running"
    CANCELLING = "cancelling"
    UNDOING = "undoing"


class Runner:
    """Executes one plan at a time; see the module's text. Times are nanoseconds of one monotonic clock."""

    def __init__(self) -> None:
        self._stage = _Stage.IDLE
        self._reset(PlanOpened("", "", ()), ())

    def _reset(self, opened: PlanOpened, steps: tuple[StepSpec, ...]) -> None:
        self._opened = opened
        self._steps = steps
        self._index = -1
        self._started: list[StepSpec] = []
        self._pending: list[Record] = []
        self._after_journal: Callable[[int], tuple[Command, ...]] = self._next
        self._deadline_ns: int | None = None
        self._began_ns = 0
        self._phases: list[tuple[str, int]] = []
        self._degraded: list[tuple[str, StepFault]] = []
        self._fault: StepFault | None = None
        self._failed_step: str | None = None
        self._abort: StepFault | None = None
        self._timed_out = False
        self._committed = False
        self._is_recovery = False
        self._to_undo: list[StepSpec] = []
        self._undo_attempts = 0
        self._undo_faults: list[tuple[str, StepFault]] = []

    @property
    def is_busy(self) -> bool:
        """True from start() or recover() until Finished has been returned."""
        return self._stage is not _Stage.IDLE

    def next_deadline(self) -> int | None:
        """Return when TimePassed is due, or None when only another event can move the plan."""
        return self._deadline_ns

    def start(self, opened: PlanOpened, plan: PlanSpec, now_ns: int) -> tuple[Command, ...]:
        """Begin a plan; only when not busy."""
        invariant(not self.is_busy, "one plan at a time")
        self._reset(opened, plan.steps)
        self._pending.append(opened)
        return self._next(now_ns)

    def recover(self, interrupted: OpenPlan, plan: PlanSpec, now_ns: int) -> tuple[Command, ...]:
        """Take back what an interrupted plan has begun; after a commit only what must not be left behind."""
        invariant(not self.is_busy, "one plan at a time")
        self._reset(interrupted.opened, plan.steps)
        self._is_recovery = True
        self._committed = interrupted.did_commit
        names = frozenset(interrupted.started)
        self._started = [step for step in plan.steps if step.name in names]
        for name in sorted(names - {step.name for step in plan.steps}):
            self._undo_faults.append((name, StepFault("UNKNOWN_STEP", "this version has no such step")))
        self._fault = StepFault("INTERRUPTED", "the process ended in the middle of the plan")
        return self._begin_undo(now_ns)

    def handle(self, event: Event, now_ns: int) -> tuple[Command, ...]:
        """Apply one event. Events that answer nothing that was asked are our own bug."""
        match event:
            case TimePassed():
                return self._on_time(now_ns)
            case AbortRequested(reason):
                return self._on_abort(reason, now_ns)
            case JournalWritten():
                invariant(self._stage is _Stage.JOURNALLING, "no journal write was asked for")
                return self._after_journal(now_ns)
            case JournalFailed(fault):
                invariant(self._stage is _Stage.JOURNALLING, "no journal write was asked for")
                return self._on_journal_failed(fault, now_ns)
            case Checked(step, is_done):
                self._expect(step, _Stage.CHECKING)
                return self._on_checked(is_done, now_ns)
            case StepSucceeded(step):
                self._expect(step, _Stage.RUNNING)
                return self._on_ran(None, now_ns)
            case StepFailed(step, fault):
                self._expect(step, _Stage.RUNNING)
                return self._on_ran(fault, now_ns)
            case Undone(step):
                return self._on_undone(step, None, now_ns)
            case UndoFailed(step, fault):
                return self._on_undone(step, fault, now_ns)
            case _:
                assert_never(event)

    def _expect(self, step: str, stage: _Stage) -> None:
        invariant(self._stage in (stage, _Stage.CANCELLING), f"nobody asked for {step} to {stage.value}")
        invariant(self._steps[self._index].name == step, f"{step} is not the step in progress")

    def _write(self, then: Callable[[int], tuple[Command, ...]]) -> tuple[Command, ...]:
        records, self._pending = tuple(self._pending), []
        self._stage, self._deadline_ns, self._after_journal = _Stage.JOURNALLING, None, then
        return (WriteJournal(records),)

    def _next(self, now_ns: int) -> tuple[Command, ...]:
        if self._abort is not None:
            return self._fail(self._abort, now_ns)
        self._index += 1
        if self._index == len(self._steps):
            self._pending.append(PlanClosed("done"))
            return self._write(self._finish_ok)
        step = self._steps[self._index]
        if not step.has_check:
            return self._journal_start()
        self._stage, self._deadline_ns = _Stage.CHECKING, now_ns + step.timeout_ns
        return (Execute(step.name, Verb.CHECK),)

    def _journal_start(self) -> tuple[Command, ...]:
        step = self._steps[self._index]
        self._pending.append(StepStarted(step.name, step.commits))
        return self._write(self._run)

    def _run(self, now_ns: int) -> tuple[Command, ...]:
        if self._abort is not None:
            return self._fail(self._abort, now_ns)
        step = self._steps[self._index]
        self._started.append(step)
        self._stage, self._began_ns = _Stage.RUNNING, now_ns
        self._deadline_ns = now_ns + step.timeout_ns
        return (Execute(step.name, Verb.RUN),)

    def _on_checked(self, is_done: bool, now_ns: int) -> tuple[Command, ...]:
        fault = self._interruption()
        if fault is not None:
            return self._fail(fault, now_ns)
        return self._next(now_ns) if is_done else self._journal_start()

    def _interruption(self) -> StepFault | None:
        """Return why the step in progress was cancelled, if it was."""
        if self._abort is not None:
            return self._abort
        if not self._timed_out:
            return None
        self._timed_out = False
        seconds = self._steps[self._index].timeout_ns / 1e9
        return StepFault("TIMED_OUT", f"not done within {seconds:g} s")

    def _on_ran(self, fault: StepFault | None, now_ns: int) -> tuple[Command, ...]:
        step = self._steps[self._index]
        self._phases.append((step.name, (now_ns - self._began_ns) // _NS_PER_MS))
        # A committing step that fails has not had its effect; one that was cancelled may have had it.
        was_cancelled = self._stage is _Stage.CANCELLING
        if step.commits and (fault is None or was_cancelled):
            self._committed = True
        interruption = self._interruption()
        if self._abort is not None:
            return self._fail(self._abort, now_ns)
        fault = fault if interruption is None else interruption
        if fault is None:
            self._pending.append(StepDone(step.name))
            return self._next(now_ns)
        if step.on_failure is OnFailure.REPORT:
            self._degraded.append((step.name, fault))
            self._pending.append(StepDone(step.name, fault.code))
            return self._next(now_ns)
        return self._fail(fault, now_ns)

    def _on_time(self, now_ns: int) -> tuple[Command, ...]:
        if self._deadline_ns is None or now_ns < self._deadline_ns:
            return ()
        if self._stage in (_Stage.RUNNING, _Stage.CHECKING):
            self._timed_out = True
            return self._cancel(now_ns)
        invariant(self._stage in (_Stage.CANCELLING, _Stage.UNDOING), "a deadline belongs to a step")
        self._deadline_ns = None
        step = self._to_undo[0] if self._stage is _Stage.UNDOING else self._steps[self._index]
        return (Stuck(step.name),)

    def _on_abort(self, reason: str, now_ns: int) -> tuple[Command, ...]:
        is_going_back = self._fault is not None
        if self._stage is _Stage.IDLE or is_going_back or self._abort is not None:
            return ()
        self._abort = StepFault(ABORTED, reason)
        return self._cancel(now_ns) if self._stage in (_Stage.RUNNING, _Stage.CHECKING) else ()

    def _cancel(self, now_ns: int) -> tuple[Command, ...]:
        self._stage, self._deadline_ns = _Stage.CANCELLING, now_ns + CANCEL_GRACE_NS
        return (Cancel(self._steps[self._index].name),)

    def _on_journal_failed(self, fault: StepFault, now_ns: int) -> tuple[Command, ...]:
        """Go back when going forward cannot be journalled.

        Going back needs no journal, undo being idempotent; and a master that serves already must not be
        stopped because a line about it could not be written.
        """
        if self._fault is not None:
            return self._after_journal(now_ns)
        if self._committed:
            self._degraded.append((self._steps[min(self._index, len(self._steps) - 1)].name, fault))
            return self._after_journal(now_ns)
        return self._fail(fault, now_ns)

    def _fail(self, fault: StepFault, now_ns: int) -> tuple[Command, ...]:
        self._fault = fault
        self._failed_step = self._steps[min(self._index, len(self._steps) - 1)].name
        return self._begin_undo(now_ns)

    def _begin_undo(self, _now_ns: int) -> tuple[Command, ...]:
        wanted = self._scopes_to_undo()
        self._to_undo = [step for step in reversed(self._started) if step.undo in wanted]
        invariant(self._fault is not None, "a plan goes back only for a reason")
        code = self._fault.code if self._fault is not None else ""
        self._pending.append(UndoBegan(code, self._committed))
        return self._write(self._undo_next)

    def _scopes_to_undo(self) -> frozenset[UndoScope]:
        if not self._committed:
            return frozenset(UndoScope)
        if self._is_recovery:
            return frozenset({UndoScope.ALWAYS})
        return frozenset({UndoScope.ALWAYS, UndoScope.STOPS_SERVING})

    def _undo_next(self, now_ns: int) -> tuple[Command, ...]:
        if not self._to_undo:
            return self._close_undone(now_ns)
        step = self._to_undo[0]
        self._stage, self._deadline_ns = _Stage.UNDOING, now_ns + step.undo_timeout_ns
        return (Execute(step.name, Verb.UNDO),)

    def _on_undone(self, step: str, fault: StepFault | None, now_ns: int) -> tuple[Command, ...]:
        invariant(self._stage is _Stage.UNDOING and self._to_undo[0].name == step, f"{step} is not being undone")
        self._undo_attempts += 1
        if fault is not None and self._undo_attempts < UNDO_ATTEMPTS_MAX:
            return self._undo_next(now_ns)
        self._undo_attempts = 0
        self._to_undo.pop(0)
        if fault is not None:
            self._undo_faults.append((step, fault))
            return self._undo_next(now_ns)
        self._pending.append(StepUndone(step))
        return self._write(self._undo_next)

    def _close_undone(self, now_ns: int) -> tuple[Command, ...]:
        if self._undo_faults:
            return self._finish(now_ns)
        self._pending.append(PlanClosed("committed" if self._committed else "undone"))
        return self._write(self._finish)

    def _finish_ok(self, _now_ns: int) -> tuple[Command, ...]:
        # An abort that arrives with the last fsync comes too late for this plan: it is done, and says so.
        return self._finished(ok=True)

    def _finish(self, _now_ns: int) -> tuple[Command, ...]:
        return self._finished(ok=False)

    def _finished(self, *, ok: bool) -> tuple[Command, ...]:
        self._stage, self._deadline_ns = _Stage.IDLE, None
        outcome = Outcome(
            plan_id=self._opened.plan_id,
            plan=self._opened.plan,
            ok=ok,
            failed_step=self._failed_step,
            fault=self._fault,
            undone=not ok and not self._undo_faults,
            committed=self._committed,
            degraded=tuple(self._degraded),
            undo_faults=tuple(self._undo_faults),
            phases_ms=tuple(self._phases),
        )
        return (Finished(outcome),)
