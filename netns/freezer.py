"""A host that stands still: every process of it frozen at once, and thawed, as a paused virtual machine's are.

By the freezer of cgroup v2 (cgroup.freeze, cgroups(7)) where a cgroup can be made, else by SIGSTOP to every process.
The kernel of a frozen host goes on here, which is worse than a paused machine: it still answers for what was left open.
"""

import os
import signal
from pathlib import Path
from typing import Final

from netns.commands import LaboratoryError, eventually
from netns.owner import CGROUPS
from netns.topology import Topology

_WITHIN_S: Final = 10.0


def freeze(topology: Topology, host: str) -> str:
    """Freeze every process of a host; returns how: ``cgroup`` or ``SIGSTOP``."""
    group = _group(topology, host)
    if group is None:
        topology.send_signal(signal.SIGSTOP, [process.pid for process in topology.processes(host)])
        return "SIGSTOP"
    # Who is born while the list is read is found in the next round.
    while strangers := [p.pid for p in topology.processes(host) if p.pid not in _members(group)]:
        _move(strangers, group)
    (group / "cgroup.freeze").write_text("1")
    eventually(
        lambda: "frozen 1" in (group / "cgroup.events").read_text(), _WITHIN_S, f"{host} is frozen", every_s=0.005
    )
    return "cgroup"


def thaw(topology: Topology, host: str) -> None:
    """Let a host's processes go on; one that was not frozen is left as it is."""
    group = next((path for path in _paths(topology, host) if path.is_dir()), None)
    if group is None:
        topology.send_signal(signal.SIGCONT, [process.pid for process in topology.processes(host)])
        return
    (group / "cgroup.freeze").write_text("0")
    while members := _members(group):
        _move(members, group.parent)
    group.rmdir()


def _paths(topology: Topology, host: str) -> list[Path]:
    return [root / topology.namespace(host) for root in CGROUPS if (root / "cgroup.controllers").exists()]


def _group(topology: Topology, host: str) -> Path | None:
    for path in _paths(topology, host):
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            print(f"no cgroup can be made, SIGSTOP it is: {error}")
            return None
        return path if (path / "cgroup.freeze").exists() else None
    return None


def _members(group: Path) -> list[int]:
    return [int(line) for line in (group / "cgroup.procs").read_text().split()]


def _move(pids: list[int], group: Path) -> None:
    with (group / "cgroup.procs").open("w") as procs:
        for pid in pids:
            try:
                os.write(procs.fileno(), str(pid).encode())
            except ProcessLookupError:
                continue
            except OSError as error:
                raise LaboratoryError(f"process {pid} cannot be moved to {group}: {error}") from None
