"""The command ``./benchmarks/run``."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.hotpath import Figure, measure
from benchmarks.lease_commands import fence, jitter

app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.command()(fence)
app.command()(jitter)


@app.callback()
def main() -> None:
    """Measure pycarpd; each command is bounded in time and says on which machine it ran."""


@app.command()
def hotpath(
    rounds: Annotated[int, typer.Option(min=10, max=10_000, help="Batches of 200 adverts.")] = 200,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the figures there, a line each.")] = None,
) -> None:
    """Measure what one advert costs the heartbeat: verify, decode, decide, encode, sign."""
    figures = list(track(measure(rounds), "measuring", total=3, transient=True))
    Console().print(_table(figures))
    if as_json is not None:
        as_json.write_text("".join(json.dumps(asdict(f)) + "\n" for f in figures), encoding="utf-8")


def _table(figures: list[Figure]) -> Table:
    table = Table(title=f"microseconds for each advert, Python {platform.python_version()} on {platform.machine()}")
    for column, justify in (("what", "left"), ("median", "right"), ("p99", "right"), ("batches", "right")):
        table.add_column(column, justify="left" if justify == "left" else "right")
    for each in figures:
        table.add_row(each.name, f"{each.median_us:.1f}", f"{each.p99_us:.1f}", str(each.rounds))
    return table


if __name__ == "__main__":
    app()
