"""The tail of a chain copied before it is needed, so that laying it out at a takeover costs only its last lines.

The tail of a busy hour is a gigabyte, and copying and syncing that would be most of a takeover. So a standby keeps
one growing copy beside the originals: each round appends what the newest proof has added, a bounded amount at a time,
and syncs it now and then. The copy belongs to the proof's own pieces: when the tail begins anew (a newer base) or a
file's past has changed, the copy begins anew too. It is never read by anything but a takeover, which renames it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pycarpd.moosefs.proof import Chain, TailPiece

SMALLEST_BYTES = 4 * 1024 * 1024
"""A shorter tail is copied within some ten milliseconds when it is needed: nothing is prepared for it."""
_ROUND_BYTES_MAX = 64 * 1024 * 1024
_UNSYNCED_BYTES_MAX = 4 * 1024 * 1024
_COPY_BYTES = 1024 * 1024
_FREE_SHARE = 4
_FILE_MODE = 0o640


class LayoutError(OSError):
    """The files are no longer those that were proved; nothing of what was written is usable."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(0, detail, str(path))


@dataclass(slots=True)
class _Copied:
    """How far one piece of the tail is in the copy already."""

    serial: int
    offset: int
    end_offset: int


class PreparedTail:
    """The growing copy at *path*; whatever is wrong with it costs a takeover time, never correctness."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._copied: list[_Copied] = []
        self._size = 0
        self._synced = 0

    def follow(self, chain: Chain) -> None:
        """Append what *chain* has more than the copy, at most so much at once; a fault discards the copy."""
        try:
            if not self._is_worth_it(chain):
                self.discard()
                return
            self._append(chain, _ROUND_BYTES_MAX)
        except OSError:
            self.discard()

    def hand_over(self, chain: Chain, target: Path, owner: tuple[int, int] | None) -> bool:
        """Make the copy *target*, complete and synced; False when there is none that can, and nothing is done then.

        There is no copy afterwards.
        """
        try:
            return bool(self._copied) and self._fits(chain) and self._complete(chain, target, owner)
        except OSError:
            return False
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget and remove the copy."""
        self._copied, self._size, self._synced = [], 0, 0
        # What cannot be removed is overwritten by the next copy.
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return

    def _complete(self, chain: Chain, target: Path, owner: tuple[int, int] | None) -> bool:
        self._append(chain, sum(length_of(piece) for piece in chain.tail))
        with self._path.open("rb+") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fsync(file.fileno())
        self._path.rename(target)
        return True

    def _is_worth_it(self, chain: Chain) -> bool:
        total = sum(length_of(piece) for piece in chain.tail)
        if total < SMALLEST_BYTES:
            return False
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        space = os.statvfs(self._path.parent)
        return (total - self._size) * _FREE_SHARE <= space.f_bavail * space.f_frsize

    def _fits(self, chain: Chain) -> bool:
        """Say whether the copy is a beginning of the chain's tail."""
        if len(self._copied) > len(chain.tail):
            return False
        pairs = list(zip(self._copied, chain.tail, strict=False))
        whole = all(done.end_offset == piece.end_offset for done, piece in pairs[:-1])
        return whole and all(
            (done.serial, done.offset) == (piece.serial, piece.offset) and done.end_offset <= piece.end_offset
            for done, piece in pairs
        )

    def _append(self, chain: Chain, bytes_max: int) -> None:
        if not self._fits(chain):
            self.discard()
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if self._copied else os.O_TRUNC)
        target = os.open(self._path, flags, _FILE_MODE)
        try:
            if os.fstat(target).st_size != self._size:
                raise LayoutError(self._path, "was changed by somebody else")
            for index, piece in enumerate(chain.tail):
                if bytes_max <= 0:
                    break
                if index == len(self._copied):
                    self._copied.append(_Copied(piece.serial, piece.offset, piece.offset))
                bytes_max -= self._append_piece(target, piece, self._copied[index], bytes_max)
            if self._size - self._synced >= _UNSYNCED_BYTES_MAX:
                os.fdatasync(target)
                self._synced = self._size
        finally:
            os.close(target)

    def _append_piece(self, target: int, piece: TailPiece, done: _Copied, bytes_max: int) -> int:
        if done.end_offset == piece.end_offset:
            return 0
        source = open_piece(piece)
        try:
            end = min(piece.end_offset, done.end_offset + bytes_max)
            copy_range(source, target, piece.path, (done.end_offset, end), self._size)
        finally:
            os.close(source)
        length = end - done.end_offset
        done.end_offset, self._size = end, self._size + length
        return length


def length_of(piece: TailPiece) -> int:
    """Return the bytes of *piece*."""
    return piece.end_offset - piece.offset


def open_piece(piece: TailPiece) -> int:
    """Open the file of *piece*; LayoutError when its lines are no longer where they were proved to be.

    A file may have been rotated or replaced since the proof; its cuts would no longer fall between lines.
    """
    fd = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    head = b"%d: " % piece.first
    is_start = os.pread(fd, len(head), piece.offset) == head
    is_end = os.pread(fd, 1, piece.end_offset - 1) == b"\n"
    if not (is_start and is_end):
        os.close(fd)
        raise LayoutError(piece.path, f"no longer holds the lines {piece.first} to {piece.last} where they were")
    return fd


def copy_range(source: int, target: int, path: Path, span: tuple[int, int], at: int) -> None:
    """Copy the bytes *span* of *source*, which is *path*, to the offset *at* of *target*; raises OSError."""
    offset, end = span
    while offset < end:
        block = os.pread(source, min(_COPY_BYTES, end - offset), offset)
        if not block:
            raise LayoutError(path, "has become shorter")
        offset += len(block)
        view = memoryview(block)
        while view:
            written = os.pwrite(target, view, at)
            view, at = view[written:], at + written
