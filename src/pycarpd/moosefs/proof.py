"""The two outcomes of a proof: a chain with its exact version, or a refusal with its reason."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from pycarpd.moosefs.changelog import ChangelogFault
from pycarpd.moosefs.metadata import MetadataFault, MetadataHeader

Fault: TypeAlias = MetadataFault | ChangelogFault


class RefusalCode(Enum):
    """Why no version can be proved."""

    NO_BASE = "no-base"
    EMPTY_ONLY = "empty-only"
    BASE_DAMAGED = "base-damaged"
    METAID_MIXED = "metaid-mixed"
    METAID_UNEXPECTED = "metaid-unexpected"
    GAP = "gap"
    DIVERGED = "diverged"
    CHANGELOG_DAMAGED = "changelog-damaged"
    LOADER_TRAP = "loader-trap"
    EMERGENCY_SAVE = "emergency-save"
    RELEASE_UNSUPPORTED = "release-unsupported"
    RELEASE_OLDER = "release-older"
    UNREADABLE = "unreadable"
    CHANGING = "changing"


@dataclass(frozen=True, slots=True)
class TailPiece:
    """The lines ``first`` to ``last``: the bytes from ``offset`` up to ``end_offset`` of ``path``.

    ``serial`` stands for the file's past: as long as an index gives the same one, these bytes have not changed.
    """

    path: Path
    offset: int
    end_offset: int
    first: int
    last: int
    serial: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """One base and the gap-free lines that follow it; a restore serves exactly ``version``, or it has failed.

    ``faults`` are files that were passed over without harm.
    """

    base: Path
    base_header: MetadataHeader
    tail: tuple[TailPiece, ...]
    version: int
    metaid: int
    inode_count: int = 0
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class ChainRefusal:
    """Why there is no chain: the changes ``missing_from`` to ``missing_to`` if that is it, and the files meant.

    ``held_by`` are copies kept on this host that have changes of those.
    """

    code: RefusalCode
    detail: str
    missing_from: int | None = None
    missing_to: int | None = None
    where: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    held_by: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the reason with, where changes are missing, the places to look for them."""
        if self.missing_from is None:
            return self.detail or self.code.value
        if self.held_by:
            return f"{self.detail}; kept here are {', '.join(self.held_by)}"
        return f"{self.detail}; look for them among the other hosts' changelogs, and in their pycarpd/preserved"
