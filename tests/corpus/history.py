"""The recorded history: every change of a real file system from the first on, and real bases of some versions."""

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"
TRAP = 2497
BASES = (1200, 2000, TRAP, 3000, 4000, 4100, 4121)


@dataclass(frozen=True, slots=True)
class History:
    """``lines[n]`` is change number n + 1; ``bases`` are metadata files by version, the newest of them complete."""

    lines: tuple[bytes, ...]
    bases: dict[int, bytes]

    @property
    def last(self) -> int:
        """Return the number of the last change."""
        return len(self.lines)

    @property
    def metaid(self) -> int:
        """Return the file system's id."""
        return int.from_bytes(self.bases[BASES[0]][16:24])

    def line(self, number: int) -> bytes:
        """Return change *number*, with its newline."""
        return self.lines[number - 1]

    def log(self, first: int, last: int) -> bytes:
        """Return the changes *first* to *last* as a changelog."""
        return b"".join(self.lines[first - 1 : last])


@cache
def recorded() -> History:
    """Return the history that is checked in."""
    lines = gzip.decompress((RECORDED / "history.log.gz").read_bytes()).splitlines(keepends=True)
    bases = {
        int(path.name.split(".")[1]): gzip.decompress(path.read_bytes()) for path in RECORDED.glob("metadata.*.gz")
    }
    return History(tuple(lines), bases)
