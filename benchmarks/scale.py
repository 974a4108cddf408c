"""The command ``scale``: promotions of file systems of any size, beside a bare start of mfsmaster on the same files."""

import time
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.results import Raw, raw_path, write_records
from benchmarks.scale_files import SEED_INODES, Grower
from benchmarks.scale_rounds import Bench, Point
from benchmarks.scale_tables import scale_table, steps_table
from benchmarks.stand import machine
from netns.cluster import Cluster, Options
from netns.owner import Owner, reap
from netns.pycarpd import Settings

INODES: Final = (10_000, 100_000, 1_000_000, 3_000_000)
LINES: Final = (1_000_000, 10_000_000)
BESIDE: Final = 100_000
SPECULATE: Final = "speculate"


def scale(
    inodes: Annotated[list[int] | None, typer.Option(min=SEED_INODES, help="A size; give it several times.")] = None,
    lines: Annotated[list[int] | None, typer.Option(min=0, help="Changes behind a base; several times.")] = None,
    beside: Annotated[int, typer.Option(min=SEED_INODES, help="Inodes of the base that changes are behind.")] = BESIDE,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Promotions of each size.")] = 3,
    profile: Annotated[
        str, typer.Option(help="default, fast, or speculate: default and loading on suspicion.")
    ] = "default",
    limit_min: Annotated[float, typer.Option(min=1, help="Begin no further size after so many minutes.")] = 60,
    as_json: Raw = None,
) -> None:
    """Promote file systems of every size, and start a bare mfsmaster on the same files: and compare."""
    reap()
    points = points_of(inodes, lines, beside)
    raw = raw_path(as_json, "scale" if profile == "default" else f"scale-{profile}")
    records: list[dict[str, Any]] = [{"kind": "machine", **machine(), "profile": profile}]
    deadline = time.monotonic() + limit_min * 60
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Owner(handle_signals=True) as owner, bar as progress:
        task = progress.add_task("scale", total=rounds * len(points))
        settings = settings_of(profile)
        cluster = Cluster.build(owner, Options(chunkservers=0, settings=settings))
        grower, bench = Grower(cluster), Bench(cluster, owner)
        for point in points:
            if time.monotonic() > deadline:
                progress.console.print("no further size within the time limit", markup=False)
                break
            for each in bench.rounds(point, grower.image(point.inodes), rounds):
                records.append(asdict(each))
                write_records(raw, records)
                size = f"{each.inodes} inodes, {each.lines} changes, {each.number}"
                took = f"{each.served_ms:.0f} ms from the claim, {each.crash_ms:.0f} ms from the crash"
                progress.console.print(f"{size}: {took}, bare {each.bare_ms:.0f} ms", markup=False, highlight=False)
                progress.advance(task)
    console = Console(width=160)
    console.print(scale_table(records))
    console.print(steps_table(records))


def settings_of(profile: str) -> Settings:
    """Return what the hosts are configured with; "speculate" is the default profile that loads on suspicion."""
    if profile == SPECULATE:
        return Settings(arbiter="majority").with_line("speculate = true")
    return Settings(profile=profile, arbiter="majority")


def points_of(inodes: list[int] | None, lines: list[int] | None, beside: int) -> list[Point]:
    """Return the sizes in the order in which one file system can grow into them; all of them where none is named."""
    if not inodes and not lines:
        inodes, lines = list(INODES), list(LINES)
    points = {Point(each, 0) for each in inodes or ()} | {Point(beside, each) for each in lines or ()}
    return sorted(points, key=lambda point: (point.inodes, point.lines))
