"""Preserving the metadata files of the moment the master was lost.

A metalogger that meets a master older than itself deletes its own changelogs (MooseFS 1.6 to 4.59), so every
candidate takes hard links of all its files before any address moves; of the changelogs that are still open
for appending it takes real copies, because a link would grow with them.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pycarpd.linux.files import fsync_directory
from pycarpd.takeover.datafiles import Kept, is_open_log, make_directory, names_in_the_way
from pycarpd.takeover.step import StepFault


@dataclass(frozen=True, slots=True)
class Preserved:
    """What was preserved where; ``copied_bytes`` is the size of the copies, links cost nothing."""

    directory: Path
    names: tuple[str, ...]
    copied_bytes: int


def preserve_files(data_path: Path, label: str) -> Preserved | StepFault:
    """Link or copy every metadata and changelog file of *data_path* into ``pycarpd/preserved/<label>``.

    Idempotent for one label: what is there already stays as it is. Files that vanish meanwhile (a metalogger
    at work) are left out. Faults: PRESERVE_FAILED with the operating system's word.
    """
    directory = Kept(data_path).preserved / label
    kept: list[str] = []
    copied = 0
    try:
        make_directory(directory)
        # Links first: they take no time, and a file that is deleted meanwhile is kept by its link.
        for name in sorted(names_in_the_way(data_path), key=is_open_log):
            size = _preserve_one(data_path / name, directory / name)
            if size is not None:
                kept.append(name)
                copied += size
        fsync_directory(directory)
    except OSError as error:
        return StepFault("PRESERVE_FAILED", f"{error.filename or directory}: {error.strerror}")
    return Preserved(directory, tuple(sorted(kept)), copied)


def _preserve_one(source: Path, target: Path) -> int | None:
    """Return the bytes copied, 0 for a link, or None when the source has vanished."""
    try:
        if not is_open_log(source.name):
            if not target.exists():
                os.link(source, target, follow_symlinks=False)
            return 0
        if target.exists():
            return 0
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.rename(target)
        return target.stat().st_size
    except FileNotFoundError:
        if source.exists():
            raise
        return None
