"""Preserving the metadata files of the moment the master was lost.

A metalogger that meets a master older than itself deletes its own changelogs (MooseFS 1.6 to 4.59), so every
candidate takes hard links of all its files before any address moves; of the changelogs that are still open
for appending it takes real copies, because a link would grow with them. Their links come first all the same: what is
deleted in the meantime is copied from there, and on a disk too full for a copy the link stays. It stays as well where
nobody writes any more: a busy hour's changelog takes most of a second to copy, and a promotion would wait for it. Who
starts a metalogger on such a file gives it a copy of its own first, see datafiles.part_from_links().
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pycarpd.linux.files import fsync_directory
from pycarpd.takeover.datafiles import Kept, is_open_log, make_directory, names_in_the_way
from pycarpd.takeover.step import StepFault

_SPARE_SHARE = 50
"""A copy leaves a fiftieth of the disk free: mfsmaster itself needs room to go on."""


def _settled() -> None:
    pass


def _may_be_written(_name: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Preserved:
    """What was preserved where; ``copied_bytes`` is the size of the copies, links cost nothing."""

    directory: Path
    names: tuple[str, ...]
    copied_bytes: int


def preserve_files(
    data_path: Path,
    label: str,
    settle: Callable[[], None] = _settled,
    is_written: Callable[[str], bool] = _may_be_written,
) -> Preserved | StepFault:
    """Link or copy every metadata and changelog file of *data_path* into ``pycarpd/preserved/<label>``.

    *settle* is called when every file has a link and none is copied yet: to have a metalogger write what it still has
    in its buffer. *is_written* tells of an open changelog, by its name and after that, whether anybody may append to it
    now. Idempotent for one label: what is there already stays as it is. Files that vanish meanwhile (a
    metalogger at work) are left out. Faults: PRESERVE_FAILED with the operating system's word.
    """
    directory = Kept(data_path).preserved / label
    kept: list[str] = []
    copied = 0
    try:
        make_directory(directory)
        # Links first: they take no time, and a file that is deleted meanwhile is kept by its link.
        for name in names_in_the_way(data_path):
            target = directory / name
            if target.exists() or _link(data_path / name, _held(target) if is_open_log(name) else target):
                kept.append(name)
        settle()
        for name in filter(is_open_log, kept):
            if is_written(name):
                copied += _copy(directory / name)
            else:
                _keep_link(directory / name)
        fsync_directory(directory)
    except OSError as error:
        return StepFault("PRESERVE_FAILED", f"{error.filename or directory}: {error.strerror}")
    return Preserved(directory, tuple(sorted(kept)), copied)


def _held(target: Path) -> Path:
    """Return the name of the link by which an open changelog is held until it is copied."""
    return target.with_name(f".{target.name}.held")


def _link(source: Path, target: Path) -> bool:
    """Make a hard link; False when the source has vanished."""
    try:
        target.unlink(missing_ok=True)  # of an earlier attempt that was interrupted
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        if source.exists():
            raise
        return False
    return True


def _keep_link(target: Path) -> None:
    held = _held(target)
    if not target.exists() and held.exists():
        held.rename(target)


def _copy(target: Path) -> int:
    """Make the held changelog a copy of its own; return its bytes, 0 where there is nothing to copy or no room."""
    held = _held(target)
    if target.exists() or not held.exists():
        return 0
    size = held.stat().st_size
    disk = shutil.disk_usage(target.parent)
    if disk.free - size < disk.total // _SPARE_SHARE:
        held.rename(target)
        return 0
    partial = target.with_name(f".{target.name}.partial")
    shutil.copyfile(held, partial)
    partial.rename(target)
    held.unlink()
    return target.stat().st_size
