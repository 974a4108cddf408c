"""The command ``all``: what the README tells of, one measurement after the other, each bounded."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.election import election
from benchmarks.hotpath_command import hotpath
from benchmarks.jitter import INTERVAL_MS
from benchmarks.lease_commands import jitter
from benchmarks.report import report
from benchmarks.results import RESULTS
from benchmarks.scale import BESIDE, SPECULATE, scale
from benchmarks.switchover import switchover
from benchmarks.takeover_command import takeover
from netns.commands import LaboratoryError

_ELECTIONS: Final = "pycarpd-fast,keepalived-fast"
_JITTER_MIN: Final = 10
_HOGS: Final = 4


def everything(
    crashes: Annotated[int, typer.Option(min=1, max=200, help="Crashes of each contender, and switchovers.")] = 5,
    limit_min: Annotated[float, typer.Option(min=1, help="Bound of each of the longer measurements.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the moments of the crashes.")] = 1,
    directory: Annotated[Path, typer.Option(help="Where the raw figures go.")] = RESULTS,
) -> None:
    """Measure hot path, election, takeover (with one client and with two), switchover, jitter, scale; draw pictures."""
    one, two = directory / "takeover-1c1cs.jsonl", directory / "takeover-2c3cs.jsonl"
    one.unlink(missing_ok=True)  # what is reported in the end was measured here
    are_good = [
        _is_good(partial(hotpath, 200, 60, directory / "hotpath.jsonl")),
        _is_good(partial(election, crashes, _ELECTIONS, limit_min, seed, directory / "election.jsonl")),
        _is_good(partial(takeover, crashes, "", 1, 1, limit_min, seed, one)),
        _is_good(partial(takeover, crashes, "pycarpd,pycarpd-fast,ucarp", 2, 3, limit_min, seed, two)),
        _is_good(partial(switchover, crashes, 1, 1, "default", True, limit_min, directory / "switchover.jsonl")),
        *(_is_good(partial(jitter, _JITTER_MIN, p, _HOGS, directory / f"jitter-{p}.jsonl")) for p in INTERVAL_MS),
        _is_good(partial(scale, None, None, BESIDE, 3, "default", limit_min, directory / "scale.jsonl")),
        _is_good(partial(scale, [BESIDE], None, BESIDE, 3, SPECULATE, limit_min, directory / "scale-speculate.jsonl")),
    ]
    are_good.append(_is_good(partial(report, False, one, directory / "scale.jsonl", directory)))
    raise typer.Exit(0 if all(are_good) else 1)


def _is_good(measurement: Callable[[], None]) -> bool:
    """Run one of them; False if it says that something was lost or broke off. The others follow all the same."""
    try:
        measurement()
    except typer.Exit as ended:
        return ended.exit_code == 0
    except LaboratoryError as fault:
        Console(stderr=True).print(f"not measured: {fault}", markup=False)
        return False
    return True
