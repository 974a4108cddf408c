"""Asking a live mfsmaster, without a session, what it serves.

The client port answers CLTOMA_INFO (510) and CLTOAN_MODULE_INFO (530) to anybody. Only an answer counts, everything is
under one deadline, and every other outcome is a named fault (see exchange).
"""

import struct
from dataclasses import dataclass

from pycarpd.moosefs.exchange import ExchangeError, ProbeFault, ProbeFaultCode, exchanging

__all__ = ["ConnectedServers", "LiveMaster", "ProbeFault", "ProbeFaultCode", "list_servers", "probe"]

_INFO = (510, 511)
_CHUNKSERVERS = (500, 501)
_METALOGGERS = (522, 523)
_MODULE_INFO = (530, 531)
_MODULE_MASTER = 1
_MODULE_INFO_BYTES = 15

_VERSION_OFFSETS = {149: 121, 205: 125}
"""Where the metadata version stands in an INFO reply of that length: MooseFS 3.0.117, 4.59."""
_CHUNKSERVER_BYTES = ((4, 0, 0), 0), ((3, 0, 38), 69), ((2, 1, 0), 68), ((1, 7, 25), 64)
"""The size of one chunkserver's record, by the first version that has it; 0: not known."""
_CHUNK_COUNT_OFFSETS = {69: 28, 68: 28, 64: 26}
"""Where a chunkserver's record of that size says how many chunks it has told of when it began to register."""
_COPIES_OFFSETS = {149: 92, 137: 92, 129: 84, 121: 84}
"""Where an INFO reply of that length counts the copies that the master knows of (mfscli of 3.0.117)."""
_METALOGGER_BYTES = 8
_DISCONNECTED = 1


@dataclass(frozen=True, slots=True)
class LiveMaster:
    """What a mfsmaster serves now. Changes before number ``version`` are applied, as in a metadata header."""

    version: int
    metaid: int
    mfs_version: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ConnectedServers:
    """How many chunkservers and metaloggers are connected to a master.

    ``chunkservers_known``: how many the file system has, connected or not, by its metadata. ``copies_missing``: how
    many chunks the connected chunkservers have announced and not listed yet. A chunkserver counts as connected from
    its first packet; a client that writes to a chunk not listed yet sleeps for a minute.
    """

    chunkservers: int
    metaloggers: int
    chunkservers_known: int
    copies_missing: int = 0


def probe(host: str, port: int, timeout_s: float) -> LiveMaster | ProbeFault:
    """Return what the mfsmaster at *host*:*port* (its client port) serves, after *timeout_s* at most."""
    replies = _ask(host, port, (_INFO, _MODULE_INFO), timeout_s)
    return replies if isinstance(replies, ProbeFault) else _live_master(*replies)


def list_servers(host: str, port: int, timeout_s: float) -> ConnectedServers | ProbeFault:
    """Return how many servers are connected to the mfsmaster at *host*:*port* (its client port)."""
    replies = _ask(host, port, (_MODULE_INFO, _CHUNKSERVERS, _METALOGGERS, _INFO), timeout_s)
    if isinstance(replies, ProbeFault):
        return replies
    module, chunkservers, metaloggers, info = replies
    mfs_version = _module_version(module)
    if isinstance(mfs_version, ProbeFault):
        return mfs_version
    size = next((size for first, size in _CHUNKSERVER_BYTES if mfs_version >= first), 0)
    if not size:
        return ProbeFault(ProbeFaultCode.UNSUPPORTED, f"chunkserver list of MooseFS {_dotted(mfs_version)}")
    if len(chunkservers) % size or len(metaloggers) % _METALOGGER_BYTES:
        detail = f"server lists of {len(chunkservers)} and {len(metaloggers)} bytes"
        return ProbeFault(ProbeFaultCode.MALFORMED, detail)
    records = [chunkservers[start : start + size] for start in range(0, len(chunkservers), size)]
    connected = [record for record in records if not record[0] & _DISCONNECTED]
    return ConnectedServers(
        len(connected), len(metaloggers) // _METALOGGER_BYTES, len(records), _copies_missing(connected, info)
    )


def _copies_missing(records: list[bytes], info: bytes) -> int:
    """Return how many announced copies the master has not heard of; 0 where it does not count them."""
    offset = _COPIES_OFFSETS.get(len(info))
    if offset is None:
        return 0
    announced = [int.from_bytes(r[(at := _CHUNK_COUNT_OFFSETS[len(r)]) : at + 4]) for r in records]
    return max(0, sum(announced) - int.from_bytes(info[offset : offset + 4]))


def _live_master(info: bytes, module: bytes) -> LiveMaster | ProbeFault:
    mfs_version = _module_version(module)
    if isinstance(mfs_version, ProbeFault):
        return mfs_version
    offset = _VERSION_OFFSETS.get(len(info))
    if offset is None:
        detail = f"an INFO of {len(info)} bytes from MooseFS {_dotted(mfs_version)}"
        return ProbeFault(ProbeFaultCode.UNSUPPORTED, detail)
    (version,) = struct.unpack_from(">Q", info, offset)
    (metaid,) = struct.unpack_from(">Q", module, 7)
    return LiveMaster(version, metaid, mfs_version)


def _module_version(module: bytes) -> tuple[int, int, int] | ProbeFault:
    """Return the MooseFS version in a MODULE_INFO: module u8, version u16 u8 u8 (doubled: odd is Pro), id, metaid."""
    if len(module) < _MODULE_INFO_BYTES:
        return ProbeFault(ProbeFaultCode.MALFORMED, f"a module information of {len(module)} bytes")
    kind, major, middle, minor = struct.unpack_from(">BHBB", module)
    if kind != _MODULE_MASTER:
        return ProbeFault(ProbeFaultCode.UNSUPPORTED, f"module {kind} answers, which is no mfsmaster")
    return major, middle, minor // 2 if major >= 2 else minor  # noqa: PLR2004 - doubled since 2.0


def _dotted(mfs_version: tuple[int, int, int]) -> str:
    return ".".join(map(str, mfs_version))


def _ask(
    host: str, port: int, questions: tuple[tuple[int, int], ...], timeout_s: float
) -> tuple[bytes, ...] | ProbeFault:
    """Send all *questions* (type, reply's type) without payload at once; return the replies in their order."""
    try:
        with exchanging(host, port, timeout_s) as exchange:
            exchange.send(*((kind, b"") for kind, _ in questions))
            return tuple(exchange.reply(kind) for _, kind in questions)
    except ExchangeError as error:
        return error.fault
