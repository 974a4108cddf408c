import subprocess
import sys

from pycarpd.takeover.events import (
    AbortRequested,
    Cancel,
    Checked,
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
    StepDone,
    StepStarted,
    StepUndone,
    UndoBegan,
)
from pycarpd.takeover.runner import Runner
from pycarpd.takeover.step import (
    CANCEL_GRACE_NS,
    OnFailure,
    PlanSpec,
    StepFault,
    StepSpec,
    UndoScope,
    Verb,
)

SECOND = 1_000_000_000
IMPURE = ("pycarpd.linux", "pycarpd.moosefs", "pycarpd.takeover.journal", "socket", "subprocess")
OPENED = PlanOpened("id", "plan", ())
FAULT = StepFault("BROKEN", "it broke")


def spec(
    name: str,
    *,
    on_failure: OnFailure = OnFailure.ABORT,
    undo: UndoScope = UndoScope.BEFORE_COMMIT,
    has_check: bool = False,
    commits: bool = False,
) -> StepSpec:
    return StepSpec(name, SECOND, on_failure, undo, 2 * SECOND, has_check, commits)


def begun(*steps: StepSpec) -> Runner:
    """A runner whose first step runs."""
    runner = Runner()
    runner.start(OPENED, PlanSpec("plan", steps), 0)
    assert runner.handle(JournalWritten(), 0) == (Execute(steps[0].name, Verb.RUN),)
    return runner


def outcome_of(commands: tuple[object, ...]) -> Outcome:
    assert len(commands) == 1
    finished = commands[0]
    assert isinstance(finished, Finished)
    return finished.outcome


def test_the_runner_brings_no_files_clocks_or_processes_into_a_simulator() -> None:
    code = "import sys, pycarpd.takeover.runner; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30)
    assert [name for name in loaded.stdout.split() if name.startswith(IMPURE)] == []


def test_a_plan_journals_each_step_before_it_runs_and_ends_done() -> None:
    runner = Runner()
    plan = PlanSpec("plan", (spec("a"), spec("b")))
    assert runner.start(OPENED, plan, 0) == (WriteJournal((OPENED, StepStarted("a"))),)
    assert runner.handle(JournalWritten(), 5) == (Execute("a", Verb.RUN),)
    assert runner.next_deadline() == 5 + SECOND
    assert runner.handle(StepSucceeded("a"), 7_000_005) == (WriteJournal((StepDone("a"), StepStarted("b"))),)
    assert runner.next_deadline() is None
    assert runner.handle(JournalWritten(), 8_000_000) == (Execute("b", Verb.RUN),)
    assert runner.handle(StepSucceeded("b"), 9_000_000) == (WriteJournal((StepDone("b"), PlanClosed("done"))),)
    outcome = outcome_of(runner.handle(JournalWritten(), 9_000_000))
    assert outcome.ok
    assert outcome.phases_ms == (("a", 7), ("b", 1))
    assert not runner.is_busy


def test_a_step_whose_check_says_done_is_neither_run_nor_journalled() -> None:
    runner = Runner()
    plan = PlanSpec("plan", (spec("a", has_check=True), spec("b")))
    assert runner.start(OPENED, plan, 0) == (Execute("a", Verb.CHECK),)
    assert runner.handle(Checked("a", is_done=True), 1) == (WriteJournal((OPENED, StepStarted("b"))),)


def test_a_failure_undoes_every_started_step_in_reverse() -> None:
    runner = begun(spec("a"), spec("b"))
    runner.handle(StepSucceeded("a"), 1)
    runner.handle(JournalWritten(), 1)
    assert runner.handle(StepFailed("b", FAULT), 2) == (WriteJournal((UndoBegan("BROKEN", did_commit=False),)),)
    assert runner.handle(JournalWritten(), 2) == (Execute("b", Verb.UNDO),)
    assert runner.handle(Undone("b"), 3) == (WriteJournal((StepUndone("b"),)),)
    assert runner.handle(JournalWritten(), 3) == (Execute("a", Verb.UNDO),)
    runner.handle(Undone("a"), 4)
    assert runner.handle(JournalWritten(), 4) == (WriteJournal((PlanClosed("undone"),)),)
    outcome = outcome_of(runner.handle(JournalWritten(), 4))
    assert (outcome.ok, outcome.undone, outcome.failed_step, outcome.fault) == (False, True, "b", FAULT)


def test_a_reported_step_does_not_end_the_plan() -> None:
    runner = begun(spec("a", on_failure=OnFailure.REPORT))
    written = runner.handle(StepFailed("a", FAULT), 1)
    assert written == (WriteJournal((StepDone("a", "BROKEN"), PlanClosed("done"))),)
    outcome = outcome_of(runner.handle(JournalWritten(), 1))
    assert outcome.ok
    assert outcome.degraded == (("a", FAULT),)


def test_a_timeout_cancels_and_waits_for_the_step_before_undoing() -> None:
    runner = begun(spec("a"))
    assert runner.handle(TimePassed(), SECOND - 1) == ()
    assert runner.handle(TimePassed(), SECOND) == (Cancel("a"),)
    assert runner.next_deadline() == SECOND + CANCEL_GRACE_NS
    assert runner.handle(TimePassed(), SECOND + CANCEL_GRACE_NS) == (Stuck("a"),)
    assert runner.next_deadline() is None
    # It comes back late and even says that it succeeded: too late all the same.
    written = runner.handle(StepSucceeded("a"), 20 * SECOND)
    assert written == (WriteJournal((UndoBegan("TIMED_OUT", did_commit=False),)),)
    assert runner.handle(JournalWritten(), 20 * SECOND) == (Execute("a", Verb.UNDO),)


