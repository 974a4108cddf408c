"""The desk's order: what overtakes what, and that every end is told exactly once. Real executor, tiny steps."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pycarpd.daemon import plans
from pycarpd.daemon.jobs import Job, Kind, Listener
from pycarpd.daemon.plans import PlanDesk
from pycarpd.takeover.actions import ContextStep
from pycarpd.takeover.context import Context, Request, TakeoverSettings
from pycarpd.takeover.events import Outcome
from pycarpd.takeover.executor import StepProgress
from pycarpd.takeover.journal import Journal
from pycarpd.takeover.plans import parameters_of
from pycarpd.takeover.promote import give_address, take_address
from pycarpd.takeover.records import PlanOpened, StepStarted
from pycarpd.takeover.step import OnFailure, Plan, StepFault, StepSpec, UndoScope

NS_PER_S = 1_000_000_000
WAIT_S = 20.0
PROMOTE_1, PROMOTE_2 = Job(Kind.PROMOTE, 1), Job(Kind.PROMOTE, 2)
DEMOTE_1, DEMOTE_2 = Job(Kind.DEMOTE, 1), Job(Kind.DEMOTE, 2)


@dataclass
class Bench:
    """Where the steps of every plan leave their traces, and where a test can hold or fail one of them."""

    done: list[str] = field(default_factory=list)
    held: dict[str, threading.Event] = field(default_factory=dict)
    begun: dict[str, threading.Event] = field(default_factory=dict)
    faults: dict[str, StepFault] = field(default_factory=dict)

    def hold(self, name: str) -> None:
        self.held[name], self.begun[name] = threading.Event(), threading.Event()

    def pass_by(self, name: str) -> StepFault | None:
        self.done.append(name)
        if name in self.held:
            self.begun[name].set()
            assert self.held[name].wait(WAIT_S)
        return self.faults.get(name)

    async def until_begun(self, name: str) -> None:
        assert await asyncio.to_thread(self.begun[name].wait, WAIT_S)


def tiny_plan(bench: Bench, name: str, request: Request) -> Plan[Context]:
    """Return a plan with the names, scopes and address of the real one, whose work leaves a trace."""
    term = request.term

    def step(spec: StepSpec) -> ContextStep:
        def run(_context: Context, _cancel: threading.Event) -> StepFault | None:
            return bench.pass_by(f"{spec.name} {term}")

        def undo(_context: Context) -> StepFault | None:
            return bench.pass_by(f"undo {spec.name} {term}")

        return ContextStep(spec, run, undo)

    def wait_and_look(context: Context, cancel: threading.Event) -> StepFault | None:
        parley = context.parley
        assert parley is not None
        fault = parley.await_word(WAIT_S, cancel) or bench.pass_by(f"look again {context.request.term}")
        if fault is None:
            parley.confirmed()
        return fault

    second = 10 * NS_PER_S
    if name == Kind.DEMOTE.value:
        steps = (step(StepSpec("kill-mfsmaster", second)), step(StepSpec("archive-files", second)))
        return Plan(name, request.label, parameters_of(request), steps)
    address = StepSpec("take-address", second, undo=UndoScope.STOPS_SERVING, commits=True)
    wait = (ContextStep(StepSpec("await-term", second), wait_and_look),) if request.is_speculative else ()
    return Plan(
        name,
        request.label,
        parameters_of(request),
        (
            step(StepSpec("install", second)),
            step(StepSpec("start-mfsmaster", second, undo=UndoScope.STOPS_SERVING)),
            *wait,
            ContextStep(address, take_address, give_address),
            step(StepSpec("prune", second, on_failure=OnFailure.REPORT)),
        ),
    )


class Room:
    """A desk with its listener: what it asked, what it told, in order."""

    def __init__(self, journal: Path, bench: Bench) -> None:
        settings = TakeoverSettings(journal.parent, journal, journal, 0, 0, ("192.0.2.100",))
        self.desk = PlanDesk(settings, journal, lambda: None)
        self.bench = bench
        self.ended: list[tuple[Kind, int, bool]] = []
        self.finished: list[tuple[Job, Outcome]] = []
        self.asked: list[int] = []
        self.is_granted = True
        self.desk.listener = Listener(self._ask, self._end, self._progress, self._finish)

    def _ask(self, term: int, _version: int) -> None:
        self.asked.append(term)
        self.desk.answer_address(term, is_attached=self.is_granted)

    def _end(self, job: Job, is_ok: bool) -> None:
        self.bench.done.append(f"told {job.kind.value} {job.term} {is_ok}")
        self.ended.append((job.kind, job.term, is_ok))

    def _progress(self, job: Job, progress: StepProgress) -> None:
        assert job.kind.plan == progress.plan

    def _finish(self, job: Job, outcome: Outcome) -> None:
        self.finished.append((job, outcome))

    async def settle(self) -> None:
        assert await self.desk.idle(WAIT_S)
        assert not self.desk.is_busy

    def order(self, *names: str) -> None:
        """Assert that these happened, in this order."""
        places = [self.bench.done.index(name) for name in names]
        assert places == sorted(places), self.bench.done


Play = Callable[[Callable[[Room], Awaitable[None]]], None]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for event in made.held.values():
        event.set()


@pytest.fixture
def play(tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Play:
    def build(name: str, _settings: TakeoverSettings, request: Request) -> Plan[Context]:
        return tiny_plan(bench, name, request)

    for module in ("pycarpd.daemon.plans", "pycarpd.takeover.plans"):
        monkeypatch.setattr(f"{module}.build_plan", build)

    def run(body: Callable[[Room], Awaitable[None]]) -> None:
        async def main() -> None:
            await body(Room(tmp_path / "journal", bench))

        asyncio.run(main())

    return run


def test_a_promotion_asks_for_the_address_and_is_told_once(play: Play) -> None:
    async def body(room: Room) -> None:
        room.desk.ask(PROMOTE_1)
        assert room.desk.is_promoting
        await room.settle()
        assert room.asked == [1]
        assert room.ended == [(Kind.PROMOTE, 1, True)]
        assert room.bench.done[:3] == ["install 1", "start-mfsmaster 1", "prune 1"]
        assert [outcome.ok for _, outcome in room.finished] == [True]

    play(body)


def test_a_refused_address_undoes_everything_and_is_told_before_mfsmaster_is_stopped(play: Play) -> None:
    async def body(room: Room) -> None:
        room.is_granted = False
        room.desk.ask(PROMOTE_1)
        await room.settle()
        assert room.ended == [(Kind.PROMOTE, 1, False)]
        room.order("start-mfsmaster 1", "undo start-mfsmaster 1", "undo install 1")
        (_, outcome) = room.finished[0]
        assert outcome.fault is not None
        assert outcome.fault.code == "ADDRESS_REFUSED"

    play(body)


@pytest.mark.parametrize("failing", ["install 1", "start-mfsmaster 1"])
def test_a_failed_promotion_is_told_once_when_all_of_it_is_undone(play: Play, bench: Bench, failing: str) -> None:
    async def body(room: Room) -> None:
        bench.faults[failing] = StepFault("BROKEN", "on purpose")
        room.desk.ask(PROMOTE_1)
        await room.settle()
        assert room.ended == [(Kind.PROMOTE, 1, False)]
        assert bench.done[-1] == "told promote 1 False"
        assert room.asked == []

    play(body)


@pytest.mark.parametrize("at", ["install 1", "start-mfsmaster 1"])
def test_a_demotion_overtakes_a_promotion_whose_end_is_not_told(play: Play, bench: Bench, at: str) -> None:
    async def body(room: Room) -> None:
        bench.hold(at)
        room.desk.ask(PROMOTE_1)
        await bench.until_begun(at)
        room.desk.ask(DEMOTE_1)
        assert room.desk.is_busy
        bench.held[at].set()
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 1, True)]
        assert room.asked == []
        room.order(at, f"undo {at}", "undo install 1", "kill-mfsmaster 1", "archive-files 1")

    play(body)


def test_a_demotion_after_the_commit_stops_serving_and_leaves_the_files(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("prune 1")
        room.desk.ask(PROMOTE_1)
        await bench.until_begun("prune 1")
        room.desk.ask(DEMOTE_1)
        bench.held["prune 1"].set()
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 1, True)]
        room.order("undo start-mfsmaster 1", "kill-mfsmaster 1")
        assert "undo install 1" not in bench.done

    play(body)


def test_a_promotion_waits_for_a_demotion(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("archive-files 1")
        room.desk.ask(DEMOTE_1)
        await bench.until_begun("archive-files 1")
        room.desk.ask(PROMOTE_2)
        assert not room.desk.is_promoting
        bench.held["archive-files 1"].set()
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 1, True), (Kind.PROMOTE, 2, True)]
        room.order("archive-files 1", "install 2")

    play(body)


def test_of_what_waits_only_the_newest_counts(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("kill-mfsmaster 1")
        room.desk.ask(DEMOTE_1)
        await bench.until_begun("kill-mfsmaster 1")
        room.desk.ask(PROMOTE_1)
        room.desk.ask(PROMOTE_2)
        room.desk.ask(DEMOTE_2)
        bench.held["kill-mfsmaster 1"].set()
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 1, True), (Kind.DEMOTE, 2, True)]
        assert room.asked == []

    play(body)


def test_a_restart_in_place_overtakes_the_tail_of_the_promotion_and_is_told_by_itself(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("prune 1")
        room.desk.ask(PROMOTE_1)
        await bench.until_begun("prune 1")
        room.desk.ask(PROMOTE_1)
        bench.held.pop("prune 1").set()
        await room.settle()
        assert room.ended == [(Kind.PROMOTE, 1, True)]
        assert room.asked == [1, 1]

    play(body)


def test_a_demotion_is_told_when_mfsmaster_is_gone_not_when_all_is_tidied_up(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("archive-files 1")
        room.desk.ask(DEMOTE_1)
        await bench.until_begun("archive-files 1")
        await asyncio.sleep(0.05)
        assert room.ended == [(Kind.DEMOTE, 1, True)]
        assert room.desk.is_busy
        bench.held["archive-files 1"].set()
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 1, True)]

    play(body)


def test_a_demotion_that_fails_to_kill_is_told_as_failed(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.faults["kill-mfsmaster 1"] = StepFault("STILL_RUNS", "on purpose")
        room.desk.ask(DEMOTE_1)
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 1, False)]
        assert "archive-files 1" not in bench.done

    play(body)


ABORTED = (Kind.PROMOTE, 1, False)


@pytest.mark.parametrize("at", ["install 1", "start-mfsmaster 1", "prune 1"])
def test_an_abort_is_told_once_when_nothing_of_the_promotion_runs_any_more(play: Play, bench: Bench, at: str) -> None:
    async def body(room: Room) -> None:
        bench.hold(at)
        room.desk.ask(PROMOTE_1)
        await bench.until_begun(at)
        room.desk.abort(1)
        assert room.ended == []
        bench.held[at].set()
        await room.settle()
        assert len(room.ended) == 1
        undone = ["undo start-mfsmaster 1"] if at != "install 1" else ["undo install 1"]
        room.order(at, *undone) if at != "prune 1" else room.order(*undone)
        assert room.ended == [ABORTED]

    play(body)


def test_an_abort_of_a_promotion_that_waits_is_told_at_once_and_it_never_runs(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("kill-mfsmaster 1")
        room.desk.ask(DEMOTE_1)
        await bench.until_begun("kill-mfsmaster 1")
        room.desk.ask(PROMOTE_1)
        room.desk.abort(1)
        assert room.ended == [ABORTED]
        bench.held["kill-mfsmaster 1"].set()
        await room.settle()
        assert room.ended == [ABORTED, (Kind.DEMOTE, 1, True)]
        assert "install 1" not in bench.done

    play(body)


def test_an_abort_with_nothing_to_abort_is_told_all_the_same(play: Play) -> None:
    async def body(room: Room) -> None:
        room.desk.abort(1)
        assert room.ended == [ABORTED]
        room.desk.ask(PROMOTE_2)
        await room.settle()
        assert room.ended == [ABORTED, (Kind.PROMOTE, 2, True)]

    play(body)


def test_an_abort_of_an_overtaken_promotion_waits_for_its_undoing(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("prune 1")
        room.desk.ask(PROMOTE_1)
        await bench.until_begun("prune 1")
        room.desk.ask(PROMOTE_1)
        room.desk.abort(1)
        assert room.ended == []
        bench.held["prune 1"].set()
        await room.settle()
        assert room.ended == [ABORTED]
        room.order("undo start-mfsmaster 1", "told promote 1 False")
        assert room.asked == [1]

    play(body)


def test_a_demotion_asked_for_after_an_abort_runs_and_both_are_told_once(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("install 1")
        room.desk.ask(PROMOTE_1)
        await bench.until_begun("install 1")
        room.desk.abort(1)
        room.desk.ask(DEMOTE_1)
        bench.held["install 1"].set()
        await room.settle()
        assert room.ended == [ABORTED, (Kind.DEMOTE, 1, True)]

    play(body)


def test_an_answer_to_an_older_question_is_no_answer(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        assert room.desk.listener is not None
        asked = asyncio.Event()
        room.desk.listener = Listener(lambda _term, _version: asked.set(), room._end, room._progress, room._finish)
        room.desk.ask(PROMOTE_2)
        await asyncio.wait_for(asked.wait(), WAIT_S)
        room.desk.answer_address(1, is_attached=False)
        assert "undo start-mfsmaster 2" not in bench.done
        room.desk.answer_address(2, is_attached=True)
        room.desk.answer_address(2, is_attached=False)
        await room.settle()
        assert room.ended == [(Kind.PROMOTE, 2, True)]

    play(body)


def test_no_answer_is_a_refusal(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "ADDRESS_TIMEOUT_S", 0.2)

    async def body(room: Room) -> None:
        room.desk.listener = Listener(lambda _term, _version: None, room._end, room._progress, room._finish)
        room.desk.ask(PROMOTE_1)
        await room.settle()
        assert room.ended == [ABORTED]
        room.desk.answer_address(1, is_attached=True)

    play(body)


def test_idle_gives_up_after_its_time(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("install 1")
        room.desk.ask(PROMOTE_1)
        assert not await room.desk.idle(0.05)
        bench.held["install 1"].set()
        await room.settle()

    play(body)


def leave_open(journal: Path, name: str, term: int, *started: StepStarted) -> None:
    request = Request(f"left-{term}", term, 1)
    assert Journal(journal).write((PlanOpened(request.label, name, parameters_of(request)), *started)) is None


def test_what_an_earlier_process_left_is_taken_back_before_anything_else(
    play: Play, bench: Bench, tmp_path: Path
) -> None:
    leave_open(tmp_path / "journal", "promote", 7, StepStarted("install"), StepStarted("start-mfsmaster"))

    async def body(room: Room) -> None:
        outcome = await room.desk.recover()
        assert outcome.plan == "promote"
        assert bench.done == ["undo start-mfsmaster 7", "undo install 7"]
        assert room.ended == []
        assert (await room.desk.recover()).plan == "none"
        room.desk.ask(DEMOTE_1)
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 1, True)]

    play(body)


def test_recovery_after_the_commit_leaves_the_files_and_mfsmaster(play: Play, bench: Bench, tmp_path: Path) -> None:
    steps = (StepStarted("install"), StepStarted("start-mfsmaster"), StepStarted("take-address", commits=True))
    leave_open(tmp_path / "journal", "promote", 7, *steps)

    async def body(room: Room) -> None:
        assert (await room.desk.recover()).plan == "promote"
        assert bench.done == []

    play(body)


def test_taking_back_an_older_demotion_is_no_sign_that_mfsmaster_is_gone(
    play: Play, bench: Bench, tmp_path: Path
) -> None:
    leave_open(tmp_path / "journal", "demote", 7, StepStarted("kill-mfsmaster"), StepStarted("archive-files"))
    bench.hold("kill-mfsmaster 8")

    async def body(room: Room) -> None:
        room.desk.ask(Job(Kind.DEMOTE, 8))
        await bench.until_begun("kill-mfsmaster 8")
        await asyncio.sleep(0.05)
        assert "undo archive-files 7" in bench.done
        assert room.ended == []
        bench.held["kill-mfsmaster 8"].set()
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 8, True)]

    play(body)


def test_a_desk_that_gives_up_undoes_the_promotion_and_begins_nothing(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("install 1")
        room.desk.ask(PROMOTE_1)
        await bench.until_begun("install 1")
        room.desk.ask(DEMOTE_2)
        room.desk.give_up()
        bench.held["install 1"].set()
        await room.settle()
        room.order("install 1", "undo install 1")
        assert not {"start-mfsmaster 1", "kill-mfsmaster 2"} & set(bench.done)
        assert not room.asked
        assert not room.ended

    play(body)


def test_what_was_loaded_on_suspicion_is_the_promotion_that_is_asked_for(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        assert room.desk.speculate(1)
        room.desk.ask(PROMOTE_2)
        await room.settle()
        assert bench.done.count("install 1") == 1
        room.order("install 1", "start-mfsmaster 1", "look again 2", "prune 1", "told promote 2 True")
        assert "install 2" not in bench.done
        assert room.asked == [2]
        assert room.ended == [(Kind.PROMOTE, 2, True)]
        assert [(job, outcome.ok) for job, outcome in room.finished] == [(PROMOTE_2, True)]

    play(body)


@pytest.mark.parametrize("at", ["install 1", "start-mfsmaster 1"])
def test_what_was_loaded_in_vain_is_undone_and_nobody_is_told_of_a_promotion(play: Play, bench: Bench, at: str) -> None:
    async def body(room: Room) -> None:
        bench.hold(at)
        assert room.desk.speculate(1)
        await bench.until_begun(at)
        room.desk.end_speculation()
        bench.held[at].set()
        await room.settle()
        room.order(at, f"undo {at}", "undo install 1")
        assert room.asked == []
        assert room.ended == []
        assert [(job.kind, outcome.ok) for job, outcome in room.finished] == [(Kind.SPECULATE, False)]

    play(body)


def test_a_demotion_undoes_what_was_loaded_on_suspicion(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("start-mfsmaster 1")
        assert room.desk.speculate(1)
        await bench.until_begun("start-mfsmaster 1")
        room.desk.ask(DEMOTE_2)
        bench.held["start-mfsmaster 1"].set()
        await room.settle()
        room.order("undo start-mfsmaster 1", "undo install 1", "kill-mfsmaster 2")
        assert room.ended == [(Kind.DEMOTE, 2, True)]

    play(body)


def test_what_is_not_as_it_was_loaded_is_undone_and_the_promotion_begins_anew(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.faults["look again 2"] = StepFault("METALOGGER_RAN", "on purpose")
        assert room.desk.speculate(1)
        room.desk.ask(PROMOTE_2)
        await room.settle()
        room.order("look again 2", "undo start-mfsmaster 1", "undo install 1", "install 2", "told promote 2 True")
        assert room.asked == [2]
        assert room.ended == [(Kind.PROMOTE, 2, True)]

    play(body)


def test_an_outranked_promotion_from_what_was_loaded_is_told_once_when_it_is_undone(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("look again 2")
        assert room.desk.speculate(1)
        room.desk.ask(PROMOTE_2)
        await bench.until_begun("look again 2")
        room.desk.abort(2)
        assert room.ended == []
        bench.held["look again 2"].set()
        await room.settle()
        room.order("undo start-mfsmaster 1", "undo install 1")
        assert room.asked == []
        assert room.ended == [(Kind.PROMOTE, 2, False)]

    play(body)


def test_nothing_is_loaded_on_suspicion_beside_another_plan(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        bench.hold("kill-mfsmaster 1")
        room.desk.ask(DEMOTE_1)
        await bench.until_begun("kill-mfsmaster 1")
        assert not room.desk.speculate(1)
        room.desk.end_speculation()
        bench.held["kill-mfsmaster 1"].set()
        await room.settle()
        assert room.ended == [(Kind.DEMOTE, 1, True)]
        assert "install 1" not in bench.done

    play(body)


def test_without_a_heartbeat_what_was_loaded_on_suspicion_is_undone(play: Play, bench: Bench) -> None:
    async def body(room: Room) -> None:
        assert room.desk.speculate(1)
        room.desk.give_up()
        await room.settle()
        assert room.asked == []
        assert room.ended == []
        assert "undo install 1" in bench.done or "install 1" not in bench.done

    play(body)
