"""A changelog read as evidence of the numbered changes that it really holds, byte for byte.

A line is ``<number>: <unix time>|OPERATION(arguments)[:result]`` and a newline (MooseFS changelog.c; the
metalogger writes the same). Names inside arguments are escaped, so a line has exactly one ``(`` and one ``)``
and no control character. What goes wrong in such files, all of it seen or readable in MooseFS's sources:

* The last line is torn, as writers flush whole buffers and never sync: it is left out, by offset.
* A metalogger that starts again appends behind a torn line: one line swallows another.
* It also appends behind a gap, or behind lines of an older history: numbers jump or step back.

So a file is a list of *segments*: stretches of complete lines whose numbers rise by one. MooseFS itself would
skip the whole file for a torn line and drop the rest of it behind a jump, and report success. Reading needs one
block of memory whatever the size, and goes on where it stopped when the file has grown.
"""

import os
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path

LINE_BYTES_MAX = 256 * 1024
"""The longest line believed; MooseFS's own limit is 200 000. Also the block that is read at once: each read
begins at the start of a line, so a block without a newline is a line that is too long."""
_MARK_BYTES = 1024 * 1024
"""A segment notes the offset of a line about this often, so that any line is found with one or two reads."""
_SEGMENTS_MAX = 1024
_FAULTS_MAX = 64
_METAIDS_MAX = 8
_NUMBER_MAX = 2**64 - 1

_PLAIN_DELETED = bytes(c for c in range(32, 256) if c not in b"|()")
_PLAIN_STRUCTURE = b"|()\n"
_HEAD = rb"(?:(?!: )[^|()\x00-\x1f])*+"
_REST = rb"[^()\x00-\x1f]*+"
_LINE = re.compile(rb"([1-9][0-9]{0,19}): " + _HEAD + rb"\|" + _HEAD + rb"\(" + _REST + rb"\)" + _REST + rb"\n")
_USUAL_LINES = re.compile(rb"(?:[1-9][0-9]{0,19}: [0-9]{1,20}\|[A-Z0-9_]++\([^()\x00-\x1f]*+\)[^()\x00-\x1f]*+\n)*+")
"""Lines as _LINE has them with a plain time and operation, many at once; names may hold anything that _LINE allows."""
_SET_METAID = re.compile(rb"\|SETMETAID\(([0-9]{1,20})\)")
_CONTROL = re.compile(rb"[\x00-\x1f]")
_ENDINGS = tuple(b"%03d: " % ending for ending in range(1000))


class ChangelogFaultCode(Enum):
    """What is wrong with a stretch of a changelog."""

    UNREADABLE = "unreadable"
    DAMAGED_LINE = "damaged-line"
    DAMAGED_TAIL = "damaged-tail"
    TOO_MUCH_DAMAGE = "too-much-damage"


