"""The trailer: what pycarpd says after the 36 bytes of a CARP header. All integers are big endian and unsigned.

ucarp and FreeBSD sum and hash the first 36 bytes only, so they take an advert with a trailer for one of theirs.

====  ====  ==========================================================================================
byte  size  field (offsets from the first byte after the CARP header)
====  ====  ==========================================================================================
0     2     magic 0x7063 ("pc")
2     1     format version 0x01: generation in the high nibble, revision in the low one
3     1     key id: which key of the ring made the MAC
4     2     length of the trailer including its MAC; header and trailer fill the datagram exactly
6     1     role: 0 INIT, 1 BACKUP, 2 PROMOTING, 3 MASTER, 4 DEMOTING, 5 SUSPENDED, 6 FAULT
7     1     effective priority, larger is better
8     8     node id: the first 8 bytes of SHA-256 of the node's name
16    8     boot epoch: grows with each start of the sender
24    8     sequence: grows with each advert of the epoch
32    8     nonce: random, one for the epoch
40    8     term
48    8     served term: the newest in which the sender knows that a mfsmaster served
56    4     advert interval in microseconds
60    4     hold in milliseconds: how long to consider the sender alive without another advert
64    8     metaid
72    8     metadata version
80    8     proved version: the newest that a drill has restored
88    4     age of that drill in seconds, 0xffffffff: there was none
92    4     age of the freshness in milliseconds
96    2     flags: 1 promotable, 2 paused, 4 witness, 8 resigned, 16 wants master, 32 can split,
            64 no master, 128 has files, 256 opens the next term, 512 settled, 1024 free,
            0x8000 freshness known (otherwise bytes 64..95 mean nothing and are sent as 0)
98    2     demotion
100   8     vote: term
108   8     vote: node id
116   8     digest of the settings that all nodes must share
124   1     number of acks, at most 15
125   3     sent as 0, ignored when read
128   24 n  acks, each: node id (8), nonce (8), sequence (8) of the newest advert heard from that node
...   4+m   extensions, each: type (2), length m of its value (2), value
last  32    HMAC-SHA256 over source address, CARP header and the trailer up to here
====  ====  ==========================================================================================

Extension type 2 tells the lineage of the sender's files, 24 bytes: lineage (8), and for a MASTER the lineage (8) and
version (8) at which it left the one before, both 0 where they are not known. It goes with a known freshness; an advert
without it is of a version that compares metadata by their version alone.

Extension type 3 speaks of a planned handover, 16 bytes: node id (8), metadata version (8). Of a MASTER: its successor
and the version at which its clients are held; of its resignation: who goes first; of a BACKUP: the master that it
answers and the version that its files prove, 0 if none.

Extension type 4 is the digest of the sender's mfsexports.cfg (8), where it has one.

Extension type 5 tells of a MASTER where up to 7 lineages before its own began, newest first, 16 bytes each: the lineage
that was left (8) and the version (8).

Extension type 1 names up to 120 connections of the master's, 8 bytes each: IPv4 address (4), port (2), service
port (2).

A reader takes any revision of its generation: it skips extensions of unknown types, ignores unknown flags and the
bytes said to be ignored. What an older reader must not misunderstand needs a new generation.

The CARP counter is ``(epoch & 0xffffffff) << 32 | (sequence & 0xffffffff)``; a resigned advert has 255/255 as advbase
and advskew. Contradictions are refused like a broken length.
"""

import struct
from dataclasses import dataclass
from typing import Final

from pycarpd.election.model import OLDER_MAX, Ack, Advert, Branch, Flags, Freshness, Handover, PeerConnection, Role
from pycarpd.invariant import InvariantError, invariant
from pycarpd.wire.carp import CARP_LENGTH, RESIGN, CarpHeader
from pycarpd.wire.verdict import Verdict

