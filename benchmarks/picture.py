"""Pictures of raw figures, as plain SVG: the phases of a takeover for each contender, and how single crashes spread.

Light and dark readers see the same: text and lines are drawn on a card of their own.
"""

import math
import statistics
from collections.abc import Iterable
from html import escape
from typing import Any, Final

from benchmarks.contenders import CONTENDERS
from benchmarks.summary import crashes_of, or_never

WIDTH: Final = 860
_LEFT: Final = 270
_RIGHT: Final = 40
_ROW: Final = 54
_TOP: Final = 64
_TICKS_MAX: Final = 12
_TICK_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_PHASES: Final = (
    ("first claiming advert", "until the loss is noticed", "#9aa5b1"),
    ("first gratuitous ARP", "until the address moves", "#5b8def"),
    ("first SYN+ACK on 9421", "until clients are let in", "#f2a93b"),
    ("first completed write", "until the next file is on disk", "#3fa66a"),
)
_STYLE: Final = "font-family:system-ui,sans-serif"


class Drawing:
    """Shapes on a white card."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = (width, height)
        self._title = title
        self._parts: list[str] = []

    def text(
        self, x: float, y: float, words: str, *, size: int = 13, anchor: str = "start", colour: str = "#222"
    ) -> None:
        """Write words."""
        where = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        self._parts.append(f'<text {where} fill="{colour}">{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, colour: str, hint: str = "") -> None:
        """Draw a filled box, with words that appear over it."""
        tip = f"<title>{escape(hint)}</title>" if hint else ""
        size = f'width="{max(width, 0.5):.1f}" height="{height:.1f}"'
        self._parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} rx="2" fill="{colour}">{tip}</rect>')

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = "#ccc", dash: str = "") -> None:
        """Draw a line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self._parts.append(f'<line {ends} stroke="{colour}"{dashed}/>')

    def dot(self, x: float, y: float, colour: str, radius: float = 3.2) -> None:
        """Draw a dot."""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.75"/>')

    def svg(self) -> str:
        """Return the picture."""
        width, height = self._size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="{_STYLE}" role="img">'
        card = f'<rect width="{width}" height="{height}" rx="8" fill="#fff"/>'
        return "\n".join((head, f"<title>{escape(self._title)}</title>", card, *self._parts, "</svg>\n"))


def phases_picture(records: list[dict[str, Any]]) -> str:
    """Return the contenders' takeovers one below the other: median phases as bars, each crash's write as a dot."""
    rows = [(entry.title, crashes_of(records, entry.name)) for entry in CONTENDERS]
    rows = [(title, crashes) for title, crashes in rows if crashes]
    longest = max(float(c["written_ms"]) for _title, crashes in rows for c in crashes if c["written_ms"] is not None)
    end_ms = _round_up(longest)
    drawing = Drawing(WIDTH, _TOP + _ROW * len(rows) + 70, "From the crash of the master's host to the next write")
    drawing.text(20, 28, "From the crash of the master's host to a client's next completed write", size=16)
    drawing.text(20, 47, "bars: median of each phase; dots: every single crash", size=12, colour="#666")
    scale = (WIDTH - _LEFT - _RIGHT) / end_ms
    bottom = _TOP + _ROW * len(rows)
    for tick in ticks(end_ms):
        x = _LEFT + tick * scale
        drawing.line(x, _TOP, x, bottom)
        drawing.text(x, bottom + 16, f"{tick / 1000:g} s", size=11, anchor="middle", colour="#666")
    for number, (title, crashes) in enumerate(rows):
        _row(drawing, _TOP + number * _ROW, title, crashes, scale)
    _legend(drawing, bottom + 44)
    return drawing.svg()


def _row(drawing: Drawing, y: float, title: str, crashes: list[dict[str, Any]], scale: float) -> None:
    median = statistics.median(or_never(c["written_ms"]) for c in crashes)
    never = sum(c["written_ms"] is None for c in crashes)
    words = f"{median:.0f} ms" if math.isfinite(median) else "never"
    name, _, rest = title.partition(" (")
    drawing.text(20, y + 20, name + (", " + rest.partition(")")[0] if rest else ""), size=13)
    drawing.text(20, y + 37, words + rest.partition(")")[2] + f", {never} never" * bool(never), size=12, colour="#666")
    reached = 0.0
    for phase, words, colour in _PHASES:
        at = _median_phase(crashes, phase)
        if at is not None and at > reached:
            drawing.box(_LEFT + reached * scale, y + 10, (at - reached) * scale, 16, colour, f"{words}: {at:.0f} ms")
            reached = at
    for crash in (c for c in crashes if c["written_ms"] is not None):
        drawing.dot(_LEFT + float(crash["written_ms"]) * scale, y + 36, "#3fa66a")


def _median_phase(crashes: list[dict[str, Any]], phase: str) -> float | None:
    median = statistics.median(or_never(c["phases_ms"].get(phase)) for c in crashes)
    return median if math.isfinite(median) else None


def _legend(drawing: Drawing, y: float) -> None:
    x = 20.0
    for _phase, words, colour in _PHASES:
        drawing.box(x, y - 10, 12, 12, colour)
        drawing.text(x + 17, y, words, size=11, colour="#444")
        x += 32 + 6.1 * len(words)


def _round_up(longest_ms: float) -> float:
    for step in (1000, 2000, 5000):
        if longest_ms <= step * 10:
            return step * -(-longest_ms // step)
    return longest_ms


def ticks(end: float) -> Iterable[float]:
    """Return the round values from 0 to *end* that an axis says: a dozen at most."""
    step = next(s for s in _TICK_STEPS if end / s <= _TICKS_MAX)
    return (step * n for n in range(int(end // step) + 1))
