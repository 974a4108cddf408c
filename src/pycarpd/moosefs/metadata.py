"""What a MooseFS metadata file says of itself, and whether it is whole.

MooseFS 2.0 to 4.x: the magic ``MFSM 2.0``, the metadata version (u64 at 8) and the metaid (u64 at 16), both
big endian, then sections from byte 24: a 16-byte head (name ``NODE 1.4``, payload length u64) and the payload.
The last 16 bytes are ``[MFS EOF MARKER]``. A version of V means that the changes before number V are in the
file and that the changelog goes on with line V. MooseFS itself looks at the header and the end mark only; here
every section head is visited too, which costs some fifteen reads for a file of any size. What the payloads hold
only a restore can prove.
"""

import os
import re
import stat
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self

_NEW_MAGIC = b"MFSM NEW"
_CURRENT_MAGIC = b"MFSM 2.0"
_LEGACY_MAGIC = b"MFSM 1.5"
_END_MARK = b"[MFS EOF MARKER]"
_HEADER_BYTES = 24
_SECTION_HEAD_BYTES = 16
_SECTIONS_MAX = 64
"""MooseFS 4.x writes fourteen sections; a file that claims more than this many is not one of its files."""
_SECTION_NAME = re.compile(rb"[A-Z]{4} [0-9]\.[0-9]")
_NEW_VERSION = 1


class MetadataFaultCode(Enum):
    """Why a file is no usable metadata file."""

    UNREADABLE = "unreadable"
    TOO_SHORT = "too-short"
    UNKNOWN_MAGIC = "unknown-magic"
    LEGACY_FORMAT = "legacy-format"
    NO_METAID = "no-metaid"
    NO_END_MARK = "no-end-mark"
    BAD_SECTION = "bad-section"
    NO_NODES = "no-nodes"


@dataclass(frozen=True, slots=True)
class MetadataHeader:
    """The head of a metadata file.

    ``is_empty_new`` marks the 8 bytes ``MFSM NEW`` of a package, which mfsmaster turns into an empty file system.
    """

    format: str
    version: int
    metaid: int
    is_empty_new: bool = False


@dataclass(frozen=True, slots=True)
class MetadataSection:
    """One section: its name with its format version, where its payload begins, and the payload's bytes."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class MetadataWalk:
    """A whole file: the header, every section up to the end mark, and the number of inodes it declares."""

    header: MetadataHeader
    sections: tuple[MetadataSection, ...]
    inode_count: int


@dataclass(frozen=True, slots=True)
class MetadataFault:
    """A file that cannot be used; ``version`` and ``metaid`` are what its header says if that could be read."""

    code: MetadataFaultCode
    path: Path
    detail: str
    version: int | None = None
    metaid: int | None = None


def read_header(path: Path) -> MetadataHeader | MetadataFault:
    """Return the header of *path*; says nothing of whether the rest is there."""
    try:
        with _Opened(path) as opened:
            return _header_of(opened)
    except OSError as error:
        return MetadataFault(MetadataFaultCode.UNREADABLE, path, error.strerror or str(error))


def walk(path: Path) -> MetadataWalk | MetadataFault:
    """Return header and sections of *path* if it belongs to a file system and every section leads to the end mark."""
    try:
        with _Opened(path) as opened:
            header = _header_of(opened)
            if isinstance(header, MetadataFault):
                return header
            if header.is_empty_new:
                return MetadataWalk(header, (), 0)
            return _walk_sections(opened, header)
    except OSError as error:
        return MetadataFault(MetadataFaultCode.UNREADABLE, path, error.strerror or str(error))


class _Opened:
    """A regular file open for positioned reads; anything else (a pipe would block us) is an OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise OSError(0, "not a regular file")
        self.size = status.st_size
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def fault(self, code: MetadataFaultCode, detail: str, header: MetadataHeader | None = None) -> MetadataFault:
        if header is None:
            return MetadataFault(code, self.path, detail)
        return MetadataFault(code, self.path, detail, header.version, header.metaid)


def _header_of(opened: _Opened) -> MetadataHeader | MetadataFault:
    head = opened.read(0, _HEADER_BYTES)
    magic = head[:8]
    if magic == _NEW_MAGIC:
        return MetadataHeader("NEW", _NEW_VERSION, 0, is_empty_new=True)
    if len(head) < _HEADER_BYTES:
        return opened.fault(MetadataFaultCode.TOO_SHORT, f"{opened.size} bytes hold no header")
    if magic == _CURRENT_MAGIC:
        version, metaid = struct.unpack_from(">QQ", head, 8)
        return MetadataHeader("2.0", version, metaid)
    if magic == _LEGACY_MAGIC:
        (version,) = struct.unpack_from(">Q", head, 12)
        return MetadataHeader("1.5", version, 0)
    return opened.fault(MetadataFaultCode.UNKNOWN_MAGIC, f"the file begins with {magic!r}")


def _walk_sections(opened: _Opened, header: MetadataHeader) -> MetadataWalk | MetadataFault:
    if header.format != "2.0":
        detail = f"format {header.format} has no sections that could be checked"
        return opened.fault(MetadataFaultCode.LEGACY_FORMAT, detail, header)
    if header.metaid == 0:
        # What mfsmaster makes of MFSM NEW before it has served: the next start gives it an identity of its own.
        return opened.fault(MetadataFaultCode.NO_METAID, "the file belongs to no file system yet", header)
    end = opened.size - len(_END_MARK)
    if end < _HEADER_BYTES or opened.read(end, len(_END_MARK)) != _END_MARK:
        return opened.fault(MetadataFaultCode.NO_END_MARK, "the file does not end with its end mark", header)
    sections: list[MetadataSection] = []
    offset = _HEADER_BYTES
    while offset != end:
        section = _section_at(opened, offset, end)
        if section is None or len(sections) == _SECTIONS_MAX:
            return opened.fault(MetadataFaultCode.BAD_SECTION, f"no section begins at byte {offset}", header)
        sections.append(section)
        offset = section.offset + section.length
    return _with_inode_count(opened, header, tuple(sections))


def _section_at(opened: _Opened, offset: int, end: int) -> MetadataSection | None:
    head = opened.read(offset, _SECTION_HEAD_BYTES)
    if len(head) < _SECTION_HEAD_BYTES or not _SECTION_NAME.fullmatch(head[:8]):
        return None
    (length,) = struct.unpack_from(">Q", head, 8)
    payload = offset + _SECTION_HEAD_BYTES
    return MetadataSection(head[:8].decode("ascii"), payload, length) if payload + length <= end else None


def _with_inode_count(
    opened: _Opened, header: MetadataHeader, sections: tuple[MetadataSection, ...]
) -> MetadataWalk | MetadataFault:
    """Add the number of inodes: u32 at 4 of the NODE section, behind the largest inode number."""
    nodes = next((section for section in sections if section.name.startswith("NODE ")), None)
    counts = opened.read(nodes.offset, 8) if nodes is not None and nodes.length >= 8 else b""  # noqa: PLR2004 - two u32
    if len(counts) < 8:  # noqa: PLR2004 - the same two u32
        return opened.fault(MetadataFaultCode.NO_NODES, "there is no section of inodes", header)
    (count,) = struct.unpack_from(">I", counts, 4)
    return MetadataWalk(header, sections, count)
