"""The command ``hotpath``."""

import platform
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import hotpath as hot
from benchmarks.election import TITLES, Room
from benchmarks.residence import Cost, measure
from benchmarks.results import Raw, write_records
from netns.owner import Owner, reap


def hotpath(
    rounds: Annotated[int, typer.Option(min=10, max=10_000, help="Batches of 200 adverts.")] = 200,
    live: Annotated[
        float, typer.Option(min=0, max=3600, help="Run three real nodes for so many seconds too, and keepalived's.")
    ] = 0,
    as_json: Raw = None,
) -> None:
    """Measure what one advert costs the heartbeat: verify, decode, decide, encode, sign."""
    figures = list(track(hot.measure(rounds), "measuring", total=3, transient=True))
    Console().print(_table(figures))
    costs: list[Cost] = []
    if live:
        reap()
        with Owner(handle_signals=True) as owner:
            costs = measure(Room(owner), live)
        Console().print(_cost_table(costs))
    if as_json is not None:
        write_records(as_json, [*map(asdict, figures), *map(asdict, costs)])


def _table(figures: list[hot.Figure]) -> Table:
    table = Table(title=f"microseconds for each advert, Python {platform.python_version()} on {platform.machine()}")
    table.add_column("what")
    for heading in ("median", "p99", "batches"):
        table.add_column(heading, justify="right")
    for each in figures:
        table.add_row(each.name, f"{each.median_us:.1f}", f"{each.p99_us:.1f}", str(each.rounds))
    return table


def _cost_table(costs: list[Cost]) -> Table:
    table = Table(title=f"the process that keeps time, three nodes, {costs[0].seconds:.0f} s")
    table.add_column("contender")
    for heading in ("node", "of a core", "resident", "growth"):
        table.add_column(heading, justify="right")
    for cost in costs:
        node = f"{cost.host}, {'master' if cost.is_master else 'standby'}"
        growth = f"{cost.late_mb - cost.early_mb:+.1f} MB"
        table.add_row(TITLES[cost.contender], node, f"{cost.percent:.2f} %", f"{cost.late_mb:.1f} MB", growth)
    return table
