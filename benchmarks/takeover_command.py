"""The command ``takeover``."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.contenders import entries
from benchmarks.results import Raw, raw_path, write_records
from benchmarks.stand import Stand, machine
from benchmarks.summary import takeover_table
from benchmarks.takeover import run_turns
from netns.cluster import Options
from netns.owner import Owner, reap
from netns.pycarpd import Settings


def takeover(
    crashes: Annotated[int, typer.Option(min=1, max=200, help="Crashes of each contender.")] = 5,
    contenders: Annotated[str, typer.Option(help="Some of them, by name, with commas; all by default.")] = "",
    clients: Annotated[int, typer.Option(min=1, max=9)] = 1,
    chunkservers: Annotated[int, typer.Option(min=1, max=9)] = 1,
    limit_min: Annotated[float, typer.Option(min=1, help="Begin no further round after so many minutes.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the moments of the crashes.")] = 1,
    as_json: Raw = None,
) -> None:
    """Crash the master's host under each contender in turn, and see how long it is until a client writes again."""
    reap()
    chosen = entries(contenders)
    raw = raw_path(as_json, f"takeover-{clients}c{chunkservers}cs")
    records: list[dict[str, Any]] = []
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Owner(handle_signals=True) as owner, bar as progress:
        task = progress.add_task("takeover", total=crashes * len(chosen))
        options = Options(3, chunkservers, clients, settings=Settings(huge_pages=True))
        stand = Stand(owner, options)
        given = {"clients": clients, "chunkservers": chunkservers, "seed": seed}
        records.append({"kind": "machine", **machine(), **given})
        for crash in run_turns(stand, chosen, crashes, seed, limit_min * 60):
            records.append(asdict(crash))
            write_records(raw, records)
            told = crash.trouble.splitlines()[0] if crash.trouble else f"write after {crash.written_ms} ms"
            progress.console.print(f"{crash.contender} {crash.number}: {told}", markup=False, highlight=False)
            progress.advance(task)
    Console(width=160).print(takeover_table(records))