MAGIC: Final = 0x7063
LENGTH_AT: Final = 4
"""Where the trailer says how long it is, from its own first byte."""
GENERATION: Final = 0
REVISION: Final = 1
MAC_LENGTH: Final = 32
ACKS_MAX: Final = 15
CONNECTIONS_MAX: Final = 120
IPV4_LENGTH: Final = 4
PAYLOAD_MAX: Final = 1452
"""The longest CARP header with trailer: ucarp captures 1500 bytes of a frame, of which 34 come before."""

_FIXED = struct.Struct(">HBBHBBQQQQQQIIQQQIIHHQQQB3x")
_HEAD = struct.Struct(">HBBH")
_ACK = struct.Struct(">QQQ")
_EXTENSION = struct.Struct(">HH")
_CONNECTION = struct.Struct(">4sHH")
_ACK_COUNT_AT = CARP_LENGTH + 124
_BODY_AT = CARP_LENGTH + _FIXED.size
SHORTEST: Final = _BODY_AT + MAC_LENGTH
"""The shortest CARP header with trailer, in bytes."""

_LINEAGE = struct.Struct(">QQQ")
_HANDOVER = struct.Struct(">QQ")
_CONNECTIONS_TYPE = 1
_LINEAGE_TYPE = 2
_HANDOVER_TYPE = 3
_EXPORTS = struct.Struct(">Q")
_EXPORTS_TYPE = 4
_BRANCH = struct.Struct(">QQ")
_OLDER_TYPE = 5
_FRESHNESS_KNOWN = 0x8000
_FLAGS_KNOWN = sum(Flags)
_NEVER = 0xFFFF_FFFF
_U32 = 0xFFFF_FFFF
_U16 = 0xFFFF
_HAS_FILES = Flags.HAS_FILES.value
_RESIGNED = Flags.RESIGNED.value
_ROLES = tuple(Role)


@dataclass(frozen=True, slots=True)
class Beside:
    """What an advert tells that the election does not know of: see Advert, and Flags.HAS_FILES."""

    connections: tuple[PeerConnection, ...] = ()
    exports_digest: int = 0
    has_files: bool = False


NOTHING_BESIDE: Final = Beside()


def counter_of(epoch: int, sequence: int) -> int:
    """Return the CARP counter of an advert."""
    return (epoch & _U32) << 32 | (sequence & _U32)


