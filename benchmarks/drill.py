"""A drill on a large file system: how long it takes, what it needs, and how late the heartbeat wakes up meanwhile.

The inodes are made by snapshots, which double them in an instant, before pycarpd is started; so the metadata that the
standby has downloaded is large, and the drill loads and saves it whole. The lateness is the standby's own, counted by
its heartbeat: before the drill, for as long as the drill took, and during it.
"""

import http.client
import json
import re
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.results import Raw, raw_path, write_records
from benchmarks.stand import machine
from netns.cluster import FIRST, Cluster, Options
from netns.commands import LaboratoryError, eventually, must
from netns.owner import Owner, reap
from netns.pycarpd import Settings
from netns.topology import VIP_CIDR

SEED_INODES: Final = 2000
READY_WITHIN_S: Final = 300.0
DRILL_WITHIN_S: Final = 1800.0
SNAPSHOT_WITHIN_S: Final = 300.0
UNDER_WAY: Final = "drill-running"
"""What a standby that drills answers to the command for a drill."""
_BUCKET = re.compile(r'pycarpd_wake_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)')
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Lateness:
    """Wake-ups of the heartbeat in some time, by upper bound in seconds; ``max_s`` is the bound of the latest."""

    wakes: int
    p99_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class DrillFigure:
    """One drill: what it reported, how long the command took, and the lateness before and during it."""

    inodes: int
    metadata_bytes: int
    command_s: float
    drill: dict[str, Any]
    before: Lateness
    during: Lateness
    kind: str = field(default="drill")


class _Control(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def wake_counts(socket_path: Path) -> dict[float, float]:
    """Return how many wake-ups were within each bound since the daemon's start."""
    control = _Control(socket_path)
    try:
        control.request("GET", "/metrics")
        text = control.getresponse().read().decode()
    finally:
        control.close()
    return {float(bound): float(count) for bound, count in _BUCKET.findall(text)}


def lateness_between(before: dict[float, float], after: dict[float, float]) -> Lateness:
    """Return what happened between two counts."""
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
    total = max(counts.values(), default=0.0)
    p99 = next((bound for bound, count in counts.items() if count >= 0.99 * total), 0.0)
    latest = next((bound for bound, count in counts.items() if count >= total), 0.0)
    return Lateness(int(total), p99, latest)


def grow(cluster: Cluster, client: str, inodes: int) -> None:
    """Fill a directory and snapshot it until there are so many inodes; the master has to run."""
    mount = cluster.mounts[client]
    seed = mount / "seed"
    script = f"mkdir {seed} && cd {seed} && seq -f 'file-with-an-ordinary-name-%g' {SEED_INODES} | xargs touch"
    must("bash", "-c", script, timeout_s=SNAPSHOT_WITHIN_S)
    wanted = [seed] * max(0, (inodes - SEED_INODES) // (SEED_INODES + 1))
    batch = 50
    for first in range(0, len(wanted), batch):
        targets = [str(mount / f"copy-{number}") for number in range(first, min(first + batch, len(wanted)))]
        script = "; ".join(f"mfsmakesnapshot {seed} {target} || exit 1" for target in targets)
        must(*cluster.topology.inside_net(client, "bash", "-c", script), timeout_s=SNAPSHOT_WITHIN_S)


def start_large(cluster: Cluster, inodes: int) -> None:
    """Bring up a file system of so many inodes under pycarpd; returns when every standby could take over."""
    cluster.create_file_system()
    cluster.topology.add_address(FIRST, VIP_CIDR)
    cluster.moosefs.start_master(FIRST)
    cluster.wait_mounts(READY_WITHIN_S)
    grow(cluster, cluster.clients[0], inodes)
    cluster.moosefs.stop_master(FIRST)
    cluster.topology.remove_address(FIRST, VIP_CIDR)
    for host in cluster.daemons.hosts:
        cluster.daemons.start(host)
    cluster.wait_ready(READY_WITHIN_S)


def measure(cluster: Cluster, calm_s: float) -> DrillFigure:
    """Drill on a standby, after looking for so long how late its heartbeat is without.

    A standby drills by itself a minute after it has begun to follow. One that is about to then is asked again, when
    that drill is over: the next comes in an hour.
    """
    master = cluster.wait_ready(READY_WITHIN_S)
    standby = next(host for host in cluster.daemons.hosts if host != master)
    figure = _measure(cluster, standby, calm_s)
    if figure is None:
        eventually(lambda: not _is_drilling(cluster, standby), DRILL_WITHIN_S, "its own drill is over", every_s=1.0)
        figure = _measure(cluster, standby, calm_s)
    if figure is None:
        raise LaboratoryError(f"{standby} drills again and again by itself")
    return figure


def _is_drilling(cluster: Cluster, standby: str) -> bool:
    return (cluster.daemons.look(standby).get("drill") or {}).get("phase") is not None


def _measure(cluster: Cluster, standby: str, calm_s: float) -> DrillFigure | None:
    """Drill once; None where a drill is under way already."""
    control = cluster.topology.host_directory(standby) / "run" / "control.sock"
    began = wake_counts(control)
    time.sleep(calm_s)
    calm = wake_counts(control)
    started = time.monotonic()
    status, output = cluster.daemons.control(standby, "drill", "--json", timeout_s=DRILL_WITHIN_S)
    took_s = time.monotonic() - started
    ended = wake_counts(control)
    if status != 0 and UNDER_WAY in output:
        return None
    if status != 0:
        raise LaboratoryError(f"the drill failed: {output}")
    drill = json.loads(output.splitlines()[0])
    base = cluster.moosefs.data_path(standby) / "metadata_ml.mfs.back"
    return DrillFigure(
        drill["inode_count"],
        base.stat().st_size,
        round(took_s, 2),
        drill,
        lateness_between(began, calm),
        lateness_between(calm, ended),
    )


def drill(
    inodes: Annotated[int, typer.Option(min=SEED_INODES, max=50_000_000, help="How large the file system is.")] = (
        1_000_000
    ),
    calm: Annotated[float, typer.Option(min=1, max=600, help="Seconds before the drill, for comparison.")] = 30.0,
    as_json: Raw = None,
) -> None:
    """Rehearse a restore on a large file system: time, memory, and the heartbeat's lateness meanwhile."""
    reap()
    console = Console()
    with Owner(handle_signals=True) as owner:
        options = Options(chunkservers=1, settings=Settings(arbiter="majority"))
        cluster = Cluster.build(owner, options)
        with console.status(f"making {inodes} inodes"):
            start_large(cluster, inodes)
        with console.status("drilling"):
            figure = measure(cluster, calm)
    console.print(_table(figure))
    write_records(raw_path(as_json, "drill"), [machine(), asdict(figure)])


def _table(figure: DrillFigure) -> Table:
    table = Table(title=f"a drill on {figure.inodes} inodes, {figure.metadata_bytes // MIB} MiB of metadata")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row("the command, with waiting", f"{figure.command_s:.1f} s")
    for phase, ms in figure.drill["phases"].items():
        table.add_row(f"  {phase}", f"{ms / 1000:.2f} s")
    table.add_row("mfsmaster's memory at most", f"{figure.drill['memory_bytes'] // MIB} MiB")
    for name, each in (("before", figure.before), ("during", figure.during)):
        text = f"p99 {each.p99_s * 1000:.1f} ms, max {each.max_s * 1000:.1f} ms of {each.wakes}"
        table.add_row(f"heartbeat late, {name}", text)
    return table
