"""The command ``all``: what the README tells of, one measurement after the other, each bounded."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.election import election
from benchmarks.hotpath_command import hotpath
from benchmarks.report import report
from benchmarks.results import RESULTS
from benchmarks.scale import BESIDE, scale
from benchmarks.takeover_command import takeover

_ELECTIONS = "pycarpd-fast,keepalived-fast"


def everything(
    crashes: Annotated[int, typer.Option(min=1, max=200, help="Crashes of each contender.")] = 5,
    limit_min: Annotated[float, typer.Option(min=1, help="Bound of each of the longer measurements.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the moments of the crashes.")] = 1,
    directory: Annotated[Path, typer.Option(help="Where the raw figures go.")] = RESULTS,
) -> None:
    """Measure hot path, election, takeover (with one client and with two) and scale, then draw the pictures."""
    hotpath(rounds=200, live=60, as_json=directory / "hotpath.jsonl")
    election(crashes, _ELECTIONS, limit_min, seed, directory / "election.jsonl")
    takeover(crashes, "", 1, 1, limit_min, seed, directory / "takeover-1c1cs.jsonl")
    takeover(crashes, "pycarpd,pycarpd-fast,ucarp", 2, 3, limit_min, seed, directory / "takeover-2c3cs.jsonl")
    scale(None, None, BESIDE, 3, "default", limit_min, directory / "scale.jsonl")
    report(readme=False, raw=directory / "takeover-1c1cs.jsonl", scale_raw=directory / "scale.jsonl")
