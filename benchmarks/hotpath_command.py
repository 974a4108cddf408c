"""The command ``hotpath``."""

import platform
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import hotpath as hot
from benchmarks.election import TITLES, Room
from benchmarks.residence import FLOOR, Cost, measure, total_s
from benchmarks.results import Raw, raw_path, write_records
from benchmarks.stand import machine
from netns.owner import Owner, reap

_COLUMNS: Final = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
_TITLES: Final = TITLES | {FLOOR: "a Python loop, 10 ms: hears, verifies, says, no more"}


def hotpath(
    rounds: Annotated[int, typer.Option(min=10, max=10_000, help="Batches of 200 adverts.")] = 200,
    live: Annotated[
        float, typer.Option(min=0, max=3600, help="Run three real nodes for so many seconds too, and keepalived's.")
    ] = 0,
    as_json: Raw = None,
) -> None:
    """Measure what one advert costs the heartbeat: verify, decode, decide, encode, sign."""
    with Progress(*_COLUMNS, transient=True) as progress:
        bar = progress.add_task("batches", total=rounds)
        figures = hot.measure(rounds, lambda: progress.advance(bar))
    Console().print(_table(figures))
    costs = _live(live) if live else []
    conditions: dict[str, Any] = {"kind": "machine", **machine()}
    write_records(raw_path(as_json, "hotpath"), [conditions, *map(asdict, figures), *map(asdict, costs)])


def _live(seconds: float) -> list[Cost]:
    reap()
    with Owner(handle_signals=True) as owner, Progress(*_COLUMNS, transient=True) as progress:
        bar = progress.add_task("three nodes", total=total_s(seconds))
        costs = measure(Room(owner), seconds, lambda passed_s: progress.advance(bar, passed_s))
    Console().print(_cost_table(costs))
    return costs


def _table(figures: list[hot.Figure]) -> Table:
    where = f"Python {platform.python_version()} on {platform.machine()}"
    table = Table(title=f"microseconds for each advert, by the means of batches of {hot.BATCH}; {where}")
    table.add_column("what")
    for heading in ("median", "p99", "batches"):
        table.add_column(heading, justify="right")
    for each in figures:
        table.add_row(each.name, f"{each.median_us:.1f}", f"{each.p99_us:.1f}", str(each.rounds))
    return table


def _cost_table(costs: list[Cost]) -> Table:
    table = Table(title="the process that keeps time, three nodes")
    table.add_column("contender")
    for heading in ("node", "seconds", "of a core", "resident", "growth"):
        table.add_column(heading, justify="right")
    for cost in costs:
        share = f"{cost.percent:.2f} %"
        node = f"{cost.host}, {'master' if cost.is_master else 'standby'}"
        growth = f"{cost.late_mb - cost.early_mb:+.1f} MB"
        table.add_row(_TITLES[cost.contender], node, f"{cost.seconds:.0f}", share, f"{cost.late_mb:.1f} MB", growth)
    return table
