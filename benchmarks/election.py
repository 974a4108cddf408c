"""The election alone, crash of the address's holder to the first gratuitous ARP of the next: pycarpd beside keepalived.

Neither has a MooseFS here. keepalived runs without scripts; pycarpd's supervisor and heartbeat run as always, with a
stand-in for the worker whose plans are done at once (see standin). What stays in pycarpd's time, and keepalived has
nothing of: a majority's votes, each on disk before it is told, and the old holder's lease, which has to have run out.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.contenders import ranked
from benchmarks.results import Raw, raw_path, write_records
from benchmarks.stand import FIRST, machine
from benchmarks.summary import crashes_of, of_contender, turns_of
from benchmarks.takeover import phase_of
from netns.capture import Capture, Kind
from netns.cluster import REPOSITORY, Cluster, Options
from netns.commands import LaboratoryError, eventually, spawn
from netns.faults import inject
from netns.owner import Owner, reap
from netns.pycarpd import Settings
from netns.recipes.daemons import Keepalived
from netns.topology import SWITCH, VIP

SETTLE_S: Final = 2.0
HELD_WITHIN_S: Final = 30.0
GIVE_UP_S: Final = 15.0
NS_PER_MS: Final = 1_000_000
TITLES: Final = {
    "pycarpd-fast": "pycarpd, 10 ms x 3, majority of three",
    "keepalived-fast": "keepalived, 10 ms x 3",
    "pycarpd": "pycarpd, 250 ms x 3, majority of three",
    "keepalived": "keepalived, 1 s x 3",
}
_Start = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Election:
    """One crash; milliseconds from it: the next holder's first claiming advert, and its first gratuitous ARP."""

    contender: str
    number: int
    new_owner: str | None
    claim_ms: float | None
    garp_ms: float | None
    trouble: str = ""
    was_crashed: bool = True
    kind: str = field(default="crash")


