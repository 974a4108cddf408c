"""Medians, spread and worst cases of raw figures, as tables for a terminal and for the README."""

import math
import statistics
from dataclasses import dataclass
from typing import Any, Final, Self

from rich.table import Table

from benchmarks.contenders import CONTENDERS

_COLUMNS: Final = (
    *("crashes", "first GARP", "next write", "every client's"),
    *("not within time", "two mfsmasters", "client errors", "turns without a crash"),
)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle, the middle half's ends and the worst of some milliseconds; what never came is infinite."""

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
        return cls(len(ordered), statistics.median(ordered), _at(ordered, 0.25), _at(ordered, 0.75), ordered[-1])

    @property
    def text(self) -> str:
        """Return it as "median (quarter to quarter; worst)"."""
        low, high, worst = (_words(each) for each in (self.low, self.high, self.worst))
        return f"{in_ms(self.median)} ({low}-{high}; worst {worst})"


def _words(value_ms: float) -> str:
    return f"{value_ms:.0f}" if math.isfinite(value_ms) else "never"


def in_ms(value_ms: float) -> str:
    """Return it in words, "never" for what never came."""
    return _words(value_ms) + " ms" * math.isfinite(value_ms)


def _at(ordered: list[float], share: float) -> float:
    """Return what that share of the values does not exceed, between two values in proportion."""
    place = share * (len(ordered) - 1)
    low, part = int(place), place - int(place)
    if not part or math.isinf(ordered[low]):
        return ordered[low]
    return ordered[low] + part * (ordered[low + 1] - ordered[low])


def or_never(value_ms: float | None) -> float:
    """Return the value, infinity for what was not seen within the time that was given."""
    return math.inf if value_ms is None else float(value_ms)


def turns_of(records: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return a contender's turns, whether or not its master could be crashed."""
    return [r for r in records if r["kind"] == "crash" and r["contender"] == name]


def crashes_of(records: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return a contender's crashes, without the turns in which none was come to because m1 did not serve before."""
    return [r for r in turns_of(records, name) if r.get("was_crashed", True)]


def of_contender(records: list[dict[str, Any]], name: str, figure: str) -> tuple[Spread | None, int]:
    """Return a contender's spread of one figure, and how many of its crashes did not get so far."""
    values = [or_never(r[figure]) for r in crashes_of(records, name)]
    return Spread.of(values), sum(math.isinf(value) for value in values)


def takeover_table(records: list[dict[str, Any]]) -> Table:
    """Return the contenders side by side."""
    conditions = records[0]
    table = Table(title=f"from the crash; {conditions['processor']}, {conditions['cores']} cores")
    table.add_column("contender")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for entry in CONTENDERS:
        mine, turns = crashes_of(records, entry.name), turns_of(records, entry.name)
        if not turns:
            continue
        cells = [of_contender(records, entry.name, figure) for figure in ("garp_ms", "written_ms", "all_written_ms")]
        split = sum(r["serving"] > 1 for r in mine)
        texts = [spread.text if spread else "none" for spread, _missing in cells]
        errors = sum(r.get("errors", 0) for r in mine)
        counts = (cells[2][1], split, errors, len(turns) - len(mine))
        table.add_row(entry.title, str(len(mine)), *texts, *map(str, counts))
    return table
