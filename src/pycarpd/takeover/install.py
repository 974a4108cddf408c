"""Moving files out of the way and proved ones in, so that a crash at any moment can be taken back exactly.

Theory of operation. A manifest naming what will be displaced and what will be installed is on stable storage
before the first rename. Each rename is atomic and moves a file between two directories of one file system,
so at any moment every displaced file is in exactly one of the two. Taking back therefore needs no memory of
how far the install got: whatever lies in the archive goes home, whatever else is in the way goes to
``abandoned``, and the manifest goes last. Nothing is ever deleted or overwritten.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pycarpd.linux.files import fsync_directory, write_durably
from pycarpd.takeover.datafiles import make_directory, names_in_the_way, remove_quietly, rename_into
from pycarpd.takeover.step import StepFault

MANIFEST = "manifest.json"
ABANDONED = "abandoned"
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Manifest:
    """The names displaced from and installed into DATA_PATH by one plan."""

    displaced: tuple[str, ...]
    installed: tuple[str, ...]


def displace(data_path: Path, archive: Path, staged: Path | None) -> StepFault | None:
    """Move everything in the way from *data_path* to *archive*, then the files of *staged* to *data_path*.

    *archive* must be new to this plan. Faults: INSTALL_FAILED; the caller then calls take_back().
    """
    try:
        installed = () if staged is None else tuple(sorted(path.name for path in staged.iterdir()))
        manifest = Manifest(names_in_the_way(data_path), installed)
        make_directory(archive)
        if (archive / MANIFEST).exists():
            return StepFault("INSTALL_FAILED", f"{archive} belongs to an earlier plan")
        _write_manifest(archive, manifest)
        for name in manifest.displaced:
            (data_path / name).rename(archive / name)
        if staged is not None:
            for name in manifest.installed:
                (staged / name).rename(data_path / name)
            fsync_directory(staged)
        fsync_directory(archive)
        fsync_directory(data_path)
    except OSError as error:
        return StepFault("INSTALL_FAILED", f"{error.filename or archive}: {error.strerror}")
    return None


def take_back(data_path: Path, archive: Path) -> StepFault | None:
    """Undo displace() exactly, however far it got and however often asked.

    Without a manifest nothing was done. What mfsmaster has written meanwhile is kept in
    *archive*/abandoned. Faults: TAKE_BACK_FAILED, MANIFEST_DAMAGED.
    """
    try:
        manifest = read_manifest(archive)
        if manifest is None:
            remove_quietly(archive)
            return None
        _send_home(data_path, archive, manifest)
        (archive / MANIFEST).unlink()
        fsync_directory(archive)
        remove_quietly(archive)
    except OSError as error:
        return StepFault("TAKE_BACK_FAILED", f"{error.filename or archive}: {error.strerror}")
    except ValueError as error:
        return StepFault("MANIFEST_DAMAGED", f"{archive / MANIFEST}: {error}")
    return None


def _send_home(data_path: Path, archive: Path, manifest: Manifest) -> None:
    abandoned = archive / ABANDONED
    make_directory(abandoned)
    for name in names_in_the_way(data_path):
        if name not in manifest.displaced or (archive / name).exists():
            rename_into(data_path / name, abandoned)
    for name in manifest.displaced:
        if (archive / name).exists():
            (archive / name).rename(data_path / name)
    fsync_directory(data_path)
    fsync_directory(abandoned)
    fsync_directory(archive)
    remove_quietly(abandoned)


def _write_manifest(archive: Path, manifest: Manifest) -> None:
    text = json.dumps({"displaced": manifest.displaced, "installed": manifest.installed}, indent=1)
    write_durably(archive / MANIFEST, text.encode(), _MODE)


def read_manifest(archive: Path) -> Manifest | None:
    """Return the archive's manifest, or None when there is none; raises OSError and ValueError."""
    try:
        fields = json.loads((archive / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    return Manifest(tuple(map(str, fields["displaced"])), tuple(map(str, fields["installed"])))
