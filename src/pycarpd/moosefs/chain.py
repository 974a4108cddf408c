"""The proof that a directory's metadata can be brought to one exact version, or why it cannot.

From whatever metalogger files and former master's files a directory holds: every metadata file is a *base* if it
is whole, the changelogs' lines are merged into runs, and a base of version V reaches the end of the run that
holds line V. The highest version reached wins, by the newest base that reaches it. Nothing is guessed:

* Lines beyond a gap prove that there were changes which cannot be had here: refused, and the gap is named.
* One number with two contents, or two metaids, are two histories: refused.
* ``MFSM NEW`` is never a base: an empty file system is not what anybody wants back.
* A base whose version is a multiple of 2497 with lines to apply kills mfsmaster (2.0.60 to 4.59.2 divide by zero
  while they print their progress): another base is taken, or the chain refused.

The same code proves a cold directory once and a live one every second; only what is cached differs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pycarpd.moosefs.catalog import Catalog, TrackedFile
from pycarpd.moosefs.changelog import ChangelogFaultCode, FileChangedError
from pycarpd.moosefs.layout import LayoutError, write_layout
from pycarpd.moosefs.lineage import Divergence, Lineage, Piece, Run, cut_points
from pycarpd.moosefs.metadata import MetadataFault, MetadataWalk, walk
from pycarpd.moosefs.proof import Chain, ChainRefusal, Fault, RefusalCode, TailPiece

__all__ = [
    "LOADER_TRAP_MODULUS",
    "Chain",
    "ChainIndex",
    "ChainRefusal",
    "LayoutError",
    "RefusalCode",
    "TailPiece",
    "prove",
    "write_layout",
]

LOADER_TRAP_MODULUS = 2497
"""MooseFS merger.c prints its progress at each multiple of this, dividing by the distance from the base."""
_ATTEMPTS_MAX = 4
"""Rotation happens once an hour: a directory that changes under several proofs in a row is being worked on."""
_NEVER_A_BASE = ("metadata.crc",)


def prove(directory: Path, *, expected_metaid: int | None) -> Chain | ChainRefusal:
    """Prove what *directory* can be restored to, reading everything in it.

    With *expected_metaid* (None: whichever it is, but one only) metadata of another file system is refused.
    """
    return ChainIndex(directory).prove(expected_metaid=expected_metaid)


class ChainIndex:
    """The same proof for a directory in use, repeated: only what was appended since is read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._catalog = Catalog(directory)
        self._lineage = Lineage()

    def prove(self, *, expected_metaid: int | None) -> Chain | ChainRefusal:
        """Prove what the directory can be restored to at this moment; any fault is a refusal."""
        for _attempt in range(_ATTEMPTS_MAX):
            try:
                before = self._names()
                result = self._prove(expected_metaid)
                if self._names() == before:
                    return result
            except FileChangedError:
                continue
            except OSError as error:
                detail = f"{error.filename or self._directory}: {error.strerror or error}"
                return ChainRefusal(RefusalCode.UNREADABLE, detail, where=(str(self._directory),))
        return ChainRefusal(RefusalCode.CHANGING, "files come and go faster than they can be proved")

    def _names(self) -> tuple[dict[str, tuple[int, int]], dict[Path, tuple[int, int]]]:
        return self._catalog.names(), {path: _identity(path) for path in _base_paths(self._directory)}

    def _prove(self, expected_metaid: int | None) -> Chain | ChainRefusal:
        bases = _Bases.of(_base_paths(self._directory))
        files = self._catalog.refresh()
        verdict = bases.refusal(expected_metaid) or _scan_refusal(files, bases.metaid)
        if verdict is not None:
            return verdict
        runs = self._lineage.merge(files)
        if isinstance(runs, Divergence):
            detail = f"change {runs.number} is not the same in both files: they belong to two histories"
            return ChainRefusal(RefusalCode.DIVERGED, detail, where=_names(runs.paths))
        return _decide(bases, files, runs)


def _base_paths(directory: Path) -> list[Path]:
    """Return the files that mfsmaster itself would consider, but never one that is still being written."""
    return sorted(
        path
        for path in directory.iterdir()
        if path.name.startswith("metadata")
        and not path.name.endswith(".tmp")
        and path.name not in _NEVER_A_BASE
        and not path.is_dir()
    )


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise FileChangedError from None
    return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True)
