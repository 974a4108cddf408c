"""A proved chain laid out so that mfsmaster starts from it and metaloggers can download it at once.

The base becomes ``metadata.mfs.back`` and the tail one ``changelog.0.mfs``, and nothing else: with these two names
metaloggers find a complete set on the new master before it has saved for the first time, and it appends its own
changes to the tail.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pycarpd.linux.files import fsync_directory
from pycarpd.moosefs.metadata import read_header
from pycarpd.moosefs.proof import Chain, TailPiece

BASE_NAME = "metadata.mfs.back"
TAIL_NAME = "changelog.0.mfs"
_FILE_MODE = 0o640
_COPY_BYTES = 1024 * 1024
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)


class LayoutError(OSError):
    """The files are no longer those that were proved; nothing of what was written is usable."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(0, detail, str(path))


def write_layout(chain: Chain, directory: Path, *, owner: tuple[int, int] | None = None) -> None:
    """Write *chain* into *directory* and sync it; the originals stay untouched.

    The base is a hard link where the file system allows it. *owner* (user id, group id) is given to what is
    written. Files of these names must not be there yet. Raises OSError, among them LayoutError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _place_base(chain, directory / BASE_NAME, owner)
    if chain.tail:
        _write_tail(chain.tail, directory / TAIL_NAME, owner)
    fsync_directory(directory)


def _place_base(chain: Chain, target: Path, owner: tuple[int, int] | None) -> None:
    try:
        target.hardlink_to(chain.base)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        with chain.base.open("rb") as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy, _COPY_BYTES)
        target.chmod(_FILE_MODE)
    if owner is not None:
        os.chown(target, *owner)
    if read_header(target) != chain.base_header:
        raise LayoutError(chain.base, "is no longer the base that was proved")
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _write_tail(tail: tuple[TailPiece, ...], target: Path, owner: tuple[int, int] | None) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        for piece in tail:
            with _reading(piece.path) as source:
                _check_piece(source, piece)
                _copy_range(source, fd, piece)
        if owner is not None:
            os.fchown(fd, *owner)
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _reading(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def _check_piece(fd: int, piece: TailPiece) -> None:
    """Refuse a file that was rotated or replaced since the proof: its cuts no longer fall between lines."""
    head = b"%d: " % piece.first
    is_start = os.pread(fd, len(head), piece.offset) == head
    is_end = os.pread(fd, 1, piece.end_offset - 1) == b"\n"
    if not (is_start and is_end):
        raise LayoutError(piece.path, f"no longer holds the lines {piece.first} to {piece.last} where they were")


def _copy_range(source: int, target: int, piece: TailPiece) -> None:
    offset = piece.offset
    while offset < piece.end_offset:
        block = os.pread(source, min(_COPY_BYTES, piece.end_offset - offset), offset)
        if not block:
            raise LayoutError(piece.path, "has become shorter")
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
        offset += len(block)