class Room:
    """Three hosts, and nothing on them but what takes part."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.cluster = Cluster.build(owner, Options(hosts=3, chunkservers=0, clients=0))
        if self.cluster.capture is not None:
            self.cluster.capture.close()

    def contender(self, name: str) -> _Start:
        """Return what starts a contender on a host, by its rank."""
        cluster = self.cluster
        is_fast = name.endswith("-fast")
        if name.startswith("keepalived"):
            interval_s = 0.01 if is_fast else 1.0
            return Keepalived(cluster.topology, self.owner, cluster.moosefs, interval_s, has_script=False).start

        def start(host: str, _rank: int) -> None:
            settings = Settings("fast" if is_fast else "default", "majority")
            cluster.daemons.settings = settings.with_priorities(ranked(cluster.daemons.hosts))
            cluster.daemons.write_configs()
            words = ("env", f"PYTHONPATH={python_path()}", sys.executable, "-m", "benchmarks.standin")
            argv = cluster.topology.inside(host, *words, str(cluster.daemons.config(host)))
            self.owner.adopt(spawn(argv, cluster.daemons.log(host)))

        return start

    def clear(self) -> None:
        """End everything on every host, and leave it as after booting."""
        topology = self.cluster.topology
        for host in self.cluster.daemons.hosts:
            topology.kill_everything(host)
            topology.forget_kernel_state(host)
            topology.set_port(host, is_up=True)
            topology.unfilter(SWITCH, f"cut_{host}")
            for name in ("keepalived.pid", "vrrp.pid"):
                (topology.host_directory(host) / name).unlink(missing_ok=True)


def python_path() -> str:
    """Return where a process of a contender finds these benchmarks."""
    return os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(REPOSITORY))))


def run_turns(room: Room, names: tuple[str, ...], crashes: int, seed: int, limit_s: float) -> Iterator[Election]:
    """Yield every crash, contenders in turn; after *limit_s* no further round is begun."""
    starts = {name: room.contender(name) for name in names}
    deadline = time.monotonic() + limit_s
    for number in range(1, crashes + 1):
        for name in names:
            try:
                yield _turn(room, name, starts[name], number, phase_of(seed, number, name))
            finally:
                room.clear()
        if time.monotonic() > deadline:
            return


def _turn(room: Room, name: str, start: _Start, number: int, phase_s: float) -> Election:
    cluster = room.cluster
    try:
        start(FIRST, 0)
        if name.startswith("keepalived"):  # it needs nobody to become master, and must not find another one first
            eventually(lambda: cluster.topology.holders_of() == [FIRST], HELD_WITHIN_S, "m1 has the VIP")
        for rank, host in enumerate(cluster.daemons.hosts):
            if rank:
                start(host, rank)
        eventually(lambda: len(cluster.topology.holders_of()) == 1, HELD_WITHIN_S, "somebody has the VIP")
        time.sleep(SETTLE_S + phase_s)
        (holder,) = cluster.topology.holders_of()
        return _crash(room, name, number, holder)
    except (LaboratoryError, ValueError) as error:
        return Election(name, number, None, None, None, str(error)[:500], was_crashed=False)


def _crash(room: Room, name: str, number: int, holder: str) -> Election:
    cluster = room.cluster
    capture = Capture(cluster.topology, room.owner, f"{name}-{number}")
    try:
        time.sleep(0.2)
        began_ns = inject(cluster, "crash", holder).at_ns

        def garp() -> tuple[str, int] | None:
            seen = (s for s in capture.sightings() if s.at_ns > began_ns and s.host != holder)
            return next(((s.host, s.at_ns) for s in seen if (s.kind, s.address) == (Kind.GARP, VIP)), None)

        try:
            owner, garp_ns = eventually(garp, GIVE_UP_S, "another host announces the VIP")
        except LaboratoryError as error:
            return Election(name, number, None, None, None, trouble=str(error))
        claims = (s.at_ns for s in capture.sightings() if s.at_ns > began_ns and s.host == owner and s.claims)
        claim_ns = next(claims, None)
        claim_ms = None if claim_ns is None else round((claim_ns - began_ns) / NS_PER_MS, 2)
        return Election(name, number, owner, claim_ms, round((garp_ns - began_ns) / NS_PER_MS, 2))
    finally:
        capture.close()


def table_of(records: list[dict[str, Any]]) -> Table:
    """Return the contenders side by side."""
    conditions = records[0]
    table = Table(title=f"election alone, from the crash; {conditions['processor']}, {conditions['cores']} cores")
    table.add_column("contender")
    for heading in ("crashes", "first claim", "first gratuitous ARP", "not seen", "turns without a crash"):
        table.add_column(heading, justify="right")
    for name in dict.fromkeys(r["contender"] for r in records[1:]):
        (claim, _), (garp, missing) = (of_contender(records, name, figure) for figure in ("claim_ms", "garp_ms"))
        mine, turns = crashes_of(records, name), turns_of(records, name)
        texts = (spread.text if spread else "none" for spread in (claim, garp))
        table.add_row(TITLES[name], str(len(mine)), *texts, str(missing), str(len(turns) - len(mine)))
    return table


def election(
    crashes: Annotated[int, typer.Option(min=1, max=500, help="Crashes of each contender.")] = 10,
    contenders: Annotated[str, typer.Option(help=f"Of {', '.join(TITLES)}.")] = "pycarpd-fast,keepalived-fast",
    limit_min: Annotated[float, typer.Option(min=1, help="Begin no further round after so many minutes.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments of the crashes.")] = 1,
    as_json: Raw = None,
) -> None:
    """Crash the address's holder under pycarpd and keepalived in turn, with no MooseFS behind either."""
    reap()
    names = tuple(contenders.split(","))
    path: Path = raw_path(as_json, "election")
    records: list[dict[str, Any]] = [{"kind": "machine", **machine(), "seed": seed}]
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Owner(handle_signals=True) as owner, bar as progress:
        task = progress.add_task("election", total=crashes * len(names))
        for found in run_turns(Room(owner), names, crashes, seed, limit_min * 60):
            records.append(asdict(found))
            write_records(path, records)
            told = found.trouble or f"claim after {found.claim_ms} ms, gratuitous ARP after {found.garp_ms} ms"
            progress.console.print(f"{found.contender} {found.number}: {told}", markup=False, highlight=False)
            progress.advance(task)
    Console().print(table_of(records))