def test_a_timeout_of_a_reported_step_goes_on() -> None:
    runner = begun(spec("a", on_failure=OnFailure.REPORT), spec("b"))
    runner.handle(TimePassed(), SECOND)
    written = runner.handle(StepSucceeded("a"), SECOND + 1)
    assert written == (WriteJournal((StepDone("a", "TIMED_OUT"), StepStarted("b"))),)


def test_an_abort_undoes_even_in_a_reported_step() -> None:
    runner = begun(spec("a", on_failure=OnFailure.REPORT))
    assert runner.handle(AbortRequested("lease lost"), 1) == (Cancel("a"),)
    assert runner.handle(AbortRequested("again"), 1) == ()
    runner.handle(StepSucceeded("a"), 2)
    assert runner.handle(JournalWritten(), 2) == (Execute("a", Verb.UNDO),)


def test_an_abort_during_a_journal_write_runs_no_further_step() -> None:
    runner = Runner()
    runner.start(OPENED, PlanSpec("plan", (spec("a"),)), 0)
    assert runner.handle(AbortRequested("lease lost"), 1) == ()
    assert runner.handle(JournalWritten(), 2) == (WriteJournal((UndoBegan("ABORTED", did_commit=False),)),)
    assert runner.handle(JournalWritten(), 3) == (WriteJournal((PlanClosed("undone"),)),)


def committed_runner() -> Runner:
    runner = begun(
        spec("files"),
        spec("start", undo=UndoScope.STOPS_SERVING),
        spec("address", undo=UndoScope.STOPS_SERVING, commits=True),
        spec("gate", undo=UndoScope.ALWAYS),
    )
    for name in ("files", "start", "address"):
        runner.handle(StepSucceeded(name), 1)
        runner.handle(JournalWritten(), 1)
    return runner


def test_after_the_commit_a_failure_stops_serving_but_leaves_the_files() -> None:
    runner = committed_runner()
    assert runner.handle(StepFailed("gate", FAULT), 2) == (WriteJournal((UndoBegan("BROKEN", did_commit=True),)),)
    undone: list[str] = []
    commands = runner.handle(JournalWritten(), 2)
    while isinstance(commands[0], Execute):
        undone.append(commands[0].step)
        runner.handle(Undone(commands[0].step), 3)
        commands = runner.handle(JournalWritten(), 3)
    assert undone == ["gate", "address", "start"]
    assert commands == (WriteJournal((PlanClosed("committed"),)),)
    outcome = outcome_of(runner.handle(JournalWritten(), 3))
    assert outcome.committed
    assert not outcome.ok


def test_a_committing_step_that_fails_has_not_committed_but_a_cancelled_one_may_have() -> None:
    fails = begun(spec("address", commits=True))
    assert fails.handle(StepFailed("address", FAULT), 1) == (WriteJournal((UndoBegan("BROKEN", did_commit=False),)),)
    cancelled = begun(spec("address", commits=True))
    cancelled.handle(TimePassed(), SECOND)
    assert cancelled.handle(StepFailed("address", FAULT), SECOND) == (
        WriteJournal((UndoBegan("TIMED_OUT", did_commit=True),)),
    )


def test_a_journal_that_cannot_be_written_goes_back_before_the_commit_and_on_after_it() -> None:
    before = Runner()
    before.start(OPENED, PlanSpec("plan", (spec("a"),)), 0)
    assert before.handle(JournalFailed(FAULT), 0) == (WriteJournal((UndoBegan("BROKEN", did_commit=False),)),)
    after = committed_runner()
    after.handle(StepSucceeded("gate"), 1)
    outcome = outcome_of(after.handle(JournalFailed(FAULT), 1))
    assert outcome.ok
    assert outcome.degraded == (("gate", FAULT),)


def test_an_undo_that_fails_twice_leaves_the_plan_open_and_undoes_the_rest() -> None:
    runner = begun(spec("a"), spec("b"))
    runner.handle(StepSucceeded("a"), 1)
    runner.handle(JournalWritten(), 1)
    runner.handle(StepFailed("b", FAULT), 2)
    runner.handle(JournalWritten(), 2)
    assert runner.handle(UndoFailed("b", FAULT), 3) == (Execute("b", Verb.UNDO),)
    assert runner.handle(UndoFailed("b", FAULT), 3) == (Execute("a", Verb.UNDO),)
    runner.handle(Undone("a"), 4)
    outcome = outcome_of(runner.handle(JournalWritten(), 4))
    assert outcome.undo_faults == (("b", FAULT),)
    assert not outcome.undone


def test_recovery_after_a_commit_removes_only_what_must_not_be_left() -> None:
    runner = Runner()
    plan = PlanSpec(
        "plan",
        (
            spec("gate", undo=UndoScope.ALWAYS),
            spec("start", undo=UndoScope.STOPS_SERVING),
            spec("address", undo=UndoScope.STOPS_SERVING, commits=True),
        ),
    )
    interrupted = OpenPlan(OPENED, ("gate", "start", "address"), did_commit=True)
    runner.recover(interrupted, plan, 0)
    assert runner.handle(JournalWritten(), 0) == (Execute("gate", Verb.UNDO),)
    runner.handle(Undone("gate"), 1)
    assert runner.handle(JournalWritten(), 1) == (WriteJournal((PlanClosed("committed"),)),)


def test_recovery_says_so_when_a_step_is_not_known_any_more() -> None:
    runner = Runner()
    runner.recover(OpenPlan(OPENED, ("gone",), did_commit=False), PlanSpec("plan", (spec("a"),)), 0)
    outcome = outcome_of(runner.handle(JournalWritten(), 0))
    assert [step for step, _ in outcome.undo_faults] == ["gone"]
