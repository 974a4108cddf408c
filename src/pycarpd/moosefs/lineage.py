"""Many files' segments laid over each other: one history, or the proof that there are two.

Metaloggers keep the same change several times (the stream, and copies of the master's files). MooseFS takes the
first of equal numbers without looking; here every duplicate must be the same bytes.
"""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pycarpd.moosefs.catalog import TrackedFile
from pycarpd.moosefs.changelog import FileChangedError, Segment, offset_of

_COMPARE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """The lines ``first`` to ``last`` of one segment of one file."""

    file: TrackedFile
    segment: Segment
    first: int
    last: int


@dataclass(slots=True)
class Run:
    """Lines numbered without a gap from ``first`` to ``last``, whichever files they are in."""

    first: int
    last: int
    pieces: list[Piece]

    def between(self, first: int, last: int) -> list[Piece]:
        """Return the pieces, cut to size, that hold the lines *first* to *last*."""
        return [
            Piece(p.file, p.segment, max(first, p.first), min(last, p.last))
            for p in self.pieces
            if p.first <= last and p.last >= first
        ]


@dataclass(frozen=True, slots=True)
class Divergence:
    """Two files hold different changes under one number."""

    number: int
    paths: tuple[Path, Path]


class Lineage:
    """Merges scans into runs, and remembers which bytes it has compared already."""

    def __init__(self) -> None:
        self._compared: dict[tuple[int, int, int, int, int], int] = {}

    def merge(self, files: Iterable[TrackedFile]) -> list[Run] | Divergence:
        """Return the runs in the order of their numbers, or the first number found with two contents."""
        whole = [Piece(file, s, s.first, s.last) for file in files for s in file.scan.segments]
        whole.sort(key=lambda piece: (piece.first, -piece.last, piece.file.path))
        runs: list[Run] = []
        compared: dict[tuple[int, int, int, int, int], int] = {}
        for piece in whole:
            if not runs or piece.first > runs[-1].last + 1:
                runs.append(Run(piece.first, piece.last, [piece]))
                continue
            run = runs[-1]
            for other in run.between(piece.first, piece.last):
                divergence = self._compare(piece, other, compared)
                if divergence is not None:
                    return divergence
            if piece.last > run.last:
                run.pieces.append(Piece(piece.file, piece.segment, run.last + 1, piece.last))
                run.last = piece.last
        self._compared = compared
        return runs

    def _compare(
        self, piece: Piece, other: Piece, compared: dict[tuple[int, int, int, int, int], int]
    ) -> Divergence | None:
        """Compare the lines of *other*, which are all in *piece* too, but for those compared before."""
        key = (piece.file.serial, piece.segment.offset, other.file.serial, other.segment.offset, other.first)
        first = max(other.first, self._compared.get(key, 0) + 1)
        if first <= other.last:
            number = _first_difference(piece, other, first, other.last)
            if number is not None:
                return Divergence(number, (other.file.path, piece.file.path))
        compared[key] = other.last
        return None


def _first_difference(one: Piece, two: Piece, first: int, last: int) -> int | None:
    with ExitStack() as stack:
        ends = []
        for piece in (one, two):
            fd = piece.file.open()
            stack.callback(os.close, fd)
            ends.append((fd, offset_of(fd, piece.segment, first), offset_of(fd, piece.segment, last + 1)))
        (fd_one, at_one, end_one), (fd_two, at_two, end_two) = ends
        number = first
        while at_one < end_one and at_two < end_two:
            length = min(_COMPARE_BYTES, end_one - at_one, end_two - at_two)
            block_one, block_two = os.pread(fd_one, length, at_one), os.pread(fd_two, length, at_two)
            if len(block_one) < length or len(block_two) < length:
                raise FileChangedError
            if block_one != block_two:
                pairs = zip(block_one, block_two, strict=True)
                same = next(index for index, (left, right) in enumerate(pairs) if left != right)
                return number + block_one.count(b"\n", 0, same)
            number += block_one.count(b"\n")
            at_one, at_two = at_one + length, at_two + length
    return None


def cut_points(piece: Piece) -> tuple[int, int]:
    """Return the bytes of the piece's file between which its lines are."""
    fd = piece.file.open()
    try:
        start = offset_of(fd, piece.segment, piece.first)
        return start, offset_of(fd, piece.segment, piece.last + 1)
    finally:
        os.close(fd)