class _Bases:
    """What the metadata files of a directory amount to; the usable ones newest first."""

    usable: tuple[tuple[Path, MetadataWalk], ...]
    empty: tuple[Path, ...]
    damaged: tuple[MetadataFault, ...]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "_Bases":
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
        return self.usable[0][1].header.metaid

    def refusal(self, expected_metaid: int | None) -> ChainRefusal | None:
        """Return why there is no single file system to restore, None if there is one."""
        if not self.usable and self.damaged:
            detail = "no metadata file can be used: " + "; ".join(_describe(fault) for fault in self.damaged)
            return ChainRefusal(RefusalCode.BASE_DAMAGED, detail, where=_names(f.path for f in self.damaged))
        if not self.usable and self.empty:
            detail = "the only metadata is that of an empty, new file system"
            return ChainRefusal(RefusalCode.EMPTY_ONLY, detail, where=_names(self.empty))
        if not self.usable:
            return ChainRefusal(RefusalCode.NO_BASE, "there is no metadata file")
        ids = {found.header.metaid: path for path, found in self.usable}
        if len(ids) > 1:
            detail = "metadata files of different file systems: " + ", ".join(f"{i:#018x}" for i in ids)
            return ChainRefusal(RefusalCode.METAID_MIXED, detail, where=_names(ids.values()))
        if expected_metaid is not None and self.metaid != expected_metaid:
            detail = f"metaid {self.metaid:#018x} was found, {expected_metaid:#018x} is expected"
            return ChainRefusal(RefusalCode.METAID_UNEXPECTED, detail, where=_names(ids.values()))
        return None


def _scan_refusal(files: Iterable[TrackedFile], metaid: int) -> ChainRefusal | None:
    """Return why the changelogs cannot be used at all, None if they can."""
    for file in files:
        for fault in file.scan.faults:
            if fault.code in (ChangelogFaultCode.UNREADABLE, ChangelogFaultCode.TOO_MUCH_DAMAGE):
                return ChainRefusal(RefusalCode.CHANGELOG_DAMAGED, fault.detail, where=_names([file.path]))
        for other in file.scan.metaids:
            if other != metaid:
                detail = f"the changelog sets metaid {other:#018x}, the metadata has {metaid:#018x}"
                return ChainRefusal(RefusalCode.METAID_MIXED, detail, where=_names([file.path]))
    return None


def _decide(bases: _Bases, files: Iterable[TrackedFile], runs: list[Run]) -> Chain | ChainRefusal:
    reached = {path: _reach(found.header.version, runs) for path, found in bases.usable}
    end = max(reached.values())
    faults: tuple[Fault, ...] = (*bases.damaged, *(fault for file in files for fault in file.scan.faults))
    refusal = _gap(end, runs, bases) or _newer_damage(end, bases, files)
    if refusal is not None:
        return refusal
    candidates = [(path, found) for path, found in bases.usable if reached[path] == end]
    safe = [base for base in candidates if not _is_loader_trap(base[1].header.version, end)]
    if not safe:
        version = candidates[0][1].header.version
        detail = f"mfsmaster divides by zero while it applies changes to a base of version {version} = n * 2497"
        return ChainRefusal(RefusalCode.LOADER_TRAP, detail, where=_names(path for path, _ in candidates))
    path, found = safe[0]
    tail = tuple(_tail_piece(p) for run in runs for p in run.between(found.header.version, end - 1))
    return Chain(path, found.header, tail, end, bases.metaid, found.inode_count, faults)


def _reach(version: int, runs: list[Run]) -> int:
    """Return the metadata version that a base of *version* can be brought to."""
    return next((run.last + 1 for run in runs if run.first <= version <= run.last), version)


def _is_loader_trap(version: int, end: int) -> bool:
    return version % LOADER_TRAP_MODULUS == 0 and end > version


def _gap(end: int, runs: list[Run], bases: _Bases) -> ChainRefusal | None:
    beyond = next((run for run in runs if run.first > end), None)
    if beyond is None:
        return None
    detail = f"the changes {end} to {beyond.first - 1} are in no file, but later ones (to {beyond.last}) are"
    where = _names([bases.usable[0][0], beyond.pieces[0].file.path])
    return ChainRefusal(RefusalCode.GAP, detail, end, beyond.first - 1, where)


def _newer_damage(end: int, bases: _Bases, files: Iterable[TrackedFile]) -> ChainRefusal | None:
    """Refuse when something damaged shows that there was more than version *end*."""
    for damaged in bases.damaged:
        if damaged.version is not None and damaged.metaid == bases.metaid and damaged.version > end:
            detail = f"a damaged metadata file is newer than all that can be restored: {_describe(damaged)}"
            where = _names([damaged.path])
            return ChainRefusal(RefusalCode.BASE_DAMAGED, detail, end, damaged.version - 1, where)
    for file in files:
        for fault in file.scan.faults:
            is_newest = not file.scan.segments and ".0." in file.path.name
            if is_newest if fault.after is None else fault.after + 1 >= end:
                detail = f"{fault.detail} (byte {fault.offset}), and nothing tells what came after it"
                where = _names([file.path])
                return ChainRefusal(RefusalCode.CHANGELOG_DAMAGED, detail, end, None, where)
    return None


def _tail_piece(piece: Piece) -> TailPiece:
    start, end = cut_points(piece)
    return TailPiece(piece.file.path, start, end, piece.first, piece.last)


def _describe(fault: MetadataFault) -> str:
    version = "" if fault.version is None else f", version {fault.version}"
    return f"{fault.path.name} ({fault.code.value}{version}: {fault.detail})"


def _names(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path.name for path in paths))
