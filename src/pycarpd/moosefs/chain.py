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
from dataclasses import replace
from pathlib import Path

from pycarpd.moosefs.bases import Bases, base_paths, describe, names_of
from pycarpd.moosefs.catalog import Catalog, TrackedFile
from pycarpd.moosefs.changelog import ChangelogFaultCode, FileChangedError
from pycarpd.moosefs.emergency import in_the_way
from pycarpd.moosefs.layout import LayoutError, write_layout
from pycarpd.moosefs.lineage import Divergence, Lineage, Piece, Run, cut_points
from pycarpd.moosefs.proof import Chain, ChainRefusal, Fault, RefusalCode, TailPiece
from pycarpd.moosefs.whereabouts import holders

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


def prove(directory: Path, *, expected_metaid: int | None) -> Chain | ChainRefusal:
    """Prove what *directory* can be restored to, reading everything in it.

    With *expected_metaid* (None: whichever it is, but one only) metadata of another file system is refused.
    """
    return ChainIndex(directory).prove(expected_metaid=expected_metaid)


class ChainIndex:
    """The same proof for a directory in use, repeated: only what was appended since is read."""

    def __init__(self, directory: Path, elsewhere: tuple[Path, ...] = ()) -> None:
        """Follow *directory*; *elsewhere* are directories in which mfsmaster may have left an emergency save."""
        self._directory = directory
        self._elsewhere = elsewhere
        self._catalog = Catalog(directory)
        self._lineage = Lineage()
        self._missing: tuple[int, int | None] | None = None
        self._held_by: tuple[str, ...] = ()

    def prove(self, *, expected_metaid: int | None) -> Chain | ChainRefusal:
        """Prove what the directory can be restored to at this moment; any fault is a refusal."""
        for _attempt in range(_ATTEMPTS_MAX):
            try:
                before = self._names()
                result = self._prove(expected_metaid)
                if self._names() == before:
                    return self._advised(result) if isinstance(result, ChainRefusal) else result
            except FileChangedError:
                continue
            except OSError as error:
                detail = f"{error.filename or self._directory}: {error.strerror or error}"
                return ChainRefusal(RefusalCode.UNREADABLE, detail, where=(str(self._directory),))
        return ChainRefusal(RefusalCode.CHANGING, "files come and go faster than they can be proved")

    def _names(self) -> tuple[dict[str, tuple[int, int]], dict[Path, tuple[int, int]]]:
        return self._catalog.names(), {path: _identity(path) for path in base_paths(self._directory)}

    def _prove(self, expected_metaid: int | None) -> Chain | ChainRefusal:
        bases = Bases.of(base_paths(self._directory))
        files = self._catalog.refresh()
        verdict = bases.refusal(expected_metaid) or _scan_refusal(files, bases.metaid)
        if verdict is not None:
            return verdict
        runs = self._lineage.merge(files)
        if isinstance(runs, Divergence):
            detail = f"change {runs.number} is not the same in both files: they belong to two histories"
            return ChainRefusal(RefusalCode.DIVERGED, detail, where=names_of(runs.paths))
        found = _decide(bases, files, runs)
        in_the_way_of = in_the_way(found, self._elsewhere) if isinstance(found, Chain) else None
        return in_the_way_of or found

    def _advised(self, refusal: ChainRefusal) -> ChainRefusal:
        """Add which kept copies have what is missing; looked for once for each gap, as that reads many files."""
        if refusal.missing_from is None:
            return refusal
        missing = (refusal.missing_from, refusal.missing_to)
        if missing != self._missing:
            self._missing, self._held_by = missing, holders(self._directory, *missing)
        return replace(refusal, held_by=self._held_by)


def _identity(path: Path) -> tuple[int, int]:
    try:
        # A link that leads nowhere stays one; only a file that was there a moment ago is being worked on.
        status = path.lstat() if path.is_symlink() else path.stat()
    except FileNotFoundError:
        raise FileChangedError from None
    return status.st_dev, status.st_ino


def _scan_refusal(files: Iterable[TrackedFile], metaid: int) -> ChainRefusal | None:
    """Return why the changelogs cannot be used at all, None if they can."""
    for file in files:
        for fault in file.scan.faults:
            if fault.code in (ChangelogFaultCode.UNREADABLE, ChangelogFaultCode.TOO_MUCH_DAMAGE):
                return ChainRefusal(RefusalCode.CHANGELOG_DAMAGED, fault.detail, where=names_of([file.path]))
        for other in file.scan.metaids:
            if other != metaid:
                detail = f"the changelog sets metaid {other:#018x}, the metadata has {metaid:#018x}"
                return ChainRefusal(RefusalCode.METAID_MIXED, detail, where=names_of([file.path]))
    return None


def _decide(bases: Bases, files: Iterable[TrackedFile], runs: list[Run]) -> Chain | ChainRefusal:
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
        return ChainRefusal(RefusalCode.LOADER_TRAP, detail, where=names_of(path for path, _ in candidates))
    path, found = safe[0]
    tail = tuple(_tail_piece(p) for run in runs for p in run.between(found.header.version, end - 1))
    return Chain(path, found.header, tail, end, bases.metaid, found.inode_count, faults)


def _reach(version: int, runs: list[Run]) -> int:
    """Return the metadata version that a base of *version* can be brought to."""
    return next((run.last + 1 for run in runs if run.first <= version <= run.last), version)


def _is_loader_trap(version: int, end: int) -> bool:
    return version % LOADER_TRAP_MODULUS == 0 and end > version


def _gap(end: int, runs: list[Run], bases: Bases) -> ChainRefusal | None:
    beyond = next((run for run in runs if run.first > end), None)
    if beyond is None:
        return None
    detail = f"the changes {end} to {beyond.first - 1} are in no file, but later ones (to {beyond.last}) are"
    where = names_of([bases.usable[0][0], beyond.pieces[0].file.path])
    return ChainRefusal(RefusalCode.GAP, detail, end, beyond.first - 1, where)


def _newer_damage(end: int, bases: Bases, files: Iterable[TrackedFile]) -> ChainRefusal | None:
    """Refuse when something damaged shows that there was more than version *end*."""
    for damaged in bases.damaged:
        if damaged.version is not None and damaged.metaid == bases.metaid and damaged.version > end:
            detail = f"a damaged metadata file is newer than all that can be restored: {describe(damaged)}"
            where = names_of([damaged.path])
            return ChainRefusal(RefusalCode.BASE_DAMAGED, detail, end, damaged.version - 1, where)
    for file in files:
        for fault in file.scan.faults:
            is_newest = not file.scan.segments and ".0." in file.path.name
            if is_newest if fault.after is None else fault.after + 1 >= end:
                detail = f"{fault.detail} (byte {fault.offset}), and nothing tells what came after it"
                where = names_of([file.path])
                return ChainRefusal(RefusalCode.CHANGELOG_DAMAGED, detail, end, None, where)
    return None


def _tail_piece(piece: Piece) -> TailPiece:
    start, end = cut_points(piece)
    return TailPiece(piece.file.path, start, end, piece.first, piece.last, piece.file.serial)
