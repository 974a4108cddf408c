import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pycarpd.daemon.deadman import FEED_EVERY_NS, MARK, Deadman
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.watchdog import Watchdog

BUSY = SystemFault.numbered("open /dev/watchdog", errno.EBUSY)


class FakeWatchdog(Watchdog):
    """What the driver would do, counted."""

    def __init__(self, fault: SystemFault | None = None) -> None:
        super().__init__(-1, "fake", 10, can_stop=True)
        self.fault = fault
        self.did: list[str] = []

    def feed(self) -> SystemFault | None:
        self.did.append("feed")
        return self.fault

    def stop(self) -> SystemFault | None:
        self.did.append("stop")
        return self.fault


@dataclass
class Bench:
    run_dir: Path
    answer: FakeWatchdog | SystemFault = field(default_factory=FakeWatchdog)
    said: list[tuple[int, str]] = field(default_factory=list)

    def deadman(self, mode: str, device: str = "/dev/null") -> Deadman:
        return Deadman(mode, device, str(self.run_dir), lambda level, text: self.said.append((level, text)), self.arm)

    def arm(self, _path: str, _timeout_s: int) -> Watchdog | SystemFault:
        return self.answer

    @property
    def did(self) -> list[str]:
        assert isinstance(self.answer, FakeWatchdog)
        return self.answer.did


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_is_armed_once_fed_each_second_and_stopped(bench: Bench) -> None:
    deadman = bench.deadman("required")
    assert deadman.arm()
    assert deadman.arm()
    assert (bench.run_dir / MARK).exists()
    for tick in range(9):
        deadman.feed(FEED_EVERY_NS + tick * FEED_EVERY_NS // 4, is_safe=True)
    assert bench.did == ["feed"] * 3
    deadman.disarm()
    deadman.disarm()
    assert bench.did == ["feed"] * 3 + ["stop"]
    assert not (bench.run_dir / MARK).exists()


def test_a_node_with_an_address_and_no_lease_is_not_kept_alive(bench: Bench) -> None:
    deadman = bench.deadman("automatic")
    deadman.arm()
    deadman.feed(10 * FEED_EVERY_NS, is_safe=False)
    assert bench.did == []


def test_off_touches_nothing(bench: Bench) -> None:
    (bench.run_dir / MARK).touch()
    deadman = bench.deadman("off", "/nonexistent")
    deadman.take_over()
    assert deadman.arm()
    assert not deadman.is_armed
    assert (deadman.why_not, bench.did) == ("", [])


@pytest.mark.parametrize(("mode", "may_serve"), [("automatic", True), ("required", False)])
def test_one_that_cannot_be_armed_keeps_from_serving_only_where_it_is_required(
    bench: Bench, mode: str, may_serve: bool
) -> None:
    bench.answer = BUSY
    deadman = bench.deadman(mode)
    assert deadman.arm() is may_serve
    assert deadman.arm() is may_serve
    assert deadman.degradation is not None
    assert deadman.degradation.code == "watchdog-unusable"
    assert [level for level, _ in bench.said] == [logging.ERROR]


@pytest.mark.parametrize(("mode", "device", "is_kept"), [
    ("required", "/nonexistent", True), ("required", "/dev/null", False), ("automatic", "/nonexistent", False),
])  # fmt: skip
def test_a_required_device_that_is_not_there_is_told_before_any_promotion(
    bench: Bench, mode: str, device: str, is_kept: bool
) -> None:
    assert bool(bench.deadman(mode, device).why_not) is is_kept


def test_what_an_earlier_heartbeat_has_left_armed_is_stopped(bench: Bench) -> None:
    (bench.run_dir / MARK).touch()
    bench.deadman("automatic").take_over()
    assert bench.did == ["stop"]
    assert not (bench.run_dir / MARK).exists()


def test_without_a_mark_nothing_is_opened(bench: Bench) -> None:
    bench.deadman("automatic").take_over()
    assert bench.did == []


@pytest.mark.parametrize("act", [lambda d: d.feed(10 * FEED_EVERY_NS, is_safe=True), Deadman.disarm])
def test_a_driver_that_fails_is_told(bench: Bench, act: Callable[[Deadman], None]) -> None:
    bench.answer = FakeWatchdog(BUSY)
    deadman = bench.deadman("automatic")
    deadman.arm()
    act(deadman)
    assert deadman.degradation is not None
