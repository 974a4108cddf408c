"""Single figures as pictures: a dot for each, a line at the median; how late adverts came, as shares.

Dots lie in rows below each other, so that what is compared has one scale.
"""

import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from benchmarks.election import TITLES
from benchmarks.jitter import BUCKETS_MS, INTERVAL_MS
from benchmarks.picture import Drawing, ticks
from benchmarks.summary import crashes_of, or_never
from benchmarks.switchover import DONE

WIDTH: Final = 860
_LEFT: Final = 300
_RIGHT: Final = 40
_ROW: Final = 48
_TOP: Final = 70
_COLOURS: Final = ("#5b8def", "#f2a93b")
_STEP_SHOWN_MS: Final = 10
_SHARE_MIN: Final = 1e-5
_PLOT_HEIGHT: Final = 260

Records = list[dict[str, Any]]
Rows = list[tuple[str, list[float]]]


def election_picture(records: Records) -> str:
    """Return each crash's first gratuitous ARP, a row for each contender; one without any is as late as can be."""
    names = dict.fromkeys(r["contender"] for r in records if r["kind"] == "crash")
    rows = [(TITLES[name], [or_never(r["garp_ms"]) for r in crashes_of(records, name)]) for name in names]
    return spread_picture("From the crash of the address's holder to the next one's gratuitous ARP", rows, "ms")


def switchover_picture(records: Records) -> str:
    """Return each switchover's longest write gap, and below it the steps that it went into."""
    moves = [r for r in records if r["kind"] == "switchover" and r["code"] == DONE]
    steps = dict.fromkeys(name for move in moves for name, _ in move["steps_ms"])
    taken = {step: [float(ms) for move in moves for name, ms in move["steps_ms"] if name == step] for step in steps}
    rows = [("clients' longest write gap", [float(move["gap_ms"]) for move in moves])]
    rows += [(step, values) for step, values in taken.items() if statistics.median(values) >= _STEP_SHOWN_MS]
    return spread_picture("Planned switchovers under load, and the steps of both hosts", rows, "ms")


def hotpath_picture(records: Records) -> str:
    """Return each batch's mean for an advert, a row for each part of the hot path."""
    parts = [r for r in records if r["kind"] == "part"]
    rows = [(str(r["name"]), [float(sample) for sample in r["samples_us"]]) for r in parts]
    return spread_picture("What one advert costs the heartbeat, in batches of 200", rows, "us")


def jitter_picture(records: Records) -> str:
    """Return which share of the adverts came later than so many milliseconds after their time."""
    results = [r for r in records if "late_counts" in r]
    first = results[0]
    title = "How late adverts come on a busy machine"
    bottom = _TOP + _PLOT_HEIGHT
    drawing = Drawing(WIDTH, bottom + 76, title)
    drawing.text(20, 28, title, size=16)
    what = f"{first['interval_ms']} ms adverts, {first['seconds']:.0f} s, {first['hogs']} busy loops"
    drawing.text(20, 47, f"share of the adverts that came later than that after their time; {what}", size=12)
    step = (WIDTH - 100 - _RIGHT) / (len(BUCKETS_MS) - 1)

    def y(share: float) -> float:
        return _TOP + _PLOT_HEIGHT * math.log10(max(share, _SHARE_MIN)) / math.log10(_SHARE_MIN)

    for exponent in range(int(-math.log10(_SHARE_MIN)) + 1):
        share = 10.0**-exponent
        drawing.line(100, y(share), WIDTH - _RIGHT, y(share))
        drawing.text(92, y(share) + 4, f"{100 * share:g} %", size=11, anchor="end", colour="#666")
    for number, bound in enumerate(BUCKETS_MS):
        drawing.text(100 + number * step, bottom + 18, f"{bound:g} ms", size=11, anchor="middle", colour="#666")
    for row, (result, colour) in enumerate(zip(results, _COLOURS, strict=False)):
        counts = [int(count) for count in result["late_counts"]]
        later = [sum(counts[at + 1 :]) / max(1, sum(counts)) for at in range(len(BUCKETS_MS))]
        points = [(100 + at * step, y(share)) for at, share in enumerate(later) if share > 0]
        for (x1, y1), (x2, y2) in pairwise(points):
            drawing.line(x1, y1, x2, y2, colour)
        for x_at, y_at in points:
            drawing.dot(x_at, y_at, colour)
        said = f"{result['who']}: {result['takeovers']} false takeovers, latest {result['late_ms_max']:.1f} ms"
        drawing.box(100 + row * 360, bottom + 40, 12, 12, colour)
        drawing.text(117 + row * 360, bottom + 50, said, size=12, colour="#444")
    return drawing.svg()


def _spread_words(median: float, values: list[float], unit: str) -> str:
    never = sum(math.isinf(value) for value in values)
    worst = max((value for value in values if math.isfinite(value)), default=math.inf)
    words = f"median {median:.1f} {unit}, worst {worst:.1f}" if math.isfinite(median) else "median never"
    return f"{words}, {never} never" if never else words


def spread_picture(title: str, rows: Rows, unit: str) -> str:
    """Return the rows' figures as dots below each other, each with its median as a line and in words.

    What is infinite never came: it counts, and is told in words.
    """
    rows = [(name, values) for name, values in rows if values]
    bottom = _TOP + _ROW * len(rows)
    drawing = Drawing(WIDTH, bottom + 40, title)
    drawing.text(20, 28, title, size=16)
    drawing.text(20, 47, "dots: every single one; lines: medians", size=12, colour="#666")
    end = max((value for _, values in rows for value in values if math.isfinite(value)), default=1.0) * 1.05
    scale = (WIDTH - _LEFT - _RIGHT) / end
    for tick in ticks(end):
        x = _LEFT + tick * scale
        drawing.line(x, _TOP - 8, x, bottom)
        drawing.text(x, bottom + 16, f"{tick:g} {unit}", size=11, anchor="middle", colour="#666")
    for number, (name, values) in enumerate(rows):
        y, median = _TOP + number * _ROW, statistics.median(values)
        drawing.text(20, y + 14, name, size=13)
        seen = [value for value in values if math.isfinite(value)]
        drawing.text(20, y + 31, _spread_words(median, values, unit), size=12, colour="#666")
        for value in seen:
            drawing.dot(_LEFT + value * scale, y + 14, _COLOURS[0])
        if math.isfinite(median):
            drawing.line(_LEFT + median * scale, y, _LEFT + median * scale, y + 28, "#222")
    return drawing.svg()


DRAWN: Final[dict[str, Callable[[Records], str]]] = {
    "election": election_picture,
    "switchover": switchover_picture,
    "hotpath": hotpath_picture,
    **{f"jitter-{profile}": jitter_picture for profile in INTERVAL_MS},
}
"""The measurements whose raw figures and picture bear their name."""
