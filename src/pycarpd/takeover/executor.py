"""Executes the Runner's commands for real: one plan at a time, in two threads that live as long as the plan.

The driver thread owns the Runner and the journal; the step thread runs one step at a time, so that a step
that hangs can neither hide its deadline nor keep an abort from being noticed. A plan that an earlier
process, or a failed undo, has left open in the journal is taken back before any new one begins.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, assert_never

from pycarpd.invariant import invariant
from pycarpd.linux.clock import boottime_ns
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
from pycarpd.takeover.journal import Journal
from pycarpd.takeover.records import OpenPlan, PlanOpened
from pycarpd.takeover.runner import Runner
from pycarpd.takeover.step import ContextT, Plan, Step, StepFault, Verb

logger = logging.getLogger(__name__)

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A step has begun (``elapsed_ms`` None), has ended, or does not come back when cancelled."""

    plan: str
    step: str
    verb: Verb
    elapsed_ms: int | None = None
    fault: StepFault | None = None
    is_stuck: bool = False

    def has_done(self, step: str) -> bool:
        """Tell whether that step has been run, and has succeeded."""
        return (self.step, self.verb) == (step, Verb.RUN) and self.elapsed_ms is not None and self.fault is None


Rebuild = Callable[[OpenPlan], tuple[Plan[ContextT], ContextT]]


def _event_of(step: Step[ContextT], verb: Verb, context: ContextT, cancel: threading.Event) -> Event:
    """Do what the Runner asked for and return the answer; what a step raises is its fault, and is logged."""
    name = step.spec.name
    fault: StepFault | None
    try:
        match verb:
            case Verb.CHECK:
                return Checked(name, step.is_done(context))
            case Verb.RUN:
                fault = step.run(context, cancel)
            case Verb.UNDO:
                fault = step.undo(context)
            case _:
                assert_never(verb)
    except Exception as error:
        # A bug of ours in a step must not leave the plan waiting for ever: the undo has to run all the same.
        logger.exception("step raised step=%s verb=%s", name, verb.value)
        fault = StepFault("STEP_RAISED", f"{type(error).__name__}: {error}")
        if verb is Verb.CHECK:
            return Checked(name, is_done=False)
    if verb is Verb.UNDO:
        return Undone(name) if fault is None else UndoFailed(name, fault)
    return StepSucceeded(name) if fault is None else StepFailed(name, fault)


class PlanExecutor(Generic[ContextT]):
    """Runs plans; the callbacks are called in the driver thread and must neither block nor raise.

    ``rebuild`` returns the plan and context of a plan found open in the journal.
    """

    def __init__(
        self,
        journal_path: Path,
        rebuild: Rebuild[ContextT],
        on_progress: Callable[[StepProgress], None],
        on_finish: Callable[[Outcome], None],
    ) -> None:
        self._journal = Journal(journal_path)
        self._rebuild = rebuild
        self._on_progress = on_progress
        self._on_finish = on_finish
        self._lock = threading.Lock()
        self._drive: _Drive[ContextT] | None = None

    @property
    def is_busy(self) -> bool:
        """True from submit() or recover() until just before on_finish is called, which may submit again."""
        with self._lock:
            return self._drive is not None

    def submit(self, plan: Plan[ContextT], context: ContextT) -> bool:
        """Begin *plan*; False when another one is in progress. The outcome comes through on_finish."""
        return self._begin(plan, context)

    def recover(self) -> bool:
        """Take back what an interrupted process has left; without anything the Outcome's plan is ``none``."""
        return self._begin(None, None)

    def abort(self, reason: str) -> None:
        """Ask the plan in progress to end and be undone; without one, nothing happens."""
        with self._lock:
            if self._drive is not None:
                self._drive.inbox.put(AbortRequested(reason))

    def _begin(self, plan: Plan[ContextT] | None, context: ContextT | None) -> bool:
        with self._lock:
            if self._drive is not None:
                return False
            self._drive = _Drive(self._journal, self._on_progress)
            drive = self._drive
        threading.Thread(target=self._main, args=(drive, plan, context), name="plan", daemon=True).start()
        return True

    def _main(self, drive: "_Drive[ContextT]", plan: Plan[ContextT] | None, context: ContextT | None) -> None:
        try:
            outcome = self._execute(drive, plan, context)
        finally:
            drive.close()
        with self._lock:
            self._drive = None
        self._on_finish(outcome)

    def _execute(self, drive: "_Drive[ContextT]", plan: Plan[ContextT] | None, context: ContextT | None) -> Outcome:
        outcome = self._take_back(drive)
        if plan is None or context is None:
            return outcome
        if outcome.undo_faults or (outcome.fault is not None and outcome.plan == "none"):
            return Outcome(plan.plan_id, plan.name, ok=False, fault=outcome.fault, undo_faults=outcome.undo_faults)
        if drive.abort_reason is not None:
            fault = StepFault(ABORTED, drive.abort_reason)
            return Outcome(plan.plan_id, plan.name, ok=False, fault=fault, undone=True)
        opened = PlanOpened(plan.plan_id, plan.name, plan.parameters)
        return drive.run(plan, context, lambda runner, now: runner.start(opened, plan.spec, now))

    def _take_back(self, drive: "_Drive[ContextT]") -> Outcome:
        interrupted = self._journal.recover()
        match interrupted:
            case None:
                return Outcome("", "none", ok=True)
            case StepFault():
                return Outcome("", "none", ok=False, fault=interrupted)
            case OpenPlan():
                plan, context = self._rebuild(interrupted)
                return drive.run(plan, context, lambda runner, now: runner.recover(interrupted, plan.spec, now))
            case _:
                assert_never(interrupted)


