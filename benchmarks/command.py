"""The command ``./benchmarks/run``."""

import json
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, track
from rich.table import Table

from benchmarks import hotpath as hot
from benchmarks import takeover as crashes_of
from benchmarks.contenders import entries
from benchmarks.lease_commands import fence, jitter
from benchmarks.scan import scan
from benchmarks.stand import Stand, machine
from benchmarks.summary import takeover_table
from benchmarks.switchover import switchover
from netns.cluster import Options
from netns.owner import Owner, reap

RESULTS = Path(__file__).parent / "results"
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Raw = Annotated[Path | None, typer.Option("--json", help="Where the raw figures go, a JSON line each.")]
app.command()(fence)
app.command()(jitter)
app.command()(scan)
app.command()(switchover)


@app.callback()
def main() -> None:
    """Measure pycarpd; each command is bounded in time and says on which machine it ran."""


@app.command()
def hotpath(
    rounds: Annotated[int, typer.Option(min=10, max=10_000, help="Batches of 200 adverts.")] = 200,
    as_json: Raw = None,
) -> None:
    """Measure what one advert costs the heartbeat: verify, decode, decide, encode, sign."""
    figures = list(track(hot.measure(rounds), "measuring", total=3, transient=True))
    Console().print(_table(figures))
    if as_json is not None:
        as_json.write_text("".join(json.dumps(asdict(f)) + "\n" for f in figures), encoding="utf-8")


@app.command()
def takeover(
    crashes: Annotated[int, typer.Option(min=1, max=200, help="Crashes of each contender.")] = 5,
    contenders: Annotated[str, typer.Option(help="Some of them, by name, with commas; all by default.")] = "",
    clients: Annotated[int, typer.Option(min=1, max=9)] = 1,
    chunkservers: Annotated[int, typer.Option(min=1, max=9)] = 1,
    limit_min: Annotated[float, typer.Option(min=1, help="Begin no further round after so many minutes.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the moments of the crashes.")] = 1,
    as_json: Raw = None,
) -> None:
    """Crash the master's host under pycarpd, ucarp and keepalived in turn: how long until a client writes again?"""
    reap()
    chosen = entries(contenders)
    raw = as_json or RESULTS / f"takeover-{clients}c{chunkservers}cs.jsonl"
    conditions = {"kind": "machine", **machine(), "clients": clients, "chunkservers": chunkservers, "seed": seed}
    with Owner(handle_signals=True) as owner, _progress(crashes * len(chosen)) as progress:
        stand = Stand(owner, Options(hosts=3, clients=clients, chunkservers=chunkservers))
        task = progress.add_task("takeover", total=crashes * len(chosen))
        turns = crashes_of.run_turns(stand, chosen, crashes, seed, limit_min * 60)
        records = [conditions]
        for crash in turns:
            records.append(asdict(crash))
            _write(raw, records)
            told = crash.trouble.splitlines()[0] if crash.trouble else f"write after {crash.written_ms} ms"
            progress.console.print(f"{crash.contender} {crash.number}: {told}", markup=False, highlight=False)
            progress.advance(task)
    Console().print(takeover_table(records))


def _progress(_total: int) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


def _write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Replace a file of raw figures, so that an interrupted run leaves what it has found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    fresh.rename(path)


def _table(figures: list[hot.Figure]) -> Table:
    table = Table(title=f"microseconds for each advert, Python {platform.python_version()} on {platform.machine()}")
    for column, justify in (("what", "left"), ("median", "right"), ("p99", "right"), ("batches", "right")):
        table.add_column(column, justify="left" if justify == "left" else "right")
    for each in figures:
        table.add_row(each.name, f"{each.median_us:.1f}", f"{each.p99_us:.1f}", str(each.rounds))
    return table


if __name__ == "__main__":
    app()
