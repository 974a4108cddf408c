"""The changelogs of one directory, scanned, and scanned again only as far as they have grown.

MooseFS appends to changelogs, renames them (rotation) and unlinks them; it never rewrites one in place. So a file
is known by device and inode, its bytes by size and modification time, and a file that has grown is read from
where the last scan ended, once the ends of what was scanned are found unchanged.
"""

import os
import re
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pycarpd.moosefs.changelog import ChangelogScan, FileChangedError, Scanner, unreadable

_NAME = re.compile(r"changelog(?:_ml|_ml_back)?\.[0-9]{1,5}\.mfs")
_FINGERPRINT_BYTES = 256

_serials = count(1)


@dataclass(slots=True, eq=False)
class TrackedFile:
    """A changelog under its present path, with its scan; ``serial`` changes whenever its past does."""

    path: Path
    identity: tuple[int, int]
    stamp: tuple[int, int] = (0, -1)
    scanner: Scanner = field(default_factory=Scanner)
    serial: int = field(default_factory=lambda: next(_serials))
    head: bytes = b""
    tail: bytes = b""
    scan: ChangelogScan = field(init=False)

    def open(self) -> int:
        """Open the very file that was scanned; FileChangedError if the path has become another's."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise FileChangedError from None
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != self.identity:
            os.close(fd)
            raise FileChangedError
        return fd

    def update(self, status: os.stat_result) -> None:
        """Bring the scan up to *status*, the file's present state."""
        stamp = (status.st_size, status.st_mtime_ns)
        if stamp == self.stamp and self.scan.path == self.path:
            return
        try:
            if stamp != self.stamp:
                self._read(stamp)
            self.scan = self.scanner.result(self.path)
        except OSError as error:
            self.stamp = (0, -1)
            self.scan = unreadable(self.path, error)

    def _read(self, stamp: tuple[int, int]) -> None:
        fd = self.open()
        try:
            if stamp[0] <= self.stamp[0] or not self._is_same_past(fd):
                self.scanner, self.serial = Scanner(), next(_serials)
            self.scanner.feed(fd, stamp[0])
            self.head = os.pread(fd, min(_FINGERPRINT_BYTES, self.scanner.offset), 0)
            self.tail = os.pread(fd, *self._tail_range())
        finally:
            os.close(fd)
        self.stamp = stamp

    def _is_same_past(self, fd: int) -> bool:
        return os.pread(fd, len(self.head), 0) == self.head and os.pread(fd, *self._tail_range()) == self.tail

    def _tail_range(self) -> tuple[int, int]:
        length = min(_FINGERPRINT_BYTES, self.scanner.offset)
        return length, self.scanner.offset - length


class Catalog:
    """The changelogs of *directory* by name; ``refresh`` before each use."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tracked: dict[tuple[int, int], TrackedFile] = {}

    def refresh(self) -> tuple[TrackedFile, ...]:
        """Return every changelog with an up-to-date scan, in the order of their names; OSError is the caller's."""
        present: dict[tuple[int, int], TrackedFile] = {}
        for name, status in sorted(self._list().items()):
            identity = (status.st_dev, status.st_ino)
            if identity in present:
                continue
            known = self._tracked.get(identity)
            tracked = known if known is not None else TrackedFile(self.directory / name, identity)
            tracked.path = self.directory / name
            tracked.update(status)
            present[identity] = tracked
        self._tracked = present
        return tuple(present.values())

    def names(self) -> dict[str, tuple[int, int]]:
        """Return which file has which name now: two equal answers mean that nothing was rotated in between."""
        return {name: (status.st_dev, status.st_ino) for name, status in self._list().items()}

    def _list(self) -> dict[str, os.stat_result]:
        """Return the changelogs by name; FileChangedError when one disappears under our eyes."""
        found: dict[str, os.stat_result] = {}
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) and entry.is_file():
                    try:
                        # The entry's own stat could be the cached one of a symbolic link's target.
                        found[entry.name] = os.stat(entry.path)  # noqa: PTH116 - no Path for each of 10 000 files
                    except FileNotFoundError:
                        raise FileChangedError from None
        return found
