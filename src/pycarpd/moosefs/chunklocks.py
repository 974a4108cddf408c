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
from dataclasses import dataclass
from pathlib import Path

LOCK_TIMEOUT_S = 120
LOCKS_MAX = 4096
"""More than a master that lets clients write has at a time; the newest are returned."""
_SCAN_BYTES_MAX = 16 * 1024 * 1024
"""Two minutes of two thousand changes a second. Read in some 0.2 s."""
_LINE = re.compile(
    rb"^[0-9]{1,20}: ([0-9]{1,10})\|(?:(?:WRITE|TRUNC)\(([0-9]{1,10}),([0-9]{1,10})[0-9,]*\):([0-9]{1,20})"
    rb"|UNLOCK\(([0-9]{1,20})\)|ROLLBACK\([0-9]+,[0-9]+,[0-9]+,([0-9]{1,20})\)|CHUNKDEL\(([0-9]{1,20}),[0-9]+\))$",
    re.MULTILINE,
)
_TIME = re.compile(rb"^[0-9]{1,20}: ([0-9]{1,10})\|", re.MULTILINE)
_LAST_LINES_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ChunkLock:
    """A chunk that is locked, and what it is of: the part number ``index`` (of 64 MiB) of the file ``inode``."""

    inode: int
    index: int
    chunkid: int


def find_locks(changelog: Path) -> tuple[ChunkLock, ...]:
    """Return the chunks that are locked after the last line of *changelog*, the longest locked first.

    Locks that had run out by the time of its last line are left out. A missing file has none; raises OSError.
    """
    try:
        lines = _last_bytes(changelog)
    except FileNotFoundError:
        return ()
    locked: dict[int, tuple[int, ChunkLock]] = {}
    for match in _LINE.finditer(lines):
        at, inode, index, chunk, *gone = match.groups()
        for chunkid in (chunk, *gone):
            locked.pop(int(chunkid or 0), None)
        if chunk is not None:
            locked[int(chunk)] = int(at), ChunkLock(int(inode), int(index), int(chunk))
    times = _TIME.findall(lines, max(0, len(lines) - _LAST_LINES_BYTES))
    oldest = int(times[-1]) - LOCK_TIMEOUT_S if times else 0
    return tuple(lock for at, lock in locked.values() if at >= oldest)[-LOCKS_MAX:]


def _last_bytes(changelog: Path) -> bytes:
    """Return the end of the file, from the beginning of a line to the end of one."""
    with changelog.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = max(0, size - _SCAN_BYTES_MAX)
        block = os.pread(file.fileno(), size - start, start)
    begin = block.find(b"\n") + 1 if start else 0
    return block[begin : block.rfind(b"\n") + 1]
