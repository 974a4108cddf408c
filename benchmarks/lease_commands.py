"""The commands `fence` and `jitter`: what it costs to keep the lease, and whether it is kept on a busy machine."""

import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from benchmarks.fence import Closing, Cost, measure_closing, measure_cost
from benchmarks.jitter import BUCKETS_MS, INTERVAL_MS, Result, measure
from benchmarks.results import Raw, raw_path, write_records
from benchmarks.stand import machine
from netns.commands import LaboratoryError
from netns.owner import Owner, reap

COST_TARGET_US = 200
CLOSING_TARGET_MS = 10

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures there, a line each.")]


def fence(
    renewals: Annotated[int, typer.Option(min=100, max=100_000, help="Renewals to time.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often the process is stopped, and killed.")] = 10,
    as_json: JsonOption = None,
) -> None:
    """Measure what renewing the fence costs, without a fork, and how late it closes with Python stopped or killed."""
    reap()
    with Owner(handle_signals=True) as owner:
        cost = measure_cost(owner, renewals)
        numbers = (signal.SIGSTOP, signal.SIGKILL)
        closings = [measure_closing(owner, n, rounds) for n in track(numbers, "stopping", transient=True)]
    console = Console()
    console.print(_fence_table(cost, closings))
    if as_json is not None:
        write_records(as_json, [{"what": "cost"} | asdict(cost), *({"what": "closing"} | asdict(c) for c in closings)])
    is_good = cost.median_us < COST_TARGET_US and all(max(c.late_ms) < CLOSING_TARGET_MS for c in closings)
    raise typer.Exit(0 if is_good else 1)


def jitter(
    minutes: Annotated[float, typer.Option(min=0.1, max=120, help="How long.")] = 10,
    profile: Annotated[str, typer.Option(help="default or fast.")] = "default",
    hogs: Annotated[int, typer.Option(min=0, max=64, help="Busy loops that run all the while.")] = 4,
    as_json: Raw = None,
) -> None:
    """Count false takeovers of pycarpd and keepalived, side by side on a busy machine at the same interval."""
    if profile not in INTERVAL_MS:
        raise typer.BadParameter(f"{profile!r} is none of {', '.join(INTERVAL_MS)}")
    reap()
    seconds = minutes * 60
    results: tuple[Result, ...] = ()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, transient=True) as progress:
            bar = progress.add_task(f"{hogs} busy loops", total=seconds)
            for moment in measure(profile, seconds, hogs):
                progress.update(bar, completed=moment.elapsed_s)
                results = moment.results
    except LaboratoryError as error:
        raise typer.Exit(_failed(str(error))) from None
    Console().print(_counts_table(results), _lateness_table(results))
    conditions: dict[str, Any] = {"kind": "machine", **machine()}
    write_records(raw_path(as_json, f"jitter-{profile}"), [conditions, *map(asdict, results)])
    raise typer.Exit(1 if any(r.who == "pycarpd" and r.takeovers for r in results) else 0)


def _failed(text: str) -> int:
    Console(stderr=True).print(text, markup=False)
    return 1


def _fence_table(cost: Cost, closings: list[Closing]) -> Table:
    table = Table(title="the fence")
    for column in ("what", "median", "worst", "wanted", "times"):
        table.add_column(column, justify="left" if column == "what" else "right")
    figures = (f"{cost.median_us:.0f} us", f"{cost.worst_us:.0f} us", f"< {COST_TARGET_US} us", str(cost.renewals))
    table.add_row("one renewal, no process made", *figures)
    for each in closings:
        late = sorted(each.late_ms)
        middle = late[len(late) // 2]
        wanted = f"< {CLOSING_TARGET_MS} ms"
        row = (f"{middle:+.1f} ms", f"{late[-1]:+.1f} ms", wanted, str(len(late)))
        table.add_row(f"closed after the lease's end, {each.how}", *row)
    return table


def _counts_table(results: tuple[Result, ...]) -> Table:
    first = results[0]
    title = f"{first.seconds:g} s, {first.interval_ms} ms adverts, {first.hogs} busy loops"
    table = Table(title=title)
    for column in ("who", "false takeovers", "interruptions", "two had the VIP", "adverts", "latest advert"):
        table.add_column(column, justify="left" if column == "who" else "right")
    for r in results:
        counts = (str(r.takeovers), str(r.interruptions), f"{r.two_ms:.0f} ms")
        table.add_row(r.who, *counts, str(r.adverts), f"{r.late_ms_max:.1f} ms")
    return table


def _lateness_table(results: tuple[Result, ...]) -> Table:
    table = Table(title="adverts by how much later than the interval they came")
    table.add_column("up to")
    for r in results:
        table.add_column(r.who, justify="right")
    bounds = [f"{bound:g} ms" for bound in BUCKETS_MS] + ["later"]
    for bound, counts in zip(bounds, zip(*(r.late_counts for r in results), strict=True), strict=True):
        table.add_row(bound, *map(str, counts))
    return table
