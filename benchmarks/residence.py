"""What a heartbeat costs that lives: processor time and memory of three real nodes at 10 ms, keepalived's beside it.

The figures are the kernel's (proc(5): utime and stime, VmRSS), of the heartbeat processes and of keepalived's VRRP
processes, the master's apart from the standbys': the master hears two reports each interval, a standby a claim and a
report. Memory is looked at after a fifth of the time and at the end. Last come three bare loops (see floor.py).
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import floor
from benchmarks.election import HELD_WITHIN_S, Room, python_path
from netns.commands import LaboratoryError, eventually
from netns.topology import Process

NAMES: Final = ("pycarpd-fast", "keepalived-fast")
FLOOR: Final = "floor"
FLOOR_S_MAX: Final = 60.0
"""The bare loops keep nothing: a minute of them says as much as an hour."""
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_WARM_SHARE: Final = 5
_SETTLE_S: Final = 2.0
_LOOPS: Final = ("pycarpd.daemon.heartbeat", floor.MODULE)
_TELL_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Cost:
    """One process's share of a core in percent, and its resident memory early and at the end in MB."""

    contender: str
    host: str
    is_master: bool
    percent: float
    early_mb: float
    late_mb: float
    seconds: float
    kind: str = field(default="residence")


def measure(room: Room, seconds: float, tell: Callable[[float], None]) -> list[Cost]:
    """Return the costs of every node of both, one contender after the other, and of the bare loops.

    *tell* is told now and then how many seconds more have passed, ``total_s`` of them in all.
    """
    floor_s = min(seconds, FLOOR_S_MAX)
    turns = (*((name, seconds) for name in NAMES), (FLOOR, floor_s))
    return [cost for name, turn_s in turns for cost in _of(room, name, turn_s, tell)]


def total_s(seconds: float) -> float:
    """Return how long the measurements of ``measure`` last together, without what stands between them."""
    return len(NAMES) * seconds + min(seconds, FLOOR_S_MAX)


def _wait(seconds: float, tell: Callable[[float], None]) -> None:
    until = time.monotonic() + seconds
    while (left_s := until - time.monotonic()) > 0:
        step_s = min(_TELL_EVERY_S, left_s)
        time.sleep(step_s)
        tell(step_s)


def _of(room: Room, name: str, seconds: float, tell: Callable[[float], None]) -> list[Cost]:
    cluster = room.cluster
    is_floor = name == FLOOR
    start = floor.starter(cluster, room.owner, python_path()) if is_floor else room.contender(name)
    try:
        for rank, host in enumerate(cluster.daemons.hosts):
            start(host, rank)
        if not is_floor:  # which claims, and has no address
            eventually(lambda: len(cluster.topology.holders_of()) == 1, HELD_WITHIN_S, "somebody has the VIP")
        time.sleep(_SETTLE_S)
        processes = {host: _core(cluster.topology.processes(host)) for host in cluster.daemons.hosts}
        (holder,) = cluster.daemons.hosts[:1] if is_floor else cluster.topology.holders_of()
        began, cpu = time.monotonic(), {host: _cpu_s(pid) for host, pid in processes.items()}
        warm_s = seconds / _WARM_SHARE
        _wait(warm_s, tell)
        early = {host: _resident_mb(pid) for host, pid in processes.items()}
        _wait(seconds - warm_s, tell)
        spent = time.monotonic() - began
        return [
            Cost(
                name,
                host,
                host == holder,
                round(100 * (_cpu_s(pid) - cpu[host]) / spent, 2),
                round(early[host], 1),
                round(_resident_mb(pid), 1),
                round(spent, 1),
            )
            for host, pid in processes.items()
        ]
    finally:
        room.clear()


def _core(processes: list[Process]) -> int:
    """Return the process that keeps time: a heartbeat, a bare loop, or keepalived's youngest, which does VRRP."""
    hearts = [p.pid for p in processes if any(w.startswith(_LOOPS) for w in p.arguments)]
    found = hearts[:1] or [max((p.pid for p in processes if p.command.startswith("keepalived")), default=0)]
    if not found[0]:
        raise LaboratoryError("what was to be measured does not run any more: see its log")
    return found[0]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