@dataclass(frozen=True, slots=True)
class ChangelogFault:
    """Damage at byte ``offset``, behind line number ``after`` of the same file (None: before its first line)."""

    code: ChangelogFaultCode
    path: Path
    offset: int
    after: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Complete lines numbered ``first`` to ``last`` without a gap, in the bytes ``offset`` to ``end_offset``."""

    first: int
    last: int
    offset: int
    end_offset: int
    marks: tuple[tuple[int, int], ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ChangelogScan:
    """All that a changelog holds. ``torn_bytes`` follow the last newline; ``metaids`` are those it sets."""

    path: Path
    segments: tuple[Segment, ...]
    torn_bytes: int
    faults: tuple[ChangelogFault, ...]
    metaids: tuple[int, ...] = ()


class FileChangedError(Exception):
    """A file is no longer what it was when it was scanned: rotated, truncated or replaced; scan again."""


def scan(path: Path) -> ChangelogScan:
    """Read the whole of *path*; what cannot be read is a fault in the result."""
    scanner = Scanner()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            scanner.feed(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
    except OSError as error:
        return unreadable(path, error)
    return scanner.result(path)


def unreadable(path: Path, error: OSError) -> ChangelogScan:
    """Return the scan of a file of which nothing can be known."""
    detail = error.strerror or str(error)
    return ChangelogScan(path, (), 0, (ChangelogFault(ChangelogFaultCode.UNREADABLE, path, 0, None, detail),))


@dataclass(slots=True)
class _Stretch:
    """A segment that may still grow."""

    first: int
    last: int
    offset: int
    end_offset: int
    marks: list[tuple[int, int]]

    def extend(self, last: int, end_offset: int) -> None:
        if self.end_offset - self.marks[-1][1] >= _MARK_BYTES:
            self.marks.append((self.last + 1, self.end_offset))
        self.last, self.end_offset = last, end_offset


class Scanner:
    """The scan of one file, kept so that later only what was appended has to be read.

    How a file was cut into feeds never shows in the result.
    """

    def __init__(self) -> None:
        self.offset = 0
        """The end of the last line that was taken: nothing before it is read again."""
        self._size = 0
        self._stretches: list[_Stretch] = []
        self._open: _Stretch | None = None
        self._faults: list[tuple[ChangelogFaultCode, int, int | None]] = []
        self._in_damage = False
        self._in_long_line = False
        self._is_tail_damaged = False
        self._metaids: set[int] = set()

    def feed(self, fd: int, size: int) -> None:
        """Take what stands in *fd* between the last feed's end and byte *size*."""
        self._size = size
        while self.offset < size and not self._is_hopeless:
            block = os.pread(fd, min(LINE_BYTES_MAX, size - self.offset), self.offset)
            end = block.find(b"\n") + 1 if self._in_long_line else block.rfind(b"\n") + 1
            if end == 0 and not self._skip_long_line(block):
                break
            if end:
                self._take(block[:end])
        tail = os.pread(fd, min(LINE_BYTES_MAX, max(0, size - self.offset)), self.offset)
        self._is_tail_damaged = not self._is_hopeless and _CONTROL.search(tail) is not None

    def result(self, path: Path) -> ChangelogScan:
        """Return what is known now, for a file that presently has the name *path*."""
        segments = tuple(Segment(s.first, s.last, s.offset, s.end_offset, tuple(s.marks)) for s in self._stretches)
        faults = [ChangelogFault(code, path, at, after, _DETAILS[code]) for code, at, after in self._faults]
        if self._is_tail_damaged:
            code = ChangelogFaultCode.DAMAGED_TAIL
            faults.append(ChangelogFault(code, path, self.offset, self._last_number, _DETAILS[code]))
        return ChangelogScan(path, segments, self._size - self.offset, tuple(faults), tuple(sorted(self._metaids)))

    @property
    def _is_hopeless(self) -> bool:
        return bool(self._faults) and self._faults[-1][0] is ChangelogFaultCode.TOO_MUCH_DAMAGE

    @property
    def _last_number(self) -> int | None:
        return self._stretches[-1].last if self._stretches else None

    def _skip_long_line(self, block: bytes) -> bool:
        """Leave out a line without an end in sight; False when *block* is just the torn tail."""
        if not block or (len(block) < LINE_BYTES_MAX and not self._in_long_line):
            return False
        self._damage()
        self._in_long_line = True
        self.offset += len(block)
        return True

    def _take(self, block: bytes) -> None:
        """Take *block*, which ends with a newline and begins at the offset."""
        if self._in_long_line:
            self._in_long_line = False
            self.offset += len(block)
            return
        if b"|SETMETAID(" in block:
            self._note_metaids(block)
        if self._open is None:
            end = block.index(b"\n") + 1
            self._take_line(block[:end])
            block = block[end:]
        if block and not self._extend_by(block):
            for line in block[:-1].split(b"\n"):
                if self._is_hopeless:
                    return
                self._take_line(line + b"\n")

    def _note_metaids(self, block: bytes) -> None:
        """Keep the metaids that *block* sets: a history sets one, so the second already condemns the file."""
        for match in _SET_METAID.finditer(block):
            if len(self._metaids) < _METAIDS_MAX:
                self._metaids.add(int(match[1]))

    def _extend_by(self, block: bytes) -> bool:
        """Take *block* at once if it is nothing but the lines that must come next (the path of bulk reading)."""
        if self._open is None:
            return False
        lines = block.split(b"\n")
        lines.pop()
        if not (_is_plain(block, len(lines)) or _USUAL_LINES.fullmatch(block)):
            return False
        first = self._open.last + 1
        if not all(map(bytes.startswith, lines, _prefixes(first, len(lines)))):
            return False
        self.offset += len(block)
        self._open.extend(first + len(lines) - 1, self.offset)
        return True

    def _take_line(self, line: bytes) -> None:
        number = _number_of(line)
        if number is None:
            self._damage()
            self.offset += len(line)
            return
        self._in_damage = False
        start, self.offset = self.offset, self.offset + len(line)
        if self._open is not None and number == self._open.last + 1:
            self._open.extend(number, self.offset)
            return
        self._drop_outlier(number)
        self._open = _Stretch(number, number, start, self.offset, [(number, start)])
        self._stretches.append(self._open)
        if len(self._stretches) > _SEGMENTS_MAX:
            self._faults.append((ChangelogFaultCode.TOO_MUCH_DAMAGE, start, self._last_number))

    def _damage(self) -> None:
        if not self._in_damage:
            self._add_fault(self.offset, self._last_number)
        self._in_damage = True
        self._open = None

    def _add_fault(self, offset: int, after: int | None) -> None:
        is_last = len(self._faults) + 1 >= _FAULTS_MAX
        code = ChangelogFaultCode.TOO_MUCH_DAMAGE if is_last else ChangelogFaultCode.DAMAGED_LINE
        self._faults.append((code, offset, after))

    def _drop_outlier(self, number: int) -> None:
        """Call the line before *number* damaged if its own number can only be a spoilt one."""
        if self._open is None or len(self._stretches) < 2:  # noqa: PLR2004 - the outlier and its forerunner
            return
        before, outlier = self._stretches[-2:]
        if before.end_offset == outlier.offset and _is_spoilt(before.last, outlier, number):
            self._stretches.pop()
            self._add_fault(outlier.offset, before.last)


