"""What lies in mfsmaster's DATA_PATH: which names are in the way, and where pycarpd keeps them.

Everything pycarpd keeps is below ``DATA_PATH/pycarpd``: the same file system, so that hard links and renames
work, and a sub-directory, so that mfsmaster (which reads every ``metadata*`` and ``changelog*`` beside its
own files when it is started with ``-a``) does not see it.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KEPT = "pycarpd"
_EMPTY_METADATA = "metadata.mfs.empty"
_MODE = 0o750

_OWN = re.compile(r"metadata\.mfs(?!\.empty$).*|changelog\.\d+\.mfs")
_OPEN_LOGS = ("changelog_ml.0.mfs", "changelog.0.mfs")


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
