"""Promotions of every size as a table and as a picture: beside a bare start of mfsmaster, by inodes and by changes."""

import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from rich.table import Table

from benchmarks.picture import Drawing
from benchmarks.summary import Spread

RATIO_WANTED: Final = 1.15
COUNTS_FROM_INODES: Final = 90_000
"""A file system that is to have 100 000 inodes comes out some per cent smaller: it grows by whole directories."""
_SERIES: Final = (
    ("crash_ms", "from the crash to the first answer", "#9aa5b1"),
    ("served_ms", "from the standby's claim to the first answer", "#5b8def"),
    ("bare_ms", "a bare mfsmaster -a start on the same files", "#f2a93b"),
)
_WIDTH: Final = 860
_HEIGHT: Final = 400
_TOP: Final = 70
_BOTTOM: Final = 300
_PANEL: Final = 330
_LEFTS: Final = (80, 490)
_STEPS_MS: Final = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_TICKS_MAX: Final = 8


def by_size(records: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Return the promotions of each size, by inodes and lines, in rising order."""
    promotions = [record for record in records if record["kind"] == "promotion"]
    sizes = sorted({(record["lines"], record["inodes"]) for record in promotions})
    return {
        (inodes, lines): [r for r in promotions if (r["inodes"], r["lines"]) == (inodes, lines)]
        for lines, inodes in sizes
    }


def scale_table(records: list[dict[str, Any]]) -> Table:
    """Return the sizes below each other, each with its medians and spreads."""
    conditions = records[0]
    table = Table(title=f"crash of the master to the first answer of the next; {conditions['processor']}")
    columns = ("inodes", "changes", "MB", "times", "bare start", "from the claim", "ratio", "from the crash", "ratio")
    for column in columns:
        table.add_column(column, justify="right")
    for (inodes, lines), found in by_size(records).items():
        cells = [_spread(found, name) for name in ("bare_ms", "served_ms", "crash_ms")]
        served, crash = (ratio(found, name) for name in ("served_ms", "crash_ms"))
        is_long = served > RATIO_WANTED and inodes >= COUNTS_FROM_INODES
        size = f"{found[0]['metadata_bytes'] / 1e6:.1f}"
        mark = " !" if is_long else ""
        row = (f"{inodes:,}", f"{lines:,}", size, str(len(found)), cells[0], cells[1], f"{served:.2f}{mark}", cells[2])
        table.add_row(*row, f"{crash:.2f}")
    return table


def ratio(found: list[dict[str, Any]], name: str) -> float:
    """Return the median of how many times a bare start each promotion took; each beside its own bare start."""
    return statistics.median(float(record[name]) / float(record["bare_ms"]) for record in found)


def _spread(found: list[dict[str, Any]], name: str) -> str:
    spread = Spread.of([float(record[name]) for record in found])
    return f"{spread.median:.0f} ms ({spread.low:.0f}-{spread.high:.0f})" if spread is not None else ""


def steps_table(records: list[dict[str, Any]]) -> Table:
    """Return what pycarpd's own steps took at each size, in its own words; the longest ones of each."""
    table = Table(title="the promotion's steps, median ms, those of 1 ms and more")
    for column in ("inodes", "changes", "steps"):
        table.add_column(column, justify="left" if column == "steps" else "right")
    for (inodes, lines), found in by_size(records).items():
        names = dict.fromkeys(name for record in found for name in record["steps_ms"])
        medians = {name: statistics.median(r["steps_ms"].get(name, 0) for r in found) for name in names}
        words = ", ".join(f"{name} {value:.0f}" for name, value in medians.items() if value >= 1)
        table.add_row(f"{inodes:,}", f"{lines:,}", words)
    return table


def scale_picture(records: list[dict[str, Any]]) -> str:
    """Return the medians as lines and each promotion as a dot: by inodes without changes, and by changes."""
    drawing = Drawing(_WIDTH, _HEIGHT, "How long a promotion takes, by the size of the file system")
    drawing.text(20, 28, "How long a promotion takes, by the size of the file system", size=16)
    drawing.text(20, 47, "lines: medians; dots: every single promotion", size=12, colour="#666")
    sizes = by_size(records)
    inodes = {size[0]: found for size, found in sizes.items() if size[1] == 0}
    beside = max((size[0] for size in sizes if size[1]), default=0)
    changes = {size[1]: found for size, found in sizes.items() if size[0] == beside}
    _panel(drawing, _LEFTS[0], "inodes, no changes since the base was saved", inodes)
    _panel(drawing, _LEFTS[1], f"changes behind the base, {beside:,} inodes", changes)
    x = 20.0
    for _name, words, colour in _SERIES:
        drawing.box(x, _HEIGHT - 32, 12, 12, colour)
        drawing.text(x + 17, _HEIGHT - 22, words, size=11, colour="#444")
        x += 34 + 5.8 * len(words)
    return drawing.svg()


def _panel(drawing: Drawing, left: float, title: str, found: dict[int, list[dict[str, Any]]]) -> None:
    """Draw one set of axes; the sizes stand side by side, a decade or so from each other."""
    drawing.text(left, _TOP - 4, title, size=12, colour="#444")
    if not found:
        return
    highest = max(float(r[name]) for each in found.values() for r in each for name, _, _ in _SERIES)
    step = next((s for s in _STEPS_MS if highest / s <= _TICKS_MAX), _STEPS_MS[-1])
    end_ms = step * math.ceil(highest / step)
    places = {size: left + _PANEL * (at + 0.5) / len(found) for at, size in enumerate(sorted(found))}

    def y(value_ms: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP - 12) * value_ms / end_ms

    for tick in range(0, end_ms + 1, step):
        drawing.line(left, y(tick), left + _PANEL, y(tick))
        drawing.text(left - 6, y(tick) + 4, f"{tick / 1000:g} s", size=11, anchor="end", colour="#666")
    for size, x in places.items():
        drawing.text(x, _BOTTOM + 18, f"{size:,}", size=11, anchor="middle", colour="#666")
    for name, _words, colour in _SERIES:
        _series(drawing, [(places[size], [float(r[name]) for r in found[size]]) for size in sorted(found)], y, colour)


def _series(
    drawing: Drawing, values: list[tuple[float, list[float]]], y: Callable[[float], float], colour: str
) -> None:
    medians = [(x, y(statistics.median(each))) for x, each in values]
    for (x1, y1), (x2, y2) in pairwise(medians):
        drawing.line(x1, y1, x2, y2, colour)
    for x, each in values:
        for value in each:
            drawing.dot(x, y(value), colour)
