"""What lies in mfsmaster's DATA_PATH: which names are in the way, and where pycarpd keeps them.

Everything pycarpd keeps is below ``DATA_PATH/pycarpd``: the same file system, so that hard links and renames
work, and a sub-directory, so that mfsmaster (which reads every ``metadata*`` and ``changelog*`` beside its
own files when it is started with ``-a``) does not see it.
"""

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pycarpd.linux.files import fsync_directory

KEPT = "pycarpd"
_EMPTY_METADATA = "metadata.mfs.empty"
_MODE = 0o750

_OWN = re.compile(r"metadata\.mfs(?!\.empty$).*|changelog\.\d+\.mfs")
METALOGGER_LOG = "changelog_ml.0.mfs"
_OPEN_LOGS = (METALOGGER_LOG, "changelog.0.mfs")
_BLOCK_BYTES = 65536
_COPY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """The directories that pycarpd keeps inside one DATA_PATH."""

    data_path: Path

    @property
    def preserved(self) -> Path:
        """Return where copies of the moment a master was lost are kept."""
        return self.data_path / KEPT / "preserved"

    @property
    def archive(self) -> Path:
        """Return where files that were in the way are kept."""
        return self.data_path / KEPT / "archive"

    @property
    def staging(self) -> Path:
        """Return where a proved set of files is assembled before it is installed."""
        return self.data_path / KEPT / "staging"

    @property
    def prepared(self) -> Path:
        """Return where a copy of the changes grows that a takeover would need."""
        return self.data_path / KEPT / "prepared"

    @property
    def drill(self) -> Path:
        """Return where a drill restores; there is nothing in between two drills."""
        return self.data_path / KEPT / "drill"

    @property
    def bootstrap(self) -> Path:
        """Return where a new file system is made; there is nothing there otherwise."""
        return self.data_path / KEPT / "bootstrap"


def make_scratch(scratch: Path, uid: int, gid: int) -> None:
    """Make a scratch directory anew, mfsmaster's own user's; raises OSError, also where a link is in its place."""
    make_directory(scratch.parent)
    os.chown(scratch.parent, -1, gid)  # whoever cannot search it cannot work below it
    if scratch.is_symlink():
        raise OSError(0, "is a link", str(scratch))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    os.chown(scratch, uid, gid)


def is_in_the_way(name: str) -> bool:
    """Tell whether ``mfsmaster -a`` might read that file; the package's empty metadata is left alone."""
    return name != _EMPTY_METADATA and name.startswith(("metadata", "changelog"))


def is_own(name: str) -> bool:
    """Tell whether only a mfsmaster, and no metalogger, writes that file of DATA_PATH."""
    return _OWN.fullmatch(name) is not None


def is_open_log(name: str) -> bool:
    """Tell whether a mfsmaster or metalogger may still append to that file."""
    return name in _OPEN_LOGS


def names_in_the_way(data_path: Path) -> tuple[str, ...]:
    """Return, sorted, the regular files of DATA_PATH that are in the way; raises OSError."""
    with os.scandir(data_path) as entries:
        return tuple(
            sorted(
                entry.name for entry in entries if is_in_the_way(entry.name) and entry.is_file(follow_symlinks=False)
            )
        )


def own_names(data_path: Path) -> tuple[str, ...]:
    """Return, sorted, the former master's own files in DATA_PATH; raises OSError."""
    return tuple(name for name in names_in_the_way(data_path) if is_own(name))


def part_from_links(path: Path) -> int:
    """Make a changelog that has other names, such as a preserved one, a copy of its own; return the bytes copied.

    What is appended to it, or cut off, is then no longer done to the other names. Nobody may write to it meanwhile.
    Raises OSError, and the file is as it was; one that is not there has nothing to be parted from.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    if status.st_nlink == 1:
        return 0
    fresh = path.with_name(f".{path.name}.own")
    with path.open("rb") as source, fresh.open("wb") as target:
        os.fchown(target.fileno(), status.st_uid, status.st_gid)
        os.fchmod(target.fileno(), stat.S_IMODE(status.st_mode))
        shutil.copyfileobj(source, target, _COPY_BYTES)
        target.flush()
        os.fsync(target.fileno())
    fresh.replace(path)
    fsync_directory(path.parent)
    return status.st_size


def trim_torn_line(path: Path) -> int:
    """Cut the end of a changelog that nobody writes to back to its last whole line; return the bytes cut off.

    A metalogger that starts again appends directly behind what it finds, and a line that is glued to the torn
    beginning of another is lost with it. Raises OSError; a file that is not there has nothing to cut off.
    """
    try:
        with path.open("r+b") as log:
            size = log.seek(0, os.SEEK_END)
            whole = _end_of_last_line(log, size)
            if whole < size:
                log.truncate(whole)
                os.fsync(log.fileno())
            return size - whole
    except FileNotFoundError:
        return 0


def _end_of_last_line(log: BinaryIO, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        log.seek(start)
        newline = log.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def make_directory(path: Path) -> None:
    """Create *path* and its parents, not readable by everybody; raises OSError."""
    path.mkdir(mode=_MODE, parents=True, exist_ok=True)


def rename_into(source: Path, directory: Path) -> None:
    """Move *source* into *directory* without ever replacing a file of the same name; raises OSError."""
    for target in _free_names(directory / source.name):
        if not os.path.lexists(target):
            source.rename(target)
            return


def _free_names(path: Path) -> Iterator[Path]:
    yield path
    number = 1
    while True:
        yield path.with_name(f"{path.name}.again{number}")
        number += 1


def remove_quietly(path: Path) -> None:
    """Remove an empty directory if it is there and empty; anything else is left as it is."""
    with contextlib.suppress(OSError):
        path.rmdir()