def connections_max(ack_count: int) -> int:
    """Return how many connections fit into an advert with so many acks."""
    others = 4 * _EXTENSION.size + _LINEAGE.size + _HANDOVER.size + _EXPORTS.size + OLDER_MAX * _BRANCH.size
    room = PAYLOAD_MAX - SHORTEST - ack_count * _ACK.size - others - _EXTENSION.size
    return min(CONNECTIONS_MAX, room // _CONNECTION.size)


def key_id_of(payload: bytes | memoryview) -> int:
    """Return the key id in a payload for which ``check_head`` had no objection."""
    return payload[CARP_LENGTH + 3]


def check_head(payload: bytes | memoryview) -> Verdict | None:
    """Return what speaks against hashing *payload*: its trailer's magic, generation or lengths; None if nothing."""
    length = len(payload)
    if length < SHORTEST:
        return Verdict.BAD_TRAILER
    magic, version, _, trailer_length = _HEAD.unpack_from(payload, CARP_LENGTH)
    if magic != MAGIC:
        return Verdict.BAD_TRAILER
    if version >> 4 != GENERATION:
        return Verdict.UNKNOWN_FORMAT
    ack_count = payload[_ACK_COUNT_AT]
    has_room = ack_count <= ACKS_MAX and length >= SHORTEST + ack_count * _ACK.size
    return None if has_room and trailer_length == length - CARP_LENGTH else Verdict.BAD_TRAILER


def read(payload: bytes | memoryview, header: CarpHeader) -> Advert | None:
    """Return the advert of a payload that passed ``check_head`` and its MAC; None if it contradicts itself."""
    fields = _FIXED.unpack_from(payload, CARP_LENGTH)
    role, priority, node_id, epoch, sequence, nonce, term, served_term, interval_us, hold_ms = fields[4:14]
    flags, demotion, vote_term, vote_for, config_digest, ack_count = fields[19:]
    extensions_at = _BODY_AT + ack_count * _ACK.size
    extensions = _read_extensions(payload, extensions_at)
    resigned = bool(flags & _RESIGNED)
    if (
        extensions is None
        or role >= len(_ROLES)
        or header.counter != counter_of(epoch, sequence)
        or resigned != (header.advbase == header.advskew == RESIGN)
    ):
        return None
    return Advert(
        node_id=node_id,
        epoch=epoch,
        sequence=sequence,
        nonce=nonce,
        role=_ROLES[role],
        term=term,
        served_term=served_term,
        interval_us=interval_us,
        hold_ms=hold_ms,
        priority=priority,
        demotion=demotion,
        flags=Flags(flags & _FLAGS_KNOWN),
        freshness=_read_freshness(fields[14:19], extensions) if flags & _FRESHNESS_KNOWN else None,
        vote_term=vote_term,
        vote_for=vote_for,
        config_digest=config_digest,
        acks=tuple(Ack(*ack) for ack in _ACK.iter_unpack(payload[_BODY_AT:extensions_at])),
        advbase=header.advbase,
        advskew=header.advskew,
        connections=extensions.connections,
        branch=Branch(*extensions.branch) if extensions.branch[1] else None,
        older=extensions.older,
        handover=extensions.handover,
        exports_digest=extensions.exports_digest,
    )


def write(advert: Advert, key_id: int, beside: Beside = NOTHING_BESIDE) -> bytearray:
    """Return CARP_LENGTH zero bytes and the trailer of *advert* without its MAC, whose length it counts in.

    It tells what is *beside* it as if the advert itself did.

    Connections that do not fit (see ``connections_max``) are left off the end; ages and demotion saturate. Any other
    value that does not fit its field is a bug of the caller's.
    """
    invariant(len(advert.acks) <= ACKS_MAX, "an advert has room for 15 acks")
    try:
        acks = b"".join(_ACK.pack(ack.node_id, ack.nonce, ack.sequence) for ack in advert.acks)
        extensions = _extensions(advert, beside)
        length = _FIXED.size + len(acks) + len(extensions) + MAC_LENGTH
        flags = advert.flags.value | (_HAS_FILES if beside.has_files else 0)
        fixed = _fixed(advert, key_id, length, flags)
    except struct.error as error:
        raise InvariantError(f"an advert's value does not fit its field: {error}") from error
    return bytearray().join((bytes(CARP_LENGTH), fixed, acks, extensions))


def _fixed(advert: Advert, key_id: int, trailer_length: int, flags: int) -> bytes:
    return _FIXED.pack(
        MAGIC,
        GENERATION << 4 | REVISION,
        key_id,
        trailer_length,
        advert.role,
        advert.priority,
        advert.node_id,
        advert.epoch,
        advert.sequence,
        advert.nonce,
        advert.term,
        advert.served_term,
        advert.interval_us,
        advert.hold_ms,
        *_freshness_fields(advert.freshness),
        flags if advert.freshness is None else flags | _FRESHNESS_KNOWN,
        min(advert.demotion, _U16),
        advert.vote_term,
        advert.vote_for,
        advert.config_digest,
        len(advert.acks),
    )


def _freshness_fields(freshness: Freshness | None) -> tuple[int, int, int, int, int]:
    if freshness is None:
        return (0, 0, 0, 0, 0)
    drill_age_s = _NEVER if freshness.drill_age_s is None else min(freshness.drill_age_s, _NEVER - 1)
    return (
        freshness.metaid,
        freshness.version,
        freshness.proved_version,
        drill_age_s,
        min(freshness.age_ms, _U32),
    )


def _read_freshness(fields: tuple[int, ...], extensions: "_Extensions") -> Freshness:
    metaid, version, proved_version, drill_age_s, age_ms = fields
    drill = None if drill_age_s == _NEVER else drill_age_s
    return Freshness(metaid, version, proved_version, drill, age_ms, extensions.lineage)


def _extensions(advert: Advert, beside: Beside) -> bytes:
    connections = (beside.connections or advert.connections)[: connections_max(len(advert.acks))]
    exports_digest = beside.exports_digest or advert.exports_digest
    own = _lineage_extension(advert) + _handover_extension(advert) + _exports_extension(exports_digest)
    return own + _older_extension(advert) + _connections_extension(connections)


def _exports_extension(digest: int) -> bytes:
    if not digest:
        return b""
    return _EXTENSION.pack(_EXPORTS_TYPE, _EXPORTS.size) + _EXPORTS.pack(digest)


def _older_extension(advert: Advert) -> bytes:
    value = b"".join(_BRANCH.pack(each.lineage, each.version) for each in advert.older[:OLDER_MAX])
    return _EXTENSION.pack(_OLDER_TYPE, len(value)) + value if value else b""


def _handover_extension(advert: Advert) -> bytes:
    if advert.handover is None:
        return b""
    value = _HANDOVER.pack(advert.handover.node_id, advert.handover.version)
    return _EXTENSION.pack(_HANDOVER_TYPE, len(value)) + value


def _lineage_extension(advert: Advert) -> bytes:
    if advert.freshness is None or advert.freshness.lineage is None:
        return b""
    branch = advert.branch or Branch(0, 0)
    value = _LINEAGE.pack(advert.freshness.lineage, branch.lineage, branch.version)
    return _EXTENSION.pack(_LINEAGE_TYPE, len(value)) + value


def _connections_extension(connections: tuple[PeerConnection, ...]) -> bytes:
    if not connections:
        return b""
    invariant(all(len(one.address) == IPV4_LENGTH for one in connections), "a connection's address is IPv4")
    value = b"".join(_CONNECTION.pack(one.address, one.port, one.service_port) for one in connections)
    return _EXTENSION.pack(_CONNECTIONS_TYPE, len(value)) + value


@dataclass(slots=True)
class _Extensions:
    """What the extensions of one advert say, as far as they are understood here."""

    connections: tuple[PeerConnection, ...] = ()
    lineage: int | None = None
    branch: tuple[int, int] = (0, 0)
    handover: Handover | None = None
    exports_digest: int = 0
    older: tuple[Branch, ...] = ()

    def take(self, kind: int, value: bytes | memoryview) -> bool:
        """Take one in; False if it is malformed or comes twice."""
        if kind == _CONNECTIONS_TYPE:
            if self.connections or not value or len(value) % _CONNECTION.size:
                return False
            self.connections = tuple(PeerConnection(*fields) for fields in _CONNECTION.iter_unpack(value))
            return len(self.connections) <= CONNECTIONS_MAX
        if kind == _LINEAGE_TYPE:
            if self.lineage is not None or len(value) != _LINEAGE.size:
                return False
            self.lineage, *branch = _LINEAGE.unpack(value)
            self.branch = (branch[0], branch[1])
        if kind == _HANDOVER_TYPE:
            if self.handover is not None or len(value) != _HANDOVER.size:
                return False
            self.handover = Handover(*_HANDOVER.unpack(value))
        return self._take_later(kind, value)

    def _take_later(self, kind: int, value: bytes | memoryview) -> bool:
        if kind == _OLDER_TYPE:
            if self.older or not value or len(value) % _BRANCH.size or len(value) > OLDER_MAX * _BRANCH.size:
                return False
            self.older = tuple(Branch(*fields) for fields in _BRANCH.iter_unpack(value))
        if kind == _EXPORTS_TYPE:
            if self.exports_digest or len(value) != _EXPORTS.size:
                return False
            (self.exports_digest,) = _EXPORTS.unpack(value)
        return True


def _read_extensions(payload: bytes | memoryview, position: int) -> _Extensions | None:
    """Return what the extensions from *position* on say, or None if they are malformed."""
    end = len(payload) - MAC_LENGTH
    found = _Extensions()
    while position < end:
        value_at = position + _EXTENSION.size
        if value_at > end:
            return None
        kind, length = _EXTENSION.unpack_from(payload, position)
        position = value_at + length
        if position > end or not found.take(kind, payload[value_at:position]):
            return None
    return found
