"""The fence in time: that it closes by itself, is renewed at little cost, and its loss is told.

The kernel has to close it when its process is stopped or killed, so that is done to a real one.
"""

import mmap
import os
import signal
import socket
import statistics
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

import pycarpd.linux.fence
from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.fence import TIMEOUT_MIN_MS, Fence
from tests.netns.fence_fixtures import BOTH, OPEN_MS, VIP, answers, fenced, hosts, nft
from tests.netns.linux_fixtures import Lab, eventually, in_child

pytestmark = pytest.mark.netns

PORT = 9421
MS = 1_000_000
LEASE_MS = 200
RENEW_EVERY_S = 0.02
LATE_MS_MAX = 50


@pytest.fixture
def lab() -> Iterator[Lab]:
    with hosts() as lab:
        yield lab


def say(figures: str) -> None:
    """Show what was measured, to those who run pytest with -s."""
    sys.stdout.write(figures + "\n")


@dataclass(frozen=True, slots=True)
class Passed:
    """When the last datagram that passed was sent, and how many were; CLOCK_MONOTONIC."""

    last_ns: int
    count: int


class Stream:
    """Datagrams from b to the VIP on a, one each millisecond, each with its own time in it."""

    def __init__(self, lab: Lab) -> None:
        with lab.inside("a"):
            self._target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._target.bind((VIP, PORT))
        self._target.setblocking(False)
        with lab.inside("b"):
            self._source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # With an ARP entry that stands, only the fence decides.
        with lab.inside("a"):
            mac = lab.ip("a", "-br", "link", "show", "eth0").split()[2]
        lab.ip("b", "neigh", "replace", VIP, "lladdr", mac, "dev", "eth0", "nud", "permanent")

    def run(self, seconds: float) -> Passed:
        last_ns = count = 0
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._source.sendto(struct.pack("=q", time.monotonic_ns()), (VIP, PORT))
            time.sleep(0.001)
            for stamp in self._received():
                last_ns, count = stamp, count + 1
        return Passed(last_ns, count)

    def _received(self) -> Iterator[int]:
        while True:
            try:
                yield struct.unpack("=q", self._target.recv(100))[0]
            except BlockingIOError:
                return


def renew_for_ever(board: mmap.mmap) -> None:
    fence = Fence("eth0", (VIP,))
    assert fence.install() is None
    while True:
        struct.pack_into("=q", board, 0, time.monotonic_ns())
        assert fence.renew(LEASE_MS) is None
        time.sleep(RENEW_EVERY_S)


