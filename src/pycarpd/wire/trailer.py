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

What the extensions say stands in extensions.py.

A reader takes any revision of its generation: it skips extensions of unknown types, ignores unknown flags and the
bytes said to be ignored. What an older reader must not misunderstand needs a new generation.

The CARP counter is ``(epoch & 0xffffffff) << 32 | (sequence & 0xffffffff)``; a resigned advert has 255/255 as advbase
and advskew. Contradictions are refused like a broken length.
"""

import struct
from dataclasses import dataclass
from typing import Final

from pycarpd.election.model import Ack, Advert, Flags, Freshness, PeerConnection, Role, flags_of
from pycarpd.invariant import InvariantError, invariant
from pycarpd.wire import extensions
from pycarpd.wire.carp import CARP_LENGTH, RESIGN, CarpHeader
from pycarpd.wire.verdict import Verdict

MAGIC: Final = 0x7063
LENGTH_AT: Final = 4
"""Where the trailer says how long it is, from its own first byte."""
GENERATION: Final = 0
REVISION: Final = 1
MAC_LENGTH: Final = 32
ACKS_MAX: Final = 15
PAYLOAD_MAX: Final = 1452
"""The longest CARP header with trailer: ucarp captures 1500 bytes of a frame, of which 34 come before."""

_FIXED = struct.Struct(">HBBHBBQQQQQQIIQQQIIHHQQQB3x")
_HEAD = struct.Struct(">HBBH")
_ACK = struct.Struct(">QQQ")
_ACK_COUNT_AT = CARP_LENGTH + 124
_BODY_AT = CARP_LENGTH + _FIXED.size
SHORTEST: Final = _BODY_AT + MAC_LENGTH
"""The shortest CARP header with trailer, in bytes."""

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
    return extensions.connections_max(PAYLOAD_MAX - SHORTEST - ack_count * _ACK.size)


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
    told = extensions.read(bytes(payload[extensions_at:-MAC_LENGTH]))
    resigned = bool(flags & _RESIGNED)
    if (
        told is None
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
        flags=flags_of(flags & _FLAGS_KNOWN),
        freshness=_read_freshness(fields[14:19], told.lineage) if flags & _FRESHNESS_KNOWN else None,
        vote_term=vote_term,
        vote_for=vote_for,
        config_digest=config_digest,
        acks=tuple(map(Ack._make, _ACK.iter_unpack(payload[_BODY_AT:extensions_at]))),
        advbase=header.advbase,
        advskew=header.advskew,
        connections=told.connections,
        branch=told.branch,
        older=told.older,
        handover=told.handover,
        exports_digest=told.exports_digest,
    )


def write(advert: Advert, key_id: int, beside: Beside = NOTHING_BESIDE) -> bytearray:
    """Return CARP_LENGTH zero bytes and the trailer of *advert* without its MAC, whose length it counts in.

    It tells what is *beside* it as if the advert itself did.

    Connections that do not fit (see ``connections_max``) are left off the end; ages and demotion saturate. Any other
    value that does not fit its field is a bug of the caller's.
    """
    invariant(len(advert.acks) <= ACKS_MAX, "an advert has room for 15 acks")
    try:
        acks = b"".join([_ACK.pack(*ack) for ack in advert.acks])
        most = connections_max(len(advert.acks))
        told = extensions.write(advert, beside.connections, beside.exports_digest, most)
        length = _FIXED.size + len(acks) + len(told) + MAC_LENGTH
        flags = advert.flags.value | (_HAS_FILES if beside.has_files else 0)
        fixed = _fixed(advert, key_id, length, flags)
    except struct.error as error:
        raise InvariantError(f"an advert's value does not fit its field: {error}") from error
    return bytearray().join((bytes(CARP_LENGTH), fixed, acks, told))


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


def _read_freshness(fields: tuple[int, ...], lineage: int | None) -> Freshness:
    metaid, version, proved_version, drill_age_s, age_ms = fields
    drill = None if drill_age_s == _NEVER else drill_age_s
    return Freshness(metaid, version, proved_version, drill, age_ms, lineage)
