import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pycarpd.takeover.events import Outcome
from pycarpd.takeover.executor import PlanExecutor, StepProgress
from pycarpd.takeover.journal import Journal
from pycarpd.takeover.records import OpenPlan, PlanOpened, StepStarted
from pycarpd.takeover.step import Plan, StepFault, StepSpec, Verb

MS = 1_000_000
FAULT = StepFault("BROKEN", "it broke")


@dataclass
class Bench:
    """The context of these plans: what was done, in order."""

    done: list[str] = field(default_factory=list)


def succeed(_cancel: threading.Event) -> StepFault | None:
    return None


@dataclass
class Work:
    """A step made of a function; its undo is recorded."""

    name: str
    work: Callable[[threading.Event], StepFault | None] = succeed
    timeout_ns: int = 10_000 * MS

    @property
    def spec(self) -> StepSpec:
        return StepSpec(self.name, self.timeout_ns)

    def is_done(self, _context: Bench) -> bool:
        return False

    def run(self, context: Bench, cancel: threading.Event) -> StepFault | None:
        context.done.append(f"run {self.name}")
        return self.work(cancel)

    def undo(self, context: Bench) -> StepFault | None:
        context.done.append(f"undo {self.name}")
        return None


class Desk:
    """An executor whose outcomes can be waited for."""

    def __init__(self, journal: Path, rebuilt: Plan[Bench] | None = None) -> None:
        self.progress: list[StepProgress] = []
        self.outcomes: list[Outcome] = []
        self.bench = Bench()
        self.rebuilt = rebuilt
        self.ended = threading.Event()
        self.executor = PlanExecutor(journal, self.rebuild, self.progress.append, self.finish)

    def rebuild(self, _interrupted: OpenPlan) -> tuple[Plan[Bench], Bench]:
        assert self.rebuilt is not None
        return self.rebuilt, self.bench

    def finish(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.ended.set()

    def outcome(self) -> Outcome:
        assert self.ended.wait(30)
        self.ended.clear()
        return self.outcomes[-1]

    def run(self, *steps: Work) -> Outcome:
        assert self.executor.submit(plan(*steps), self.bench)
        return self.outcome()


def plan(*steps: Work) -> Plan[Bench]:
    return Plan("plan", "id", (("k", "v"),), steps)


def test_a_plan_runs_its_steps_in_order_and_reports_their_progress(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal")
    outcome = desk.run(Work("a"), Work("b"))
    assert outcome.ok
    assert desk.bench.done == ["run a", "run b"]
    assert [(each.step, each.elapsed_ms is None) for each in desk.progress] == [
        ("a", True),
        ("a", False),
        ("b", True),
        ("b", False),
    ]
    assert not desk.executor.is_busy
    assert Journal(tmp_path / "journal").recover() is None


def test_a_failing_and_a_raising_step_are_undone_alike(tmp_path: Path) -> None:
    def fail(_cancel: threading.Event) -> StepFault:
        return FAULT

    def explode(_cancel: threading.Event) -> StepFault | None:
        raise ZeroDivisionError

    desk = Desk(tmp_path / "journal")
    assert desk.run(Work("a"), Work("b", fail)).fault == FAULT
    outcome = desk.run(Work("a"), Work("b", explode))
    assert outcome.fault is not None
    assert outcome.fault.code == "STEP_RAISED"
    assert desk.bench.done == ["run a", "run b", "undo b", "undo a"] * 2


def test_an_abort_reaches_the_running_step(tmp_path: Path) -> None:
    is_running = threading.Event()

    def wait(cancel: threading.Event) -> StepFault | None:
        is_running.set()
        assert cancel.wait(20)
        return None

    desk = Desk(tmp_path / "journal")
    assert desk.executor.submit(plan(Work("a"), Work("b", wait), Work("c")), desk.bench)
    assert is_running.wait(20)
    assert desk.executor.is_busy
    assert not desk.executor.submit(plan(Work("x")), desk.bench), "one plan at a time"
    desk.executor.abort("lease lost")
    outcome = desk.outcome()
    assert outcome.fault == StepFault("ABORTED", "lease lost")
    assert desk.bench.done == ["run a", "run b", "undo b", "undo a"]


def test_a_step_that_takes_too_long_is_cancelled_and_undone(tmp_path: Path) -> None:
    def wait(cancel: threading.Event) -> StepFault | None:
        assert cancel.wait(20)
        return None

    desk = Desk(tmp_path / "journal")
    outcome = desk.run(Work("a", wait, timeout_ns=50 * MS))
    assert outcome.fault is not None
    assert outcome.fault.code == "TIMED_OUT"
    assert desk.bench.done == ["run a", "undo a"]


def test_a_plan_left_open_is_taken_back_before_a_new_one_begins(tmp_path: Path) -> None:
    opened = PlanOpened("old", "plan", (("k", "v"),))
    assert Journal(tmp_path / "journal").write((opened, StepStarted("a"), StepStarted("b"))) is None
    desk = Desk(tmp_path / "journal", plan(Work("a"), Work("b")))
    outcome = desk.run(Work("new"))
    assert outcome.ok
    assert desk.bench.done == ["undo b", "undo a", "run new"]


def test_an_abort_while_an_older_plan_is_taken_back_keeps_the_new_one_from_beginning(tmp_path: Path) -> None:
    undoing, may_end = threading.Event(), threading.Event()

    @dataclass
    class SlowToUndo(Work):
        def undo(self, context: Bench) -> StepFault | None:
            undoing.set()
            assert may_end.wait(30)
            return super().undo(context)

    journal = Journal(tmp_path / "journal")
    assert journal.write((PlanOpened("old", "plan", ()), StepStarted("a"))) is None
    desk = Desk(tmp_path / "journal", plan(SlowToUndo("a")))
    assert desk.executor.submit(plan(Work("b")), desk.bench)
    assert undoing.wait(30)
    desk.executor.abort("a better claim was heard")
    may_end.set()
    outcome = desk.outcome()
    assert (outcome.ok, outcome.undone) == (False, True)
    assert outcome.fault is not None
    assert outcome.fault.code == "ABORTED"
    assert desk.bench.done == ["undo a"]


def test_recovery_without_anything_to_recover_says_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal")
    assert desk.executor.recover()
    assert desk.outcome() == Outcome("", "none", ok=True)


def test_a_journal_that_cannot_be_written_runs_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "missing" / "journal")
    outcome = desk.run(Work("a"))
    assert not outcome.ok
    assert outcome.fault is not None
    assert outcome.fault.code == "JOURNAL_NOT_WRITTEN"
    assert desk.bench.done == []
    assert all(each.verb is not Verb.RUN for each in desk.progress)
