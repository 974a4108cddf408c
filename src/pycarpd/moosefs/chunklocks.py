"""Which chunks a changelog leaves locked: somebody was about to write to them when its last line was written.

mfsmaster locks a chunk before it lets a client write to it, for two minutes (LOCKTIMEOUT), and unlocks it when that
client says that it is done. Both are in the changelog (MooseFS 3.0.117 and 4.59 filesystem.c):

    WRITE(inode,index,operation,flags):chunk     TRUNC(inode,index[,flags]):chunk      locked from now on
    UNLOCK(chunk)     ROLLBACK(inode,index,former,chunk)     CHUNKDEL(chunk,version)     unlocked, or gone

So a restored mfsmaster has the locks that its predecessor had. A lock has no owner: neither the changelog nor
mfsmaster itself knows for which client it is.
"""

import os
import re
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

WINDOW_S = 30
"""Only locks of the last so many seconds count. A client writes for half a minute at most before it says
that it is done or asks again (writedata.c), and one that asked in vain had asked just before the end: for an older
lock nobody waits but other clients, as ever."""
LOCKS_MAX = 4096
"""More than a master that lets clients write has at a time; the newest are returned."""
_SCAN_BYTES_MAX = 4 * 1024 * 1024
"""Half a minute of three thousand changes a second; read in some 60 ms."""
_LINE = re.compile(
    rb"^[0-9]{1,20}: [0-9]{1,10}\|(?:(?:WRITE|TRUNC)\(([0-9]{1,10}),([0-9]{1,10})[0-9,]*\):([0-9]{1,20})"
    rb"|UNLOCK\(([0-9]{1,20})\)|ROLLBACK\([0-9]+,[0-9]+,[0-9]+,([0-9]{1,20})\)|CHUNKDEL\(([0-9]{1,20}),[0-9]+\))$",
    re.MULTILINE,
)
_HEAD = re.compile(rb"([0-9]{1,20}): ([0-9]{1,10})\|")


@dataclass(frozen=True, slots=True)
class ChunkLock:
    """A chunk that is locked, and what it is of: the part number ``index`` (of 64 MiB) of the file ``inode``."""

    inode: int
    index: int
    chunkid: int


def find_locks(changelog: Path, version: int | None = None) -> tuple[ChunkLock, ...]:
    """Return the chunks that are locked after the last line of *changelog*, the longest locked first.

    Locks from before the window are left out. It ends with the last line, or where a mfsmaster has begun at *version*
    and written on: with the line before that. A missing file has no locks; raises OSError.
    """
    try:
        lines = _last_lines(changelog, version)
    except FileNotFoundError:
        return ()
    locked: dict[int, ChunkLock] = {}
    for match in _LINE.finditer(b"\n".join(lines)):
        inode, index, chunk, *gone = match.groups()
        for chunkid in (chunk, *gone):
            locked.pop(int(chunkid or 0), None)
        if chunk is not None:
            locked[int(chunk)] = ChunkLock(int(inode), int(index), int(chunk))
    return tuple(locked.values())[-LOCKS_MAX:]


def _last_lines(changelog: Path, version: int | None) -> list[bytes]:
    """Return the whole lines of the window: times only rise, unless somebody sets the clock."""
    with changelog.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = max(0, size - _SCAN_BYTES_MAX)
        lines = os.pread(file.fileno(), size - start, start).split(b"\n")
    # Before the first newline of a part is half a line, behind the last one a torn one.
    lines = lines[bool(start) : -1]
    end = len(lines) if version is None else bisect_left(lines, version, key=_number_of)
    return lines[bisect_left(lines, _time_of(lines[end - 1]) - WINDOW_S, 0, end, key=_time_of) :] if end else []


def _number_of(line: bytes) -> int:
    """Return a line's number; 0 for one that has none."""
    match = _HEAD.match(line)
    return int(match[1]) if match else 0


def _time_of(line: bytes) -> int:
    """Return a line's time; 0 for one that has none."""
    match = _HEAD.match(line)
    return int(match[2]) if match else 0
