"""Keeping archives and preserved copies within bounds.

An entry's name begins with the UTC time of its making (see label()), which is what its age is taken from.
Entries beyond the number to keep go, oldest first, once they are a week old: chunkservers forget chunks
that the metadata does not name after seven days (UNUSED_DELETE_TIMEOUT, MooseFS 1.6 to 4.59), so until then
an older file system can still be brought back. Only the hard bound in bytes deletes younger ones, and of the preserved
copies (which repeat what the archive has) a disk that fills up; never the newest.
"""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pycarpd.takeover.datafiles import Kept
from pycarpd.takeover.step import StepFault

KEEP_AGE_S = 7 * 86_400
_STAMP = "%Y%m%dT%H%M%S"
_STAMP_LENGTH = len("20260101T000000")
_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_FREE_SHARE = 20
"""Preserved copies give way when less than a twentieth of the disk is free."""


@dataclass(frozen=True, slots=True)
class KeepBounds:
    """How much is kept of archives and of preserved copies, each."""

    count: int = 10
    bytes_max: int = 64 << 30


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    made_s: int
    size_bytes: int


def label(realtime_ns: int, term: int) -> str:
    """Return the name of an archive or preserved copy: UTC time to the millisecond, then the term."""
    moment = datetime.fromtimestamp(realtime_ns // _NS_PER_S, UTC)
    milliseconds = realtime_ns % _NS_PER_S // _NS_PER_MS
    return f"{moment.strftime(_STAMP)}.{milliseconds:03}Z-term{term}"


def prune(data_path: Path, bounds: KeepBounds, now_realtime_ns: int) -> StepFault | None:
    """Delete what is beyond the bounds; faults: PRUNE_FAILED."""
    kept = Kept(data_path)
    try:
        for parent in (kept.archive, kept.preserved):
            for entry in _surplus(_entries(parent), bounds, now_realtime_ns // _NS_PER_S):
                shutil.rmtree(entry.path)
        for entry in reversed(_entries(kept.preserved)[1:]):
            if _has_room(data_path):
                break
            shutil.rmtree(entry.path)
    except OSError as error:
        return StepFault("PRUNE_FAILED", f"{error.filename or data_path}: {error.strerror}")
    return None


def _has_room(data_path: Path) -> bool:
    disk = shutil.disk_usage(data_path)
    return disk.free >= disk.total // _FREE_SHARE


def _surplus(entries: list[_Entry], bounds: KeepBounds, now_s: int) -> list[_Entry]:
    """Return what has to go; *entries* newest first."""
    surplus: list[_Entry] = []
    total = 0
    for index, entry in enumerate(entries):
        total += entry.size_bytes
        is_old = index >= bounds.count and now_s - entry.made_s > KEEP_AGE_S
        if index > 0 and (is_old or total > bounds.bytes_max):
            surplus.append(entry)
            total -= entry.size_bytes
    return surplus


def _entries(parent: Path) -> list[_Entry]:
    """Return the entries newest first; names that are not ours are not touched."""
    if not parent.is_dir():
        return []
    entries: list[_Entry] = []
    for path in parent.iterdir():
        made_s = _made_s(path.name)
        if made_s is not None and path.is_dir():
            entries.append(_Entry(path, made_s, _size_bytes(path)))
    return sorted(entries, key=lambda entry: (entry.made_s, entry.path.name), reverse=True)


def _made_s(name: str) -> int | None:
    try:
        moment = datetime.strptime(name[:_STAMP_LENGTH], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp())


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())
