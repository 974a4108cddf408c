"""The metadata files of a directory: which of them a chain can begin with, and why the others cannot."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pycarpd.moosefs.metadata import MetadataFault, MetadataWalk, walk
from pycarpd.moosefs.proof import ChainRefusal, RefusalCode

UNKNOWABLE_METAID = 0
"""What to expect where a file system has been served and its metaid is lost: no whole metadata file has this one."""
_NEVER_A_BASE = ("metadata.crc",)


def base_paths(directory: Path) -> list[Path]:
    """Return the files that mfsmaster itself would consider, but never one that is still being written."""
    return sorted(
        path
        for path in directory.iterdir()
        if path.name.startswith("metadata")
        and not path.name.endswith(".tmp")
        and path.name not in _NEVER_A_BASE
        and not path.is_dir()
    )


@dataclass(frozen=True, slots=True)
class Bases:
    """What the metadata files of a directory amount to; the usable ones newest first."""

    usable: tuple[tuple[Path, MetadataWalk], ...]
    empty: tuple[Path, ...]
    damaged: tuple[MetadataFault, ...]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "Bases":
        """Walk every one of *paths*."""
        usable, empty, damaged = [], [], []
        for path in paths:
            match walk(path):
                case MetadataFault() as fault:
                    damaged.append(fault)
                case MetadataWalk(header) if header.is_empty_new:
                    empty.append(path)
                case found:
                    usable.append((path, found))
        usable.sort(key=lambda base: -base[1].header.version)
        return cls(tuple(usable), tuple(empty), tuple(damaged))

    @property
    def metaid(self) -> int:
        """Return the file system's id; only with a usable base."""
        return self.usable[0][1].header.metaid

    def refusal(self, expected_metaid: int | None) -> ChainRefusal | None:
        """Return why there is no single file system to restore, None if there is one."""
        if not self.usable and self.damaged:
            detail = "no metadata file can be used: " + "; ".join(describe(fault) for fault in self.damaged)
            return ChainRefusal(RefusalCode.BASE_DAMAGED, detail, where=names_of(f.path for f in self.damaged))
        if not self.usable and self.empty:
            detail = "the only metadata is that of an empty, new file system"
            return ChainRefusal(RefusalCode.EMPTY_ONLY, detail, where=names_of(self.empty))
        if not self.usable:
            return ChainRefusal(RefusalCode.NO_BASE, "there is no metadata file")
        ids = {found.header.metaid: path for path, found in self.usable}
        if len(ids) > 1:
            detail = "metadata files of different file systems: " + ", ".join(f"{i:#018x}" for i in ids)
            return ChainRefusal(RefusalCode.METAID_MIXED, detail, where=names_of(ids.values()))
        if expected_metaid == UNKNOWABLE_METAID:
            detail = (
                f"metaid {self.metaid:#018x} was found, and what is expected cannot be read any more: "
                "set [moosefs] expected_metaid"
            )
            return ChainRefusal(RefusalCode.METAID_UNEXPECTED, detail, where=names_of(ids.values()))
        if expected_metaid is not None and self.metaid != expected_metaid:
            detail = f"metaid {self.metaid:#018x} was found, {expected_metaid:#018x} is expected"
            return ChainRefusal(RefusalCode.METAID_UNEXPECTED, detail, where=names_of(ids.values()))
        return None


def describe(fault: MetadataFault) -> str:
    """Return a damaged file's name and damage in words."""
    version = "" if fault.version is None else f", version {fault.version}"
    return f"{fault.path.name} ({fault.code.value}{version}: {fault.detail})"


def names_of(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return each file name once."""
    return tuple(dict.fromkeys(path.name for path in paths))
