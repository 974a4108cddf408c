"""Unlocking, on a mfsmaster that was just restored, the chunks whose writers' answers died with its predecessor.

The client of such a writer asks again and is kept waiting until the lock runs out, up to two minutes: locks have no
owner, so to mfsmaster it is any other client. It is helped by a session that says CLTOMA_FUSE_WRITE_CHUNK_END for the
chunk, the length of the file unchanged: all that this does is to log UNLOCK and end the lock (MooseFS 3.0.117
fs_writeend).

What if the holder of a lock does have its answer, and writes to the chunkservers all the while? Then its lock is gone
under its hands. MooseFS needs the lock for three things, and they are safe as follows:

* To keep other clients from writing the same bytes at the same time, whose order might differ from copy to copy. Only
  chunks of files that no second client has open are unlocked, and a client lets only one writer of its own at a chunk.
  Who opens the file later, to overwrite what another still writes, has MooseFS's second guard: after a start every
  chunk's first writer raises its version, so that writes under the older one are refused and begin again.
* To keep mfsmaster from copying a chunk to another chunkserver meanwhile. It does not copy for REPLICATIONS_DELAY_INIT
  after its start, and a client writes for half a minute at most before it asks mfsmaster again (mfsclient
  writedata.c). The caller sees to the setting: see REPLICATION_DELAY_MIN_S.
* To keep a chunk from being deleted that has no copy yet. Chunks without a copy stay locked.

The late WRITE_CHUNK_END of such a holder sets the length it wrote up to, as ever, and unlocks what is not locked.
All this is to be done while no client can reach mfsmaster: then no lock in it is newer than its changelog.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from pycarpd.moosefs.chunklocks import LOCKS_MAX, ChunkLock
from pycarpd.moosefs.exchange import Exchange, ExchangeError, ProbeFault, ProbeFaultCode, exchanging

REPLICATION_DELAY_MIN_S = 40
"""With a REPLICATIONS_DELAY_INIT below this no chunk may be unlocked early: it might be copied while it is written."""

_OPEN_FILES = (532, 533)
_REGISTER = (400, 401)
_WRITE_CHUNK_END = (436, 437)
_CHECK = (440, 441)
_SESSION_FRAMES = range(400, 600)
"""What mfsmaster may tell a session without being asked has types in this range."""
_BLOB = b"DjI1GAQDULI5d2YjA26ypc3ovkhjvhciTQVx3CS4nYgtBoUcsljiVpsErJENHaw0"
"""FUSE_REGISTER_BLOB_ACL: says which way of registering follows."""
_NEW_SESSION = 2
_CLOSE_SESSION = 6
_SPOKEN_VERSION = 3 << 16 | 117 * 2
"""This is how a client of MooseFS 3.0.117 speaks; later masters speak so with it."""
_NAME = b"pycarpd\0"
_PATH = b"/\0"
_OPEN_FILE_BYTES = 8
_STATUS_BYTES = 5
_CHECK_BYTES = 16


class KeptFor(Enum):
    """Why a chunk was left locked."""

    SHARED = "several clients have its file open"
    MOVED = "it is not the file's chunk any more"
    NO_COPY = "no chunkserver has a copy of it"
    REFUSED = "mfsmaster refused"


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What became of locked chunks; those that were ``kept`` stay locked until their time runs out."""

    unlocked: tuple[ChunkLock, ...]
    kept: tuple[tuple[ChunkLock, KeptFor], ...]


