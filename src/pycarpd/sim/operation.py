"""Executes the real Runner's commands in virtual time: steps that take theirs, a journal on a disk that may fail."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from pycarpd.sim import plans
from pycarpd.sim.agenda import Action
from pycarpd.sim.clock import Schedule
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.host import PlanFate
from pycarpd.sim.plans import TAKE_ADDRESS, Operation
from pycarpd.takeover.events import (
    AbortRequested,
    Cancel,
    Checked,
    Command,
    Event,
    Execute,
    Finished,
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
from pycarpd.takeover.records import OpenPlan, PlanOpened, Record, encode
from pycarpd.takeover.runner import Runner
from pycarpd.takeover.step import PlanSpec, StepFault, Verb

TORN_BYTES = 7
"""How much of a record's line reaches the disk when power is lost in the middle of it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a plan is executed in."""

    after: Schedule
    finished: Callable[[Outcome], None]
    ask_address: Action
    mark: Callable[[str], None]
    lose_power: Action
    told: Callable[[], None] = lambda: None
    confirmed: Callable[[], None] = lambda: None


class Operating:
    """One turn of the Runner on one host; ``starts`` is told of each step (and whether it is an undo)."""

    def __init__(self, operation: Operation, surroundings: Surroundings, starts: Callable[[str, bool], None]) -> None:
        self._operation = operation
        self._host = operation.host
        self._around = surroundings
        self._starts = starts
        self._runner = Runner()
        self._todo: deque[Command] = deque()
        self._is_alive = True
        self._is_obeying = False
        self._step = 0
        self._running: tuple[str, Verb] | None = None

    def die(self) -> None:
        """Stop in the middle of whatever is done; the Runner is forgotten, the host's disk is not."""
        self._is_alive = False

    def start(self, parameters: tuple[tuple[str, str], ...], spec: PlanSpec) -> None:
        """Begin the plan."""
        self._host.data.remember()
        opened = PlanOpened(self._operation.label, self._operation.plan, parameters)
        self._go_on(self._runner.start(opened, spec, self._host.now_ns))

    def recover(self, interrupted: OpenPlan, spec: PlanSpec) -> None:
        """Take the interrupted plan back."""
        self._go_on(self._runner.recover(interrupted, spec, self._host.now_ns))

    def abort(self, reason: str) -> None:
        """End the plan and undo it."""
        self._handle(AbortRequested(reason))

    def answer_address(self, *, is_attached: bool) -> None:
        """Let the step that asks for the address go on."""
        if self._running != (TAKE_ADDRESS, Verb.RUN):
            return
        fault = None if is_attached else StepFault("ADDRESS_REFUSED", "the heartbeat did not take the virtual address")
        self._end_step(fault)

    def go_on(self) -> None:
        """Let the step that waits for the election's word end."""
        if self._running is None or self._running[0] not in plans.WAITS_NS:
            return
        step = self._running[0]
        fault = plans.look_again(self._operation, step)
        if fault is None and step in (plans.AWAIT_SUCCESSOR, plans.AWAIT_TERM):
            self._around.confirmed()
        self._end_step(fault)

    def _handle(self, event: Event) -> None:
        if self._is_alive and self._runner.is_busy:
            self._go_on(self._runner.handle(event, self._host.now_ns))

    def _go_on(self, commands: tuple[Command, ...]) -> None:
        self._todo.extend(commands)
        if self._is_obeying:
            return
        self._is_obeying = True
        while self._todo and self._is_alive:
            self._obey(self._todo.popleft())
        self._is_obeying = False
        self._arm()

    def _arm(self) -> None:
        deadline_ns = self._runner.next_deadline()
        if deadline_ns is None or not self._is_alive:
            return

        def pass_time() -> None:
            if self._runner.next_deadline() == deadline_ns:
                self._handle(TimePassed())

        self._around.after(self._host.until_ns(deadline_ns), pass_time)

    def _obey(self, command: Command) -> None:
        match command:
            case WriteJournal(records):
                self._soon(self._host.habits.journal_ns + self._host.disk_delay_ns, lambda: self._write(records))
            case Execute(step, verb):
                self._execute(step, verb)
            case Cancel(step):
                self._cancel(step)
            case Stuck(step):
                self._around.mark(f"stuck: {step}")
            case Finished(outcome):
                self._is_alive = False
                self._check_files(outcome)
                self._around.mark(f"{outcome.plan}: {'done' if outcome.ok else 'not done'}")
                self._around.finished(outcome)
            case _:
                assert_never(command)

    def _check_files(self, outcome: Outcome) -> None:
        """Find the old files intact after a plan that says that it was undone, the new ones after one that is done."""
        data, is_promotion = self._host.data, self._operation.plan == plans.PROMOTE
        if is_promotion and outcome.undone and not outcome.committed and not data.is_as_before:
            raise CheckFailedError(f"S11: a plan that was undone leaves the old files: {data}")
        if is_promotion and outcome.ok and (data.own is None or data.staging is not None):
            raise CheckFailedError("S11: a plan that is done leaves the new files complete")

    def _soon(self, delay_ns: int, action: Action) -> None:
        if delay_ns == 0:
            action()
        else:
            self._around.after(delay_ns, lambda: action() if self._is_alive else None)

    def _write(self, records: tuple[Record, ...]) -> None:
        data = b"".join(encode(record) for record in records)
        old = b"" if isinstance(records[0], PlanOpened) else self._host.journal

        def put() -> None:
            self._host.journal = old + data

        def tear() -> None:
            # A new plan's journal replaces the old file by a rename, which is not torn.
            self._host.journal = self._host.journal + data[:-TORN_BYTES] if old else self._host.journal

        if self._host.write(put, tear):
            self._handle(JournalWritten())
        else:
            self._around.lose_power()

    def _execute(self, step: str, verb: Verb) -> None:
        self._starts(step, verb is Verb.UNDO)
        self._running = (step, verb)
        self._step += 1
        number = self._step
        host = self._host
        if verb is Verb.CHECK:
            self._running = None
            self._handle(Checked(step, plans.is_done(self._operation, step)))
            return
        if verb is Verb.RUN and host.fateful_step == step and host.fate is PlanFate.HANGS:
            return  # until it is cancelled

        def happen() -> None:
            if number == self._step and self._running is not None:
                self._perform(step, verb)

        self._soon(plans.duration_ns(self._operation, step, verb), happen)

    def _perform(self, step: str, verb: Verb) -> None:
        if verb is Verb.RUN and step == TAKE_ADDRESS:
            self._ask_address()
            return
        if verb is Verb.RUN and step in plans.WAITS_NS:
            self._await_word(step)
            return
        if verb is Verb.UNDO:
            self._end_step(plans.undo(self._operation, step))
            return
        fault = plans.run(self._operation, step)
        if fault is None:
            for write in plans.file_writes(self._operation, step):
                if not self._host.write(write):
                    self._around.lose_power()
                    return
        self._end_step(fault)

    def _ask_address(self) -> None:
        number = self._step

        def give_up() -> None:
            if number == self._step and self._running is not None:
                self._around.mark("the heartbeat did not answer for the address")
                self.answer_address(is_attached=False)

        self._around.after(plans.ADDRESS_TIMEOUT_NS, give_up)
        self._around.ask_address()

    def _await_word(self, step: str) -> None:
        number = self._step

        def give_up() -> None:
            if number == self._step and self._running is not None:
                self._end_step(StepFault("NO_WORD", "nothing was heard of the switchover"))

        self._around.after(plans.WAITS_NS[step], give_up)
        self._around.told()

    def _cancel(self, step: str) -> None:
        if self._running != (step, Verb.RUN) or step == TAKE_ADDRESS:
            return  # the question for the address is answered, or is given up, by itself
        self._around.mark("a step was cancelled")
        self._end_step(StepFault("CANCELLED", "as it was told"))

    def _end_step(self, fault: StepFault | None) -> None:
        if self._running is None:
            return
        (step, verb), self._running = self._running, None
        match verb:
            case Verb.UNDO:
                self._handle(Undone(step) if fault is None else UndoFailed(step, fault))
            case _:
                self._handle(StepSucceeded(step) if fault is None else StepFailed(step, fault))
