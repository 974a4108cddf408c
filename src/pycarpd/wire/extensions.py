"""What a trailer says behind its acks: extensions, each with its type (2 bytes), its length (2) and its value.

Type 1 names up to 120 connections of the master's, 8 bytes each: IPv4 address (4), port (2), service port (2).

Type 2 tells the lineage of the sender's files, 24 bytes: lineage (8), and for a MASTER the lineage (8) and version (8)
at which it left the one before, both 0 where they are not known. It goes with a known freshness; an advert without it
is of a version that compares metadata by their version alone.

Type 3 speaks of a planned handover, 16 bytes: node id (8), metadata version (8). Of a MASTER: its successor and the
version at which its clients are held; of its resignation: who goes first; of a BACKUP: the master that it answers and
the version that its files prove, 0 if none.

Type 4 is the digest of the sender's mfsexports.cfg (8), where it has one.

Type 5 tells of a MASTER where up to 7 lineages before its own began, newest first, 16 bytes each: the lineage that was
left (8) and the version (8).

Most of it changes seldom, and adverts come a hundred times a second: what the latest of them said is kept, and what the
latest told but for its connections. A master with more connections than one advert tells them in turn; those are read
anew each time.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from pycarpd.election.model import OLDER_MAX, Advert, Branch, Handover, PeerConnection
from pycarpd.invariant import invariant

CONNECTIONS_MAX: Final = 120
IPV4_LENGTH: Final = 4
_KEPT: Final = 32
"""Each of fifteen others tells of one thing or two at a time; 600 kB if all of them are masters with connections."""

_HEAD = struct.Struct(">HH")
_CONNECTION = struct.Struct(">4sHH")
_CONNECTIONS_TYPE = 1
_LINEAGE = struct.Struct(">QQQ")
_LINEAGE_TYPE = 2
_HANDOVER = struct.Struct(">QQ")
_HANDOVER_TYPE = 3
_EXPORTS = struct.Struct(">Q")
_EXPORTS_TYPE = 4
_BRANCH = struct.Struct(">QQ")
_OLDER_TYPE = 5


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the extensions of one advert say, as far as they are understood here."""

    connections: tuple[PeerConnection, ...] = ()
    lineage: int | None = None
    branch: Branch | None = None
    handover: Handover | None = None
    exports_digest: int = 0
    older: tuple[Branch, ...] = ()


@lru_cache(_KEPT)
def read(data: bytes) -> Extensions | None:
    """Return what the extensions in *data* say, or None if they are malformed.

    To be called for data whose MAC was verified only: what is kept takes the place of what members have said.
    """
    told: Extensions | None = Extensions()
    position, end = 0, len(data)
    while told is not None and position < end:
        value_at = position + _HEAD.size
        if value_at > end:
            return None
        kind, length = _HEAD.unpack_from(data, position)
        position = value_at + length
        if position > end:
            return None
        take = _READERS.get(kind)
        told = told if take is None else take(told, data[value_at:position])
    return told


def _with_connections(told: Extensions, value: bytes) -> Extensions | None:
    count, rest = divmod(len(value), _CONNECTION.size)
    if told.connections or rest or not 0 < count <= CONNECTIONS_MAX:
        return None
    return replace(told, connections=tuple(PeerConnection(*fields) for fields in _CONNECTION.iter_unpack(value)))


def _with_lineage(told: Extensions, value: bytes) -> Extensions | None:
    if told.lineage is not None or len(value) != _LINEAGE.size:
        return None
    lineage, left, version = _LINEAGE.unpack(value)
    return replace(told, lineage=lineage, branch=Branch(left, version) if version else None)


def _with_handover(told: Extensions, value: bytes) -> Extensions | None:
    if told.handover is not None or len(value) != _HANDOVER.size:
        return None
    return replace(told, handover=Handover(*_HANDOVER.unpack(value)))


def _with_exports(told: Extensions, value: bytes) -> Extensions | None:
    if told.exports_digest or len(value) != _EXPORTS.size:
        return None
    return replace(told, exports_digest=_EXPORTS.unpack(value)[0])


def _with_older(told: Extensions, value: bytes) -> Extensions | None:
    count, rest = divmod(len(value), _BRANCH.size)
    if told.older or rest or not 0 < count <= OLDER_MAX:
        return None
    return replace(told, older=tuple(Branch(*fields) for fields in _BRANCH.iter_unpack(value)))


_READERS: Final[dict[int, Callable[[Extensions, bytes], Extensions | None]]] = {
    _CONNECTIONS_TYPE: _with_connections,
    _LINEAGE_TYPE: _with_lineage,
    _HANDOVER_TYPE: _with_handover,
    _EXPORTS_TYPE: _with_exports,
    _OLDER_TYPE: _with_older,
}
"""Each returns what was told with one extension more, None if that is malformed or comes twice."""


def connections_max(room: int) -> int:
    """Return how many connections fit into *room* bytes beside the longest of all the others."""
    others = 4 * _HEAD.size + _LINEAGE.size + _HANDOVER.size + _EXPORTS.size + OLDER_MAX * _BRANCH.size
    return min(CONNECTIONS_MAX, (room - others - _HEAD.size) // _CONNECTION.size)


def write(advert: Advert, connections: tuple[PeerConnection, ...], exports_digest: int, most: int) -> bytes:
    """Return the extensions of *advert*; connections and digest that are not empty take the place of its own.

    Connections beyond *most* are left off the end. Raises struct.error for a value that does not fit its field, and
    InvariantError for a connection's address that is not IPv4.
    """
    lineage = advert.freshness.lineage if advert.freshness is not None else None
    digest = exports_digest or advert.exports_digest
    lasting = _lasting(lineage, advert.branch, advert.handover, digest, advert.older[:OLDER_MAX])
    told = (connections or advert.connections)[:most]
    return lasting + _connections_extension(told) if told else lasting


@lru_cache(_KEPT)
def _lasting(
    lineage: int | None, branch: Branch | None, handover: Handover | None, digest: int, older: tuple[Branch, ...]
) -> bytes:
    """Return the extensions that are the same for many adverts."""
    told: list[tuple[int, bytes]] = []
    if lineage is not None:
        left = branch or Branch(0, 0)
        told.append((_LINEAGE_TYPE, _LINEAGE.pack(lineage, left.lineage, left.version)))
    if handover is not None:
        told.append((_HANDOVER_TYPE, _HANDOVER.pack(handover.node_id, handover.version)))
    if digest:
        told.append((_EXPORTS_TYPE, _EXPORTS.pack(digest)))
    if older:
        told.append((_OLDER_TYPE, b"".join(_BRANCH.pack(each.lineage, each.version) for each in older)))
    return b"".join(_HEAD.pack(kind, len(value)) + value for kind, value in told)


def _connections_extension(connections: tuple[PeerConnection, ...]) -> bytes:
    invariant(all(len(one.address) == IPV4_LENGTH for one in connections), "a connection's address is IPv4")
    value = b"".join(_CONNECTION.pack(one.address, one.port, one.service_port) for one in connections)
    return _HEAD.pack(_CONNECTIONS_TYPE, len(value)) + value
