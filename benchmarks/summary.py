"""Medians, spread and worst cases of raw figures, as tables for a terminal and for the README."""

import statistics
from dataclasses import dataclass
from typing import Any, Final, Self

from rich.table import Table

from benchmarks.contenders import CONTENDERS

FIGURES: Final = (("garp_ms", "first gratuitous ARP"), ("written_ms", "next completed write"))


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle, the middle half's ends and the worst of some milliseconds."""

    count: int
    median: float
    low: float
    high: float
    worst: float

    @classmethod
    def of(cls, values: list[float]) -> Self | None:
        """Return the spread, None of nothing."""
        if not values:
            return None
        ordered = sorted(values)
        quarters = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
        return cls(len(ordered), statistics.median(ordered), quarters[0], quarters[2], ordered[-1])

    @property
    def text(self) -> str:
        """Return it as "median (quarter to quarter; worst)"."""
        return f"{self.median:.0f} ms ({self.low:.0f}-{self.high:.0f}; worst {self.worst:.0f})"


def crashes_of(records: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return a contender's crashes, without the turns in which none was come to because m1 did not serve before."""
    mine = (r for r in records if r["kind"] == "crash" and r["contender"] == name)
    return [r for r in mine if r.get("phases_ms", True) or not r["trouble"]]


def of_contender(records: list[dict[str, Any]], name: str, figure: str) -> tuple[Spread | None, int]:
    """Return a contender's spread of one figure, and how many of its crashes did not get so far."""
    mine = crashes_of(records, name)
    values = [float(r[figure]) for r in mine if r[figure] is not None]
    return Spread.of(values), len(mine) - len(values)


def takeover_table(records: list[dict[str, Any]]) -> Table:
    """Return the contenders side by side."""
    conditions = records[0]
    table = Table(title=f"from the crash; {conditions['processor']}, {conditions['cores']} cores")
    table.add_column("contender")
    for heading in ("crashes", "first GARP", "next write", "every client's", "not within time", "two mfsmasters"):
        table.add_column(heading, justify="right")
    for entry in CONTENDERS:
        mine = crashes_of(records, entry.name)
        if not mine:
            continue
        cells = [of_contender(records, entry.name, figure) for figure in ("garp_ms", "written_ms", "all_written_ms")]
        split = sum(r["serving"] > 1 for r in mine)
        texts = [spread.text if spread else "none" for spread, _missing in cells]
        table.add_row(entry.title, str(len(mine)), *texts, str(cells[2][1]), str(split))
    return table
