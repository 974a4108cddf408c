"""When a host drills, what its drills prove, and what is told of them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pycarpd.daemon import drills as room
from pycarpd.daemon.drills import Drills, Turn, is_first
from pycarpd.election.model import Freshness, Role
from pycarpd.takeover.context import TakeoverSettings
from pycarpd.takeover.drill import Drilled, Skipped
from pycarpd.takeover.step import StepFault
from tests.netns.linux_fixtures import eventually

DONE = Drilled(100, 7, 42, (("prove", 5), ("restore", 900)), 1 << 29)
FAULT = StepFault("DRILL_DIFFERS", "version 9 was restored")
FRESH = Freshness(7, 110)
S = 1_000_000_000


def made(state_dir: Path, interval_s: int = 3600) -> Drills:
    config = state_dir / "mfsmaster.cfg"
    takeover = TakeoverSettings(state_dir, config, config, 0, 0, ())
    return Drills(takeover, state_dir, lambda: None, lambda: interval_s)


def codes(drills: Drills) -> list[str]:
    return [each.code for each in drills.reports(Role.BACKUP)]


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (Turn(None, 1), (), True),
        (Turn(None, 1), (Turn(None, 0),), False),
        (Turn(None, 0), (Turn(None, 1),), True),
        (Turn(4000, 0), (Turn(None, 1),), False),
        (Turn(4000, 1), (Turn(3700, 0),), True),
        (Turn(3700, 0), (Turn(4000, 1),), False),
        (Turn(4000, 1), (Turn(10, 0),), True),
    ],
)
def test_the_one_whose_drill_is_oldest_goes_first(own: Turn, others: tuple[Turn, ...], *, expected: bool) -> None:
    assert is_first(own, others, 3600) == expected


def test_of_those_who_are_due_exactly_one_is_first() -> None:
    turns = [Turn(age, rank) for rank, age in enumerate((None, 4000, None, 3600, 12))]
    due = [turn for turn in turns if turn.is_due(3600)]
    firsts = [one for one in due if is_first(one, tuple(other for other in turns if other != one), 3600)]
    assert firsts == [turns[0]]


def test_what_was_proved_is_told_of_that_file_system_alone_and_kept(tmp_path: Path) -> None:
    drills = made(tmp_path)
    assert drills.stamp(FRESH) == FRESH
    drills._ended(DONE)
    for each in (drills, made(tmp_path)):
        stamped = each.stamp(FRESH)
        assert stamped is not None
        assert (stamped.proved_version, stamped.drill_age_s is not None) == (100, True)
        assert each.stamp(replace(FRESH, metaid=8)) == replace(FRESH, metaid=8)
        assert each.status().outcome == "ok"
        assert codes(each) == []
    assert drills.stamp(None) is None


def test_a_drill_that_fails_is_an_alarm_and_takes_the_proof_back(tmp_path: Path) -> None:
    drills = made(tmp_path)
    drills._ended(DONE)
    drills._ended(FAULT)
    stamped = drills.stamp(FRESH)
    assert stamped is not None
    assert stamped.proved_version == 0
    assert (drills.status().outcome, drills.status().code) == ("failed", "DRILL_DIFFERS")
    assert codes(drills) == codes(made(tmp_path)) == ["drill-failed"]
    drills._ended(DONE)
    assert codes(drills) == []


def test_a_skipped_drill_is_told_and_takes_nothing_back(tmp_path: Path) -> None:
    drills = made(tmp_path)
    drills._ended(DONE)
    drills._ended(Skipped("it needs 9 MiB of memory"))
    stamped = drills.stamp(FRESH)
    assert stamped is not None
    assert stamped.proved_version == 100
    assert codes(drills) == ["drill-skipped"]


def test_a_cancelled_drill_says_nothing(tmp_path: Path) -> None:
    drills = made(tmp_path)
    drills._ended(StepFault(room.CANCELLED, "x"))
    assert drills.status().outcome == "never"
    assert codes(drills) == []


def test_no_drill_for_a_long_time_is_told(tmp_path: Path) -> None:
    drills = made(tmp_path, interval_s=10)
    drills._ended(DONE)
    drills._last = drills._last.model_copy(update={"at": "2020-01-01T00:00:00Z"})
    assert codes(drills) == ["drill-overdue"]
    assert drills.reports(Role.MASTER) == ()


def test_a_damaged_record_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / room.DRILL_FILE).write_text("{")
    assert made(tmp_path).status().outcome == "never"


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 5 * S
        monkeypatch.setattr(room, "boottime_ns", lambda: self.now_ns)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Return a function that ticks for so many seconds and tells at which of them a drill began."""
    clock = Clock(monkeypatch)

    def run(drills: Drills, seconds: int, *others: Turn, is_free: bool = True) -> list[int]:
        began: list[int] = []
        monkeypatch.setattr(drills, "begin", lambda: began.append(clock.now_ns // S))
        for _ in range(seconds):
            clock.now_ns += S
            drills.tick(others, 1, is_free=is_free)
            if began:
                break
        return began

    return run


def test_a_standby_drills_once_it_has_settled(tmp_path: Path, ticking: Callable[..., list[int]]) -> None:
    assert ticking(made(tmp_path), 1000, is_free=False) == []
    assert ticking(made(tmp_path), room.SETTLE_S) == []
    assert ticking(made(tmp_path), room.SETTLE_S + 2) != []
    assert ticking(made(tmp_path, interval_s=0), 1000) == []


def test_one_that_is_not_first_waits_but_not_for_ever(tmp_path: Path, ticking: Callable[..., list[int]]) -> None:
    first = Turn(None, 0)
    assert ticking(made(tmp_path), room.WAIT_FOR_TURN_S - 1, first) == []
    assert ticking(made(tmp_path), room.WAIT_FOR_TURN_S + 2, first) != []


def test_a_drill_runs_beside_the_loop_and_its_failure_is_told(tmp_path: Path) -> None:
    async def main() -> Drills:
        drills = made(tmp_path)
        drills.begin()
        assert drills.is_running
        assert drills.status().number == 1
        assert await asyncio.to_thread(eventually, lambda: not drills.is_running, 30)
        return drills

    drills = asyncio.run(main())
    assert drills.status().code == "no-base"
    assert drills.status().outcome_number == 1
    assert codes(drills) == ["drill-failed"]
