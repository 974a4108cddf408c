"""The file of terms and votes: two slots written in turn, so that what was last on disk stays while the other changes.

Theory of operation. A candidate's claim waits for the disk, and so does each voter's answer: a takeover waits for it
twice. To replace a file (write beside, sync, rename, sync the directory) costs several commits of a file system's
journal; to write into blocks that a file has already costs one flush of the disk. So the file is made once, whole, with
two slots of a page each. A record says its sequence and has a checksum; it goes to the slot of its sequence's parity,
and the other one keeps the record before it. After a crash at any moment of a write the slot is whole, and holds the
new record, or it is not, and the other slot's counts: nobody was told of a record before it was synced (S1).

Behind a record, under a checksum of its own, stands what only reports need: where the lineages before this host's own
began. A version that does not know of it reads the record alone; torn, only that is forgotten.

A slot that went bad long after it was written looks like one that was torn; against that the disk's own checks stand,
whose refusal is an OSError. Two bad slots are a damaged file, and nobody guesses then.
"""

import hashlib
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from pycarpd.election.model import OLDER_MAX, Branch, Lineage, Persistent
from pycarpd.linux.files import write_durably

SLOT_BYTES = 4096
"""What the disk writes in one piece at most, and the page cache at least: a torn slot never touches the other."""
SLOTS = 2
_MAGIC = b"pcvotes1"
_RECORD = struct.Struct(">8sQQQQQ?QQQQQ")
_CHECKSUM_BYTES = hashlib.sha256().digest_size
RECORD_BYTES = _RECORD.size + _CHECKSUM_BYTES
_BRANCH = struct.Struct(">QQ")


class VotesDamagedError(Exception):
    """Neither slot of the file holds a record."""


def read_votes(path: Path) -> Persistent | None:
    """Return the state last written, None if there is no file. Raises OSError and VotesDamagedError."""
    try:
        newest = _newest(path.read_bytes())
    except FileNotFoundError:
        return None
    if newest is None:
        raise VotesDamagedError(str(path))
    return newest[1]


@dataclass(slots=True)
class _Opened:
    """The file while it is open: which one it is, and the sequence of what it holds."""

    descriptor: int
    identity: tuple[int, int]
    sequence: int


class VoteFile:
    """Writes the file; use from one thread and, as there are two slots only, in one process at a time.

    It stays open, and each write is synced by itself (O_DSYNC): an election waits for every call of the kernel here,
    since between two of them another thread may have the interpreter.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: _Opened | None = None

    def write(self, persistent: Persistent) -> None:
        """Put the state on disk; raises OSError, and the state before is on disk then.

        A record that could not be synced is tried again in its own slot: what the other holds is on disk, but of this
        one the page cache may show a record that is not.
        """
        opened = self._open()
        if opened is None:  # what is to be written is all of the state: nothing is lost with a damaged file
            write_durably(self._path, encode(0, persistent).ljust(SLOTS * SLOT_BYTES, b"\0"))
            return
        sequence = opened.sequence + 1
        record = encode(sequence, persistent)
        if os.pwrite(opened.descriptor, record, sequence % SLOTS * SLOT_BYTES) != len(record):
            raise OSError(f"{self._path}: a record was not written whole")
        opened.sequence = sequence

    def close(self) -> None:
        """Let the file go; it is opened again by the next write."""
        if self._opened is not None:
            os.close(self._opened.descriptor)
            self._opened = None

    def _open(self) -> _Opened | None:
        """Return the file that has the name now, None if there is none, or one that holds no record.

        It has every block of both slots: space that is only reserved would be a matter for the journal.
        """
        try:
            identity = _identity(self._path.stat())
        except FileNotFoundError:
            self.close()
            return None
        if self._opened is not None and self._opened.identity == identity:
            return self._opened
        self.close()
        self._opened = _opened(self._path)
        return self._opened


def _opened(path: Path) -> _Opened | None:
    """Open the file and read what it holds, None if that is no record; nothing is left open then, nor by a fault."""
    descriptor = os.open(path, os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC)
    newest = None
    try:
        newest = _newest(os.pread(descriptor, SLOTS * SLOT_BYTES, 0))
        return None if newest is None else _Opened(descriptor, _identity(os.fstat(descriptor)), newest[0])
    finally:
        if newest is None:
            os.close(descriptor)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def encode(sequence: int, persistent: Persistent) -> bytes:
    """Return the record of that sequence."""
    lineage = persistent.lineage
    record = _RECORD.pack(
        _MAGIC,
        sequence,
        persistent.term,
        persistent.served_term,
        persistent.vote_term,
        persistent.vote_for,
        persistent.is_paused,
        lineage.term,
        lineage.metaid,
        lineage.version,
        lineage.branch_lineage,
        lineage.branch_version,
    )
    return record + hashlib.sha256(record).digest() + _older(record, lineage.older)


def _older(record: bytes, older: tuple[Branch, ...]) -> bytes:
    """Return what stands behind the record; its checksum covers both, so that it is of no other record."""
    told = bytes([len(older)]) + b"".join(_BRANCH.pack(each.lineage, each.version) for each in older)
    return told + hashlib.sha256(record + told).digest() if older else b""


def _newest(content: bytes) -> tuple[int, Persistent] | None:
    """Return the newer of the records that are whole, with its sequence."""
    slots = (_decode(content[at * SLOT_BYTES : (at + 1) * SLOT_BYTES], at) for at in range(SLOTS))
    return max((record for record in slots if record is not None), key=lambda record: record[0], default=None)


def _decode(slot: bytes, position: int) -> tuple[int, Persistent] | None:
    record = slot[: _RECORD.size]
    if len(slot) < RECORD_BYTES or hashlib.sha256(record).digest() != slot[_RECORD.size : RECORD_BYTES]:
        return None
    magic, sequence, term, served_term, vote_term, vote_for, is_paused, *kept = _RECORD.unpack(record)
    if magic != _MAGIC or sequence % SLOTS != position:
        return None
    lineage = replace(Lineage(*kept), older=_read_older(record, slot[RECORD_BYTES:]))
    return sequence, Persistent(term, served_term, vote_term, vote_for, is_paused, lineage)


def _read_older(record: bytes, behind: bytes) -> tuple[Branch, ...]:
    count = behind[0] if behind else 0
    told = behind[: 1 + count * _BRANCH.size]
    if not 0 < count <= OLDER_MAX or hashlib.sha256(record + told).digest() != behind[len(told) :][:_CHECKSUM_BYTES]:
        return ()
    return tuple(Branch(*each) for each in _BRANCH.iter_unpack(told[1:]))