class _Drive(Generic[ContextT]):
    """One turn of the Runner: the inbox of events, and the step thread."""

    def __init__(self, journal: Journal, on_progress: Callable[[StepProgress], None]) -> None:
        self.inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._journal = journal
        self._on_progress = on_progress
        self._work: queue.SimpleQueue[Callable[[], Event] | None] = queue.SimpleQueue()
        self._cancel = threading.Event()
        self._current: tuple[str, Verb, int] | None = None
        self.abort_reason: str | None = None
        """Of an abort that came while an older plan was taken back: the new one is not to begin."""
        threading.Thread(target=self._step_main, name="step", daemon=True).start()

    def close(self) -> None:
        """Let the step thread end; it ends after the step in progress, if there is one."""
        self._work.put(None)

    def run(
        self,
        plan: Plan[ContextT],
        context: ContextT,
        begin: Callable[[Runner, int], tuple[Command, ...]],
    ) -> Outcome:
        """Drive one plan to its end and return its outcome."""
        runner = Runner()
        todo: deque[Command] = deque(begin(runner, boottime_ns()))
        while True:
            while todo:
                command = todo.popleft()
                if isinstance(command, Finished):
                    return command.outcome
                answer = self._obey(command, plan, context)
                if answer is not None:
                    todo.extend(runner.handle(answer, boottime_ns()))
            todo.extend(runner.handle(self._wait(plan, runner.next_deadline()), boottime_ns()))

    def _obey(self, command: Command, plan: Plan[ContextT], context: ContextT) -> Event | None:
        match command:
            case WriteJournal(records):
                fault = self._journal.write(records)
                return JournalWritten() if fault is None else JournalFailed(fault)
            case Execute(name, verb):
                self._execute(plan, name, verb, context)
            case Cancel():
                self._cancel.set()
            case Stuck(name):
                logger.error("step does not come back plan=%s step=%s", plan.name, name)
                verb = self._current[1] if self._current is not None else Verb.RUN
                self._on_progress(StepProgress(plan.name, name, verb, is_stuck=True))
            case Finished():
                invariant(False, "the end of a plan is no command for a step")
            case _:
                assert_never(command)
        return None

    def _execute(self, plan: Plan[ContextT], name: str, verb: Verb, context: ContextT) -> None:
        step, cancel = plan.by_name()[name], threading.Event()
        self._cancel = cancel
        self._current = (name, verb, boottime_ns())
        self._on_progress(StepProgress(plan.name, name, verb))
        self._work.put(lambda: _event_of(step, verb, context, cancel))

    def _wait(self, plan: Plan[ContextT], deadline_ns: int | None) -> Event:
        timeout_s = None if deadline_ns is None else max(0, deadline_ns - boottime_ns()) / _NS_PER_S
        try:
            event = self.inbox.get(timeout=timeout_s)
        except queue.Empty:
            return TimePassed()
        if isinstance(event, AbortRequested):
            self.abort_reason = event.reason
        elif self._current is not None:
            name, verb, began_ns = self._current
            elapsed_ms = (boottime_ns() - began_ns) // _NS_PER_MS
            fault = event.fault if isinstance(event, StepFailed | UndoFailed) else None
            self._on_progress(StepProgress(plan.name, name, verb, elapsed_ms, fault))
            self._current = None
        return event

    def _step_main(self) -> None:
        while (work := self._work.get()) is not None:
            self.inbox.put(work())
