"""One takeover as a picture that needs no text beside it: who does what, from the crash to the next write.

Drawn from a real crash among the raw figures, the one whose outage was the median of its contender's.
"""

import statistics
from typing import Any, Final

from benchmarks.picture import Drawing

_WIDTH: Final = 860
_LEFT: Final = 150
_RIGHT: Final = 30
_LANE: Final = 58
_TOP: Final = 100
_LABEL: Final = 84
"""Room that a moment's name needs; one that comes too close to the last is written a line further out."""
_LANES: Final = ("client", "m1, the master", "m2, standby", "chunkserver")
_PHASES: Final = (
    "first claiming advert",
    "first gratuitous ARP",
    "first SYN+ACK on 9420",
    "first SYN+ACK on 9421",
    "first completed write",
)
_RED, _BLUE, _ORANGE, _GREEN, _GREY = "#d64545", "#5b8def", "#f2a93b", "#3fa66a", "#c3cad3"


def median_crash(records: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Return the crash of that contender whose next write came after the median time."""
    crashes = [r for r in records if r["kind"] == "crash" and r["contender"] == name and r["written_ms"] is not None]
    crashes = [r for r in crashes if all(r["phases_ms"].get(phase) is not None for phase in _PHASES)]
    if not crashes:
        return None
    median = statistics.median_low(float(r["written_ms"]) for r in crashes)
    return next(r for r in crashes if float(r["written_ms"]) == median)


def story_picture(crash: dict[str, Any]) -> str:
    """Return the picture of one crash."""
    phases = {name: float(at) for name, at in crash["phases_ms"].items()}
    claim, garp, loaded, open_ms, written = (phases[phase] for phase in _PHASES)
    before = written * 0.16
    scale = (_WIDTH - _LEFT - _RIGHT) / (written * 1.12 + before)

    def x(at_ms: float) -> float:
        return _LEFT + (at_ms + before) * scale

    drawing = Drawing(_WIDTH, _TOP + _LANE * len(_LANES) + 66, "One takeover")
    drawing.text(
        20, 30, f"The master's host dies; {written / 1000:.2f} s later the client's next file is on disk", size=16
    )
    rows = {lane: _TOP + number * _LANE for number, lane in enumerate(_LANES)}
    for lane, y in rows.items():
        drawing.text(20, y + 20, lane.replace("m2", str(crash["new_owner"])))
    _bars(drawing, rows, x, (-before, claim, garp, loaded, open_ms, written))
    bottom = _TOP + _LANE * len(_LANES)
    standby_marks = ((claim, "noticed", _BLUE), (garp, "address moves", _BLUE), (open_ms, "open again", _ORANGE))
    marks = ((0.0, "crash", _RED), *standby_marks, (written, "written", _GREEN))
    for (at, words, colour), line in zip(marks, _lines([x(at) for at, _, _ in marks]), strict=True):
        drawing.line(x(at), _TOP - 14 - 16 * line, x(at), bottom - 12 + 16 * line, colour, "3 3")
        drawing.text(x(at), _TOP - 20 - 16 * line, words, size=12, anchor="middle", colour=colour)
        drawing.text(x(at), bottom + 8 + 16 * line, f"{at:.0f} ms", size=12, anchor="middle", colour=colour)
    drawing.text(20, bottom + 52, "measured on the wire and at the client, on a real MooseFS", size=11, colour="#777")
    return drawing.svg()


def _lines(positions: list[float]) -> list[int]:
    """Return for each name's middle, from left to right, the line that has room for it, nearest to the bars first."""
    taken: list[float] = []
    lines = []
    for position in positions:
        line = next((n for n, last in enumerate(taken) if position - last >= _LABEL), len(taken))
        taken[line : line + 1] = [position]
        lines.append(line)
    return lines


def _bars(drawing: Drawing, rows: dict[str, int], x: Any, moments: tuple[float, ...]) -> None:
    begin, claim, garp, loaded, open_ms, written = moments
    end = written * 1.12
    client, master, standby, chunkserver = (rows[lane] for lane in _LANES)
    bars = (
        (client, begin, 0, _GREEN, "writes"),
        (client, 0, written, _GREY, "waits"),
        (client, written, end, _GREEN, "writes"),
        (master, begin, 0, _GREEN, "serves"),
        (standby, begin, claim, _GREY, "listens"),
        (standby, claim, garp, _BLUE, ""),
        (standby, garp, loaded, _ORANGE, "loads the files"),
        (standby, loaded, open_ms, _GREY, "lets it register"),
        (standby, open_ms, end, _GREEN, "serves"),
        (chunkserver, begin, 0, _GREEN, "connected"),
        (chunkserver, 0, loaded, _GREY, "waits"),
        (chunkserver, loaded, open_ms, _ORANGE, "registers"),
        (chunkserver, open_ms, end, _GREEN, "connected"),
    )
    for y, start, stop, colour, words in bars:
        drawing.box(x(start), y + 4, x(stop) - x(start), 26, colour, words)
        if words and x(stop) - x(start) > 6.6 * len(words):
            middle = (x(start) + x(stop)) / 2
            drawing.text(middle, y + 21, words, size=12, anchor="middle", colour="#222" if colour == _GREY else "#fff")
