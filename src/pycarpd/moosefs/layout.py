"""A proved chain laid out so that mfsmaster starts from it and metaloggers can download it at once.

The base becomes ``metadata.mfs.back`` and the tail one ``changelog.0.mfs``, and nothing else: with these two names
metaloggers find a complete set on the new master before it has saved for the first time, and it appends its own
changes to the tail.
"""

import errno
import os
import shutil
from pathlib import Path

from pycarpd.linux.files import fsync_directory
from pycarpd.moosefs.metadata import read_header
from pycarpd.moosefs.prepared import LayoutError, PreparedTail, copy_range, length_of, open_piece
from pycarpd.moosefs.proof import Chain, TailPiece

__all__ = ["BASE_NAME", "TAIL_NAME", "LayoutError", "write_layout"]

BASE_NAME = "metadata.mfs.back"
TAIL_NAME = "changelog.0.mfs"
_FILE_MODE = 0o640
_COPY_BYTES = 1024 * 1024
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)


def write_layout(
    chain: Chain, directory: Path, *, owner: tuple[int, int] | None = None, prepared: PreparedTail | None = None
) -> None:
    """Write *chain* into *directory* and sync it; the originals stay untouched.

    The base is a hard link where the file system allows it. *owner* (user id, group id) is given to what is
    written. *prepared* is used up if it fits. Files of these names must not be there yet. Raises OSError, among them
    LayoutError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _place_base(chain, directory / BASE_NAME, owner)
    if chain.tail:
        target = directory / TAIL_NAME
        if prepared is None or not prepared.hand_over(chain, target, owner):
            _write_tail(chain.tail, target, owner)
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
        at = 0
        for piece in tail:
            source = open_piece(piece)
            try:
                copy_range(source, fd, piece.path, (piece.offset, piece.end_offset), at)
            finally:
                os.close(source)
            at += length_of(piece)
        if owner is not None:
            os.fchown(fd, *owner)
        os.fsync(fd)
    finally:
        os.close(fd)
