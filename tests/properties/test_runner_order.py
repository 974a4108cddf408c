"""Whatever steps do and whenever somebody aborts, the Runner's order holds."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from pycarpd.takeover.events import (
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
from pycarpd.takeover.records import PlanOpened, Record, StepStarted, decode, encode, open_plan
from pycarpd.takeover.runner import Runner
from pycarpd.takeover.step import OnFailure, PlanSpec, StepFault, StepSpec, UndoScope, Verb

FAULT = StepFault("BROKEN", "")
COMMANDS_MAX = 500


@st.composite
def plans(draw: st.DrawFn) -> PlanSpec:
    size = draw(st.integers(1, 6))
    commit = draw(st.integers(0, 7))
    return PlanSpec(
        "plan",
        tuple(
            StepSpec(
                f"step{number}",
                timeout_ns=10,
                on_failure=draw(st.sampled_from(OnFailure)),
                undo=draw(st.sampled_from(UndoScope)),
                undo_timeout_ns=10,
                has_check=draw(st.booleans()),
                commits=number == commit,
            )
            for number in range(size)
        ),
    )


class World:
    """Answers commands as the drawn data says, and keeps what is needed to judge the order."""

    def __init__(self, plan: PlanSpec, data: st.DataObject) -> None:
        self.plan = plan
        self.data = data
        self.runner = Runner()
        self.journal: list[Record] = []
        self.ran: list[str] = []
        self.has_committed = False
        self.undone: list[str] = []
        self.now_ns = 0
        self.running = Execute("", Verb.CHECK)

    def play(self) -> Outcome:
        todo: deque[Command] = deque(self.runner.start(PlanOpened("id", "plan", ()), self.plan, 0))
        for _ in range(COMMANDS_MAX):
            command = todo.popleft()
            assert not todo, "one command at a time, since each asks for an answer"
            if isinstance(command, Finished):
                assert not self.runner.is_busy
                return command.outcome
            todo.extend(self.commands_after(command))
        raise AssertionError("the plan never ends")

    def commands_after(self, command: Command) -> tuple[Command, ...]:
        if isinstance(command, Cancel | Stuck):
            return self.runner.handle(self.event_for(self.running), self.now_ns)
        if isinstance(command, WriteJournal):
            is_written = self.data.draw(st.integers(0, 19)) > 0
            if self.data.draw(st.integers(0, 9)) == 0:
                assert self.runner.handle(AbortRequested("drawn"), self.now_ns) == ()
            if is_written:
                self.journal.extend(command.records)
            return self.runner.handle(JournalWritten() if is_written else JournalFailed(FAULT), self.now_ns)
        assert isinstance(command, Execute)
        self.running = command
        if command.verb is Verb.RUN:
            names = [record.step for record in self.journal if isinstance(record, StepStarted)]
            is_journalled = bool(names) and names[-1] == command.step
            assert is_journalled or self.has_committed, "a step runs only after its record is written"
            self.ran.append(command.step)
            self.has_committed = self.has_committed or any(
                step.name == command.step and step.commits for step in self.plan.steps
            )
        interruption = self.data.draw(st.sampled_from(["none", "none", "none", "abort", "late"]))
        if interruption == "abort":
            commands = self.runner.handle(AbortRequested("drawn"), self.now_ns)
            if commands:
                return commands
        if interruption == "late":
            deadline = self.runner.next_deadline()
            assert deadline is not None
            self.now_ns = deadline
            return self.runner.handle(TimePassed(), self.now_ns)
        return self.runner.handle(self.event_for(command), self.now_ns)

    def event_for(self, command: Execute) -> Event:
        self.now_ns += 1
        fails = self.data.draw(st.integers(0, 4)) == 0
        match command.verb:
            case Verb.CHECK:
                return Checked(command.step, is_done=fails)
            case Verb.RUN:
                return StepFailed(command.step, FAULT) if fails else StepSucceeded(command.step)
            case Verb.UNDO:
                if fails:
                    return UndoFailed(command.step, FAULT)
                self.undone.append(command.step)
                return Undone(command.step)


@given(plans(), st.data())
def test_undo_is_the_exact_reverse_of_what_was_started(plan: PlanSpec, data: st.DataObject) -> None:
    world = World(plan, data)
    outcome = world.play()
    specs = {step.name: step for step in plan.steps}
    if outcome.ok:
        assert world.undone == []
        return
    failed = {step for step, _ in outcome.undo_faults}
    scopes = {UndoScope.ALWAYS, UndoScope.STOPS_SERVING} if outcome.committed else set(UndoScope)
    expected = [name for name in reversed(world.ran) if specs[name].undo in scopes]
    assert [name for name in expected if name not in failed] == world.undone
    assert outcome.undone == (not failed)
    assert outcome.fault is not None


@given(plans(), st.data())
def test_the_journal_is_closed_exactly_when_nothing_is_left_to_undo(plan: PlanSpec, data: st.DataObject) -> None:
    world = World(plan, data)
    outcome = world.play()
    left = open_plan(tuple(world.journal))
    if outcome.undo_faults:
        assert left is None or set(dict(outcome.undo_faults)) <= set(left.started)
    lines = b"".join(encode(record) for record in world.journal)
    assert decode(lines) == (tuple(world.journal), len(lines))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_bytes_in_the_journal_raise(noise: bytes, cut: int) -> None:
    whole = encode(PlanOpened("id", "plan", (("label", "x"),))) + encode(StepStarted("a"))
    records, length = decode(whole[:cut] + noise)
    assert length <= cut + len(noise)
    assert records == decode(whole)[0][: len(records)]
