"""A bad cable: a relay between a host's switch port and the bridge that delays, duplicates and reorders frames.

Run in the switch's namespace as ``python -m netns.relay PORT_A PORT_B PLAN``; it stands between the two
interfaces. PLAN is a JSON file with ``delay_ms``, ``jitter_ms``, ``duplication_percent`` and
``reordering_percent``; it is read again whenever it changes. A reordered frame is held back for 20 ms longer
than its successors. The virtio header (packet(7), PACKET_VNET_HDR) goes through with each frame, so frames
whose checksum or segmentation the kernel has put off arrive sound.
"""

import heapq
import json
import os
import random
import select
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_VNET_HDR: Final = 15
_PACKET_IGNORE_OUTGOING: Final = 23
_FRAME_BYTES_MAX: Final = 70_000
_HELD_MAX: Final = 20_000
"""Frames held at once; beyond it frames are dropped, as a real queue does."""
_REORDER_NS: Final = 20_000_000
_PLAN_EVERY_NS: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What the cable does to each frame, in both directions."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    duplication_percent: float = 0.0
    reordering_percent: float = 0.0

    @property
    def is_clean(self) -> bool:
        """True when frames pass as they are."""
        return self == Plan()


def read_plan(path: Path) -> Plan:
    """Return the plan in a file; the clean one when there is none."""
    return Plan(**json.loads(path.read_text())) if path.exists() else Plan()


def write_plan(path: Path, **fields: float) -> None:
    """Write a plan, whole or not at all, so that a running relay never reads half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(fields))
    fresh.rename(path)


class Relay:
    """The two ends and the frames that are on their way."""

    def __init__(self, ports: tuple[str, str], plan: Path) -> None:
        ends = tuple(_open(port) for port in ports)
        self._other = {ends[0].fileno(): ends[1], ends[1].fileno(): ends[0]}
        self._ends = {end.fileno(): end for end in ends}
        self._poller = select.poll()
        for end in ends:
            self._poller.register(end, select.POLLIN)
        self._path = plan
        self._plan = read_plan(plan)
        self._plan_read_ns = time.monotonic_ns()
        self._held: list[tuple[int, int, socket.socket, bytes]] = []
        self._count = 0
        self._random = random.Random(0)  # noqa: S311 - a cable, no secret

    def run(self) -> None:
        """Relay until killed."""
        while True:
            for number, _event in self._poller.poll(self._patience_ms()):
                self._receive(number)
            self._forward_due()
            self._reread()

    def _patience_ms(self) -> float:
        if not self._held:
            return _PLAN_EVERY_NS / 1e6
        return max(0.0, min(_PLAN_EVERY_NS, self._held[0][0] - time.monotonic_ns()) / 1e6)

    def _receive(self, number: int) -> None:
        while True:
            try:
                frame = self._ends[number].recv(_FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            self._hold(frame, self._other[number])
            if self._chance(self._plan.duplication_percent):
                self._hold(frame, self._other[number])

    def _hold(self, frame: bytes, end: socket.socket) -> None:
        if len(self._held) >= _HELD_MAX:
            return
        wait_ns = int(1e6 * max(0.0, self._random.uniform(-1, 1) * self._plan.jitter_ms + self._plan.delay_ms))
        if self._chance(self._plan.reordering_percent):
            wait_ns += _REORDER_NS
        self._count += 1
        heapq.heappush(self._held, (time.monotonic_ns() + wait_ns, self._count, end, frame))

    def _forward_due(self) -> None:
        while self._held and self._held[0][0] <= time.monotonic_ns():
            _due, _count, end, frame = heapq.heappop(self._held)
            try:
                end.send(frame)
            except OSError as error:
                # A port that is down or full loses the frame, as a cable does; the log says so.
                print(f"a frame of {len(frame)} bytes was lost: {error}", file=sys.stderr)

    def _reread(self) -> None:
        if time.monotonic_ns() - self._plan_read_ns > _PLAN_EVERY_NS:
            self._plan = read_plan(self._path)
            self._plan_read_ns = time.monotonic_ns()

    def _chance(self, percent: float) -> bool:
        return percent > 0 and self._random.uniform(0, 100) < percent


def _open(port: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
    end.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    end.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    end.bind((port, _ETH_P_ALL))
    return end


if __name__ == "__main__":
    os.nice(-10)
    Relay((sys.argv[1], sys.argv[2]), Path(sys.argv[3])).run()