_DETAILS = {
    ChangelogFaultCode.DAMAGED_LINE: "a line is not one that MooseFS writes, or has swallowed another",
    ChangelogFaultCode.DAMAGED_TAIL: "the unfinished last line holds bytes that no line has",
    ChangelogFaultCode.TOO_MUCH_DAMAGE: "the file has too many faults or jumps to be a changelog",
}


def _is_plain(block: bytes, count: int) -> bool:
    """Say whether each of *count* lines is well formed, judged by the whole block at once.

    ``: `` once a line means that none has swallowed another. False only means that the lines must be looked at
    more closely: names may hold ``|`` and ``: `` too.
    """
    return block.translate(None, _PLAIN_DELETED) == _PLAIN_STRUCTURE * count and block.count(b": ") == count


def _prefixes(first: int, count: int) -> list[bytes]:
    """Return the heads of the lines numbered from *first*, cheaper than formatting each."""
    last = first + count - 1
    if first < len(_ENDINGS):
        return [b"%d: " % number for number in range(first, last + 1)]
    prefixes: list[bytes] = []
    for thousand in range(first // 1000, last // 1000 + 1):
        begin = first % 1000 if thousand == first // 1000 else 0
        end = last % 1000 + 1 if thousand == last // 1000 else 1000
        head = b"%d" % thousand
        prefixes += [head + ending for ending in _ENDINGS[begin:end]]
    return prefixes


def _number_of(line: bytes) -> int | None:
    match = _LINE.fullmatch(line)
    number = int(match[1]) if match else 0
    return number if 0 < number <= _NUMBER_MAX else None


def _is_spoilt(before: int, outlier: _Stretch, after: int) -> bool:
    """Say whether a lone line between the lines *before* and *after* bears a number that it cannot have.

    Either exactly one number is missing between its neighbours, or its digits are the torn beginning of the
    next number followed by the number before *after*: a metalogger appended behind a torn line.
    """
    if outlier.first != outlier.last or not before < after < outlier.first:
        return False
    spoilt, swallowed, torn = str(outlier.first), str(after - 1), str(before + 1)
    glued = spoilt.endswith(swallowed) and torn.startswith(spoilt[: -len(swallowed)])
    return after == before + 2 or glued


def offset_of(fd: int, segment: Segment, number: int) -> int:
    """Return where line *number* of *segment* begins in *fd*; last + 1 gives the segment's end."""
    if number == segment.last + 1:
        return segment.end_offset
    at, offset = segment.marks[bisect_right(segment.marks, number, key=lambda mark: mark[0]) - 1]
    while at < number:
        block = os.pread(fd, min(LINE_BYTES_MAX, segment.end_offset - offset), offset)
        ends = [match.end() for match in islice(re.finditer(rb"\n", block), number - at)]
        if not ends:
            raise FileChangedError
        at, offset = at + len(ends), offset + ends[-1]
    head = b"%d: " % number
    if os.pread(fd, len(head), offset) != head:
        raise FileChangedError
    return offset
