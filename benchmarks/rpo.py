"""What a crash loses: acknowledged operations that no metalogger had received, counted under thousands a second.

Many processes create empty files through one mount. The master's host is crashed in the middle of it; when its
successor serves and files are created again, the load ends, and every acknowledged file is looked for through a fresh
mount. Then the crashed host comes back, and the next round begins. Planned stops are counted in the same way.
"""

import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.results import Raw, raw_path, write_records
from benchmarks.stand import machine
from netns.cluster import Cluster, Options
from netns.commands import boottime_ns, bound_to_parent, eventually, run
from netns.faults import heal, inject
from netns.owner import Owner, reap
from netns.pycarpd import Settings

ROOT: Final = Path(__file__).parents[1]
CREATORS: Final = 8
FILES_BEFORE: Final = 1000
LOAD_S: Final = 4.0
AGAIN_WITHIN_S: Final = 60.0
READY_WITHIN_S: Final = 180.0
LIST_WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 30.0
NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """One end of a master under load: how fast files were created before it, and how many of them were lost.

    ``age_ms`` is how long before the crash the oldest lost file had been acknowledged, ``gap_ms`` how long no file was.
    """

    number: int
    how: str
    old: str
    new: str
    acknowledged: int
    per_second: int
    lost: int
    age_ms: float
    gap_ms: float
    kind: str = field(default="round")


class Load:
    """The creators of one round."""

    def __init__(self, owner: Owner, mount: Path, name: str) -> None:
        self.name = name
        self._log = owner.directory / f"{name}.log"
        self._stop = owner.directory / f"{name}.stop"
        argv = [sys.executable, "-m", "benchmarks.creator", str(mount / name), str(self._log), str(self._stop)]
        argv = bound_to_parent([*argv, str(CREATORS)])
        self._process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        owner.adopt(self._process)

    def acknowledged(self) -> dict[str, int]:
        """Return the files acknowledged so far, by directory and name, with the moment."""
        found: dict[str, int] = {}
        for number in range(CREATORS):
            log = self._log.with_name(f"{self._log.name}.{number}")
            text = log.read_text() if log.exists() else ""
            for line in text.rpartition("\n")[0].splitlines():
                name, at_ns = line.split()
                found[f"d{number}/{name}"] = int(at_ns)
        return found

    def stop(self) -> dict[str, int]:
        """End the load and return all that was acknowledged."""
        self._stop.touch()
        self._process.wait(STOP_WITHIN_S)
        return self.acknowledged()


def play(cluster: Cluster, owner: Owner, number: int, how: str) -> Round:
    """Let the master of a healthy cluster end under load, and count what it takes with it."""
    old = cluster.wait_ready(READY_WITHIN_S)
    load = Load(owner, cluster.mounts[cluster.clients[0]], f"rpo-{how}-{number}")
    eventually(lambda: len(load.acknowledged()) > FILES_BEFORE, AGAIN_WITHIN_S, "files are created", every_s=0.5)
    time.sleep(LOAD_S)
    began_ns = boottime_ns()
    if how == "crash":
        inject(cluster, "crash", old)
    else:
        cluster.daemons.control(old, "switchover", "--json", timeout_s=AGAIN_WITHIN_S)
    ended_ns = boottime_ns()
    _await_creations(load, ended_ns)
    acknowledged = load.stop()
    new = next(iter(cluster.moosefs.serving_hosts()), "")
    there = _listed(cluster, load.name)
    if how == "crash":
        heal(cluster, "crash", old)
    lost = {name: at_ns for name, at_ns in acknowledged.items() if name not in there}
    moments = sorted(acknowledged.values())
    gap_ns = max((b - a for a, b in pairwise(moments) if b > began_ns), default=0)
    rate = sum(began_ns - NS_PER_S <= at_ns < began_ns for at_ns in moments)
    age_ns = max(0, began_ns - min(lost.values())) if lost else 0
    return Round(
        number, how, old, new, len(acknowledged), rate, len(lost), round(age_ns / NS_PER_MS), round(gap_ns / NS_PER_MS)
    )


def _await_creations(load: Load, after_ns: int) -> None:
    def go_on() -> bool:
        return sum(at_ns > after_ns for at_ns in load.acknowledged().values()) > CREATORS

    eventually(go_on, AGAIN_WITHIN_S, "files are created again", every_s=0.5)


def _listed(cluster: Cluster, name: str) -> set[str]:
    """Return what is there, by directory and name, listed through a mount that has nothing cached."""
    point = cluster.moosefs.mount(cluster.clients[0], f"look-{name}")
    try:
        found = run("find", str(point / name), "-type", "f", "-printf", "%P\n", timeout_s=LIST_WITHIN_S)
    finally:
        cluster.moosefs.unmount(point)
    return set(found.output.splitlines())


def rpo(
    crashes: Annotated[int, typer.Option(min=1, max=1000, help="How often the master's host is crashed.")] = 10,
    planned: Annotated[int, typer.Option(min=0, max=1000, help="How often it hands over instead.")] = 2,
    as_json: Raw = None,
) -> None:
    """Count the acknowledged operations that a crash loses, and a planned stop, under thousands a second."""
    reap()
    rounds: list[Round] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Owner(handle_signals=True) as owner, Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("rounds", total=crashes + planned)
        cluster = Cluster.build(owner, Options(settings=Settings(arbiter="majority")))
        cluster.start()
        for number, how in enumerate(["crash"] * crashes + ["switchover"] * planned, 1):
            played = play(cluster, owner, number, how)
            rounds.append(played)
            said = f"{number}: {how} of {played.old}, {played.per_second}/s, lost {played.lost} ({played.age_ms} ms)"
            progress.console.print(said, markup=False, highlight=False)
            progress.advance(task)
            write_records(raw_path(as_json, "rpo"), [machine(), *map(asdict, rounds)])
    Console().print(_table(rounds))


def _table(rounds: list[Round]) -> Table:
    table = Table(title="acknowledged operations lost when the master ends")
    for column in ("how", "times", "creations/s", "lost, median", "lost, max", "oldest lost, ms", "write gap, ms"):
        table.add_column(column, justify="left" if column == "how" else "right")
    for how in dict.fromkeys(each.how for each in rounds):
        of = [each for each in rounds if each.how == how]
        table.add_row(
            how,
            str(len(of)),
            f"{median(each.per_second for each in of):.0f}",
            f"{median(each.lost for each in of):.0f}",
            str(max(each.lost for each in of)),
            f"{max(each.age_ms for each in of):.0f}",
            f"{median(each.gap_ms for each in of):.0f}",
        )
    return table