def unlock_chunks(
    host: str, port: int, locks: tuple[ChunkLock, ...], timeout_s: float, source: str = ""
) -> Unlocked | ProbeFault:
    """Unlock *locks* on the mfsmaster at *host*:*port* (its client port), as far as that is safe.

    Needs a session, which mfsexports.cfg must allow for *source* (NOT_ALLOWED if not); it is closed again.
    """
    try:
        with exchanging(host, port, timeout_s, source) as exchange:
            clients = _count_clients(exchange)
            own = tuple(lock for lock in locks[-LOCKS_MAX:] if clients[lock.inode] <= 1)
            kept = [(lock, KeptFor.SHARED) for lock in locks if clients[lock.inode] > 1]
            if not own:
                return Unlocked((), tuple(kept))
            session = _register(exchange)
            verdicts = _unlock(exchange, own)
            exchange.send((_REGISTER[0], _BLOB + struct.pack(">BI", _CLOSE_SESSION, session)))
            exchange.reply(_REGISTER[1], _SESSION_FRAMES)
    except ExchangeError as error:
        return error.fault
    kept += [(lock, verdict) for lock, verdict in verdicts.items() if verdict is not None]
    return Unlocked(tuple(lock for lock, verdict in verdicts.items() if verdict is None), tuple(kept))


def _count_clients(exchange: Exchange) -> Counter[int]:
    """Return how many sessions have each open file open."""
    exchange.send((_OPEN_FILES[0], struct.pack(">I", 0)))
    listed = exchange.reply(_OPEN_FILES[1])
    if len(listed) % _OPEN_FILE_BYTES:
        raise ExchangeError(ProbeFaultCode.MALFORMED, f"a list of open files of {len(listed)} bytes")
    return Counter(inode for _session, inode in struct.iter_unpack(">II", listed))


def _register(exchange: Exchange) -> int:
    """Begin a session and return its number."""
    asked = struct.pack(">BII", _NEW_SESSION, _SPOKEN_VERSION, len(_NAME)) + _NAME
    exchange.send((_REGISTER[0], _BLOB + asked + struct.pack(">I", len(_PATH)) + _PATH))
    answer = exchange.reply(_REGISTER[1])
    if len(answer) == 1:
        raise ExchangeError(ProbeFaultCode.NOT_ALLOWED, f"mfsmaster allows no session here: status {answer[0]}")
    if len(answer) < 2 * 4:
        raise ExchangeError(ProbeFaultCode.MALFORMED, f"a registration of {len(answer)} bytes")
    (session,) = struct.unpack_from(">I", answer, 4)
    return int(session)


def _unlock(exchange: Exchange, locks: tuple[ChunkLock, ...]) -> dict[ChunkLock, KeptFor | None]:
    """Unlock what is as it should be; None in the answer: it was."""
    checks = [struct.pack(">II", lock.inode, lock.index) for lock in locks]
    verdicts = {
        lock: _judge(lock, answer) for lock, answer in zip(locks, _ask_all(exchange, _CHECK, checks), strict=True)
    }
    ready = [lock for lock, verdict in verdicts.items() if verdict is None]
    ends = [struct.pack(">QIQB", lock.chunkid, lock.inode, 0, 0) for lock in ready]
    for lock, answer in zip(ready, _ask_all(exchange, _WRITE_CHUNK_END, ends), strict=True):
        if answer != b"\0":
            verdicts[lock] = KeptFor.REFUSED
    return verdicts


def _judge(lock: ChunkLock, check: bytes) -> KeptFor | None:
    """Say why not to unlock, by the answer to a CHECK: chunk u64, version u32, copies; or a status alone."""
    if len(check) < _CHECK_BYTES - 4 or int.from_bytes(check[:8]) != lock.chunkid:
        return KeptFor.MOVED
    return None if len(check) > _CHECK_BYTES - 4 else KeptFor.NO_COPY


def _ask_all(exchange: Exchange, kinds: tuple[int, int], payloads: list[bytes]) -> Iterator[bytes]:
    """Send a numbered request for each payload, and yield the answers, without their numbers, in that order."""
    exchange.send(*((kinds[0], struct.pack(">I", number) + each) for number, each in enumerate(payloads, 1)))
    for number in range(1, len(payloads) + 1):
        answer = exchange.reply(kinds[1], _SESSION_FRAMES)
        if len(answer) < _STATUS_BYTES or int.from_bytes(answer[:4]) != number:
            raise ExchangeError(ProbeFaultCode.MALFORMED, f"an answer of {len(answer)} bytes to request {number}")
        yield answer[4:]