@contextmanager
def renewer(lab: Lab, board: mmap.mmap) -> Iterator[int]:
    """Start a process that renews the fence and writes on *board* when it last began to; yields its id."""
    child = os.fork()
    if child == 0:
        try:
            with lab.inside("a"):
                renew_for_ever(board)
        finally:
            os._exit(1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def lateness_ms(lab: Lab, stream: Stream, number: signal.Signals) -> float:
    """Stop or kill a process that renews; return how long after its last lease's end the last datagram passed."""
    board = mmap.mmap(-1, 8)
    with renewer(lab, board) as child:
        assert eventually(lambda: struct.unpack_from("=q", board)[0] > 0)
        assert stream.run(2 * LEASE_MS / 1000).count > LEASE_MS / 4
        os.kill(child, number)
        os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        passed = stream.run(3 * LEASE_MS / 1000)
        assert passed.count > 0
        assert stream.run(0.2).count == 0
        assert VIP in nft(lab, "a", "list", "ruleset")
    (renewed_ns,) = struct.unpack_from("=q", board)
    return float(passed.last_ns - renewed_ns) / MS - LEASE_MS


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_the_kernel_closes_when_the_process_is_stopped_or_killed(lab: Lab, number: signal.Signals) -> None:
    def body() -> list[float]:
        stream = Stream(lab)
        return [lateness_ms(lab, stream, number) for _ in range(3)]

    late_ms = in_child(body)
    say(f"\nclosed after the timeout, {number.name}, ms: {', '.join(f'{ms:+.1f}' for ms in late_ms)}")
    assert max(late_ms) < LATE_MS_MAX
    assert min(late_ms) > -LATE_MS_MAX - RENEW_EVERY_S * 1000


def test_a_new_process_takes_the_place_of_one_that_was_killed(lab: Lab) -> None:
    def body() -> None:
        board = mmap.mmap(-1, 8)
        with renewer(lab, board):
            assert eventually(lambda: answers(lab, "b", VIP))
        with fenced(lab, vips=(VIP,)) as fence:
            assert not answers(lab, "b", VIP)
            assert fence.renew(OPEN_MS) is None
            assert answers(lab, "b", VIP)
            # Installing anew closes: who does it has to show a lease again.
            with lab.inside("a"):
                assert fence.install() is None
            assert not answers(lab, "b", VIP)
            assert nft(lab, "a", "list", "tables").count("pycarpd_fence") == 3

    in_child(body)


def test_renewing_prolongs_and_shortens(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            fence = Fence("eth0", BOTH)
            assert fence.install() is None
            began = time.monotonic()
            while time.monotonic() - began < 1.5:
                assert fence.renew(500) is None
                assert fence.is_open() is True
                time.sleep(0.05)
            assert fence.renew(OPEN_MS) is None
            assert fence.renew(100) is None
            assert eventually(lambda: fence.is_open() is False, 5)
            for verb in (fence.close, fence.close):
                assert verb() is None
                assert fence.is_open() is False

    in_child(body)


def test_no_timeout_is_so_short_that_it_never_ends(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            fence = Fence("eth0", BOTH)
            assert fence.install() is None
            for timeout_ms in (TIMEOUT_MIN_MS - 1, 1, 0, -1_000):
                assert fence.renew(OPEN_MS) is None
                assert fence.renew(timeout_ms) is None
                assert fence.is_open() is False
            assert fence.renew(TIMEOUT_MIN_MS) is None
            assert eventually(lambda: fence.is_open() is False, 5)

    in_child(body)


def delay(fence: Fence, monkeypatch: pytest.MonkeyPatch, *delays_s: float) -> list[str]:
    """Hold up the fence's next transactions on their way to the kernel; returns what is done, as it is done."""
    done: list[str] = []
    commit = fence._commit

    def late(encoded: bytes | bytearray, operation: str) -> SystemFault | None:
        time.sleep(delays_s[len(done)] if len(done) < len(delays_s) else 0)
        done.append(operation)
        return commit(encoded, operation)

    monkeypatch.setattr(fence, "_commit", late)
    return done


def test_a_renewal_that_comes_late_to_the_kernel_does_not_outlive_its_deadline(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> float:
        with fenced(lab) as fence, lab.inside("a"):
            done = delay(fence, monkeypatch, 0.15)
            deadline_ns = boottime_ns() + 400 * MS
            assert fence.renew_until(deadline_ns) is None
            assert done == ["open the fence"] * 2
            assert fence.is_open() is True
            while fence.is_open() is True:
                time.sleep(0.001)
            return (boottime_ns() - deadline_ns) / MS

    assert in_child(body) < LATE_MS_MAX


def test_a_renewal_that_is_late_again_and_again_closes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        with fenced(lab) as fence, lab.inside("a"):
            assert fence.renew(OPEN_MS) is None
            done = delay(fence, monkeypatch, 0.05, 0.2, 0.5)
            fault = fence.renew(OPEN_MS)
            assert fault is not None
            assert fault.name == "ETIMEDOUT"
            assert done == ["open the fence"] * 3 + ["close the fence"]
            assert fence.is_open() is False

    in_child(body)


def test_a_process_that_was_stopped_past_the_deadline_leaves_the_fence_closed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        with fenced(lab) as fence, lab.inside("a"):
            done = delay(fence, monkeypatch, 0.3)
            assert fence.renew_until(boottime_ns() + 100 * MS) is None
            assert done == ["open the fence", "close the fence"]
            assert fence.is_open() is False
            assert fence.renew_until(boottime_ns() - 1) is None
            assert fence.is_open() is False

    in_child(body)


def test_nobody_elses_flush_takes_the_fence_away(lab: Lab) -> None:
    def body() -> None:
        with fenced(lab) as fence:
            nft(lab, "a", "flush", "ruleset")
            assert not answers(lab, "b", VIP)
            assert fence.renew(OPEN_MS) is None

    in_child(body)


def test_where_the_kernel_protects_no_tables_the_loss_is_told_and_mended(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A flag that no kernel knows is refused as Linux before 6.9 refuses the real ones.
    monkeypatch.setattr(pycarpd.linux.fence, "_OWNED", 0x4000)

    def body() -> None:
        with fenced(lab) as fence:
            assert not answers(lab, "b", VIP)
            assert "flags owner" not in nft(lab, "a", "list", "ruleset")
            nft(lab, "a", "flush", "ruleset")
            for answer in (fence.renew(OPEN_MS), fence.close(), fence.is_open()):
                assert not isinstance(answer, bool)
                assert answer is not None
                assert answer.name == "ENOENT"
            with lab.inside("a"):
                assert fence.install() is None
            assert not answers(lab, "b", VIP)

    in_child(body)


def test_a_renewal_costs_little(lab: Lab) -> None:
    def body() -> list[float]:
        costs_us = []
        with fenced(lab) as fence:
            for _ in range(1000):
                began = time.perf_counter_ns()
                assert fence.renew(1_000) is None
                costs_us.append((time.perf_counter_ns() - began) / 1000)
                time.sleep(0.001)
        return sorted(costs_us)

    costs_us = in_child(body)
    median_us = statistics.median(costs_us)
    say(f"\nrenewal, us: median {median_us:.0f}, p99 {costs_us[989]:.0f}, worst {costs_us[-1]:.0f}")
    assert median_us < 1_000
