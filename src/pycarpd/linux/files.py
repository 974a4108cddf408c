"""Files that must survive a power cut: written beside, synced, renamed, and the directory synced too."""

import os
from contextlib import suppress
from pathlib import Path


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace *path* by a file holding *data*, so that after any crash there is the old file or the new one.

    The temporary file lies in the same directory under a name that no other process uses. Returns only when
    file and directory are on disk. Raises OSError; the old file is intact then, and nothing is left beside it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _write_synced(temporary, data, mode)
        temporary.replace(path)
    except OSError:
        # The first fault is the one worth telling; a leftover is overwritten by the next attempt.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def fsync_directory(path: Path) -> None:
    """Put the names in directory *path* on disk: what makes a rename or an unlink durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    """Write *data* to a fresh *path* of exactly *mode*, whatever the umask says, and sync it."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
