"""Unlocking chunks over the client protocol, against a peer that plays mfsmaster."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from pycarpd.moosefs.chunklocks import ChunkLock
from pycarpd.moosefs.exchange import ProbeFault, ProbeFaultCode
from pycarpd.moosefs.unlocking import KeptFor, Unlocked, unlock_chunks
from tests.own_network import ADDRESS, own_network

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("_network")]
SESSION = 77
ONE, TWO = ChunkLock(8, 0, 70), ChunkLock(9, 3, 80)
NOTICE = struct.pack(">III", 447, 4, 0)
"""A frame that a session gets without having asked."""
KEEP_ALIVE = struct.pack(">III", 0, 4, 0)


@pytest.fixture(scope="module")
def _network() -> Iterator[None]:
    with own_network():
        yield


@dataclass
class Mfsmaster:
    """What a mfsmaster knows, and what it was asked."""

    open_files: list[tuple[int, int]] = field(default_factory=lambda: [(1, ONE.inode), (2, TWO.inode)])
    chunks: dict[tuple[int, int], int] = field(
        default_factory=lambda: {(each.inode, each.index): each.chunkid for each in (ONE, TWO)}
    )
    copies: int = 1
    denied: int = 0
    end_status: int = 0
    wrong_number: int = 0
    ended: list[tuple[int, int, int, int]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)

    def answer(self, kind: int, payload: bytes) -> bytes:
        match kind:
            case 532:
                return _frame(533, b"".join(struct.pack(">II", *each) for each in self.open_files))
            case 400:
                return self._register(payload[64:])
            case 440:
                number, inode, index = struct.unpack(">III", payload)
                return NOTICE + self._check(number + self.wrong_number, inode, index)
            case 436:
                number, *fields = struct.unpack(">IQIQB", payload)
                self.ended.append((fields[0], fields[1], fields[2], fields[3]))
                return KEEP_ALIVE + _frame(437, struct.pack(">IB", number, self.end_status))
            case _:
                raise AssertionError(f"asked {kind}")

    def _register(self, payload: bytes) -> bytes:
        if payload[0] == 6:
            self.closed.append(int.from_bytes(payload[1:5], "big"))
            return _frame(401, b"\0")
        assert payload[0] == 2
        assert payload.endswith(b"\0\0\0\2/\0")
        if self.denied:
            return _frame(401, bytes([self.denied]))
        return _frame(401, struct.pack(">IIQ", 0x30000 + 234, SESSION, 5) + bytes(37))

    def _check(self, number: int, inode: int, index: int) -> bytes:
        if (inode, index) not in self.chunks:
            return _frame(441, struct.pack(">IB", number, 3))
        return _frame(441, struct.pack(">IQI", number, self.chunks[inode, index], 1) + bytes(7) * self.copies)


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">II", kind, len(payload)) + payload


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (part := connection.recv(length - len(data))):
        data += part
    return data


@contextmanager
def playing(answer: Callable[[int, bytes], bytes]) -> Iterator[int]:
    """Take one connection on the test's own network and answer each frame until it is closed."""
    with socket.create_server((ADDRESS, 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.settimeout(10)
                while len(head := _exactly(connection, 8)) == 8:
                    kind, length = struct.unpack(">II", head)
                    try:
                        connection.sendall(answer(kind, _exactly(connection, length)))
                    except OSError:
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(20)
        assert not thread.is_alive()


def unlock(master: Mfsmaster, *locks: ChunkLock) -> Unlocked | ProbeFault:
    with playing(master.answer) as port:
        return unlock_chunks(ADDRESS, port, locks, 5.0)


def test_each_chunk_is_ended_with_the_length_unchanged_and_the_session_is_closed() -> None:
    master = Mfsmaster()
    assert unlock(master, ONE, TWO) == Unlocked((ONE, TWO), ())
    assert master.ended == [(ONE.chunkid, ONE.inode, 0, 0), (TWO.chunkid, TWO.inode, 0, 0)]
    assert master.closed == [SESSION]


def test_a_file_that_nobody_has_open_any_more_can_be_unlocked() -> None:
    assert unlock(Mfsmaster(open_files=[]), ONE) == Unlocked((ONE,), ())


@pytest.mark.parametrize(
    ("master", "why"),
    [
        (Mfsmaster(open_files=[(1, ONE.inode), (2, ONE.inode)]), KeptFor.SHARED),
        (Mfsmaster(chunks={(ONE.inode, ONE.index): 71}), KeptFor.MOVED),
        (Mfsmaster(chunks={(ONE.inode, ONE.index): 0}), KeptFor.MOVED),
        (Mfsmaster(chunks={}), KeptFor.MOVED),
        (Mfsmaster(copies=0), KeptFor.NO_COPY),
    ],
)
def test_what_might_do_harm_is_left_locked(master: Mfsmaster, why: KeptFor) -> None:
    assert unlock(master, ONE) == Unlocked((), ((ONE, why),))
    assert not master.ended


def test_a_shared_file_does_not_keep_the_others_locked() -> None:
    master = Mfsmaster(open_files=[(1, ONE.inode), (2, ONE.inode), (2, TWO.inode)])
    assert unlock(master, ONE, TWO) == Unlocked((TWO,), ((ONE, KeptFor.SHARED),))


def test_without_a_chunk_to_unlock_no_session_is_begun() -> None:
    master = Mfsmaster(open_files=[(1, ONE.inode), (2, ONE.inode)], denied=4)
    assert unlock(master, ONE) == Unlocked((), ((ONE, KeptFor.SHARED),))


def test_a_refusal_is_told() -> None:
    assert unlock(Mfsmaster(end_status=1), ONE) == Unlocked((), ((ONE, KeptFor.REFUSED),))


def fault(answer: Callable[[int, bytes], bytes], timeout_s: float = 5.0) -> ProbeFaultCode:
    with playing(answer) as port:
        found = unlock_chunks(ADDRESS, port, (ONE,), timeout_s)
    assert isinstance(found, ProbeFault), found
    return found.code


def test_a_host_without_a_right_to_a_session_is_told_from_a_broken_master() -> None:
    assert fault(Mfsmaster(denied=4).answer) is ProbeFaultCode.NOT_ALLOWED


@pytest.mark.parametrize(
    "answer",
    [
        lambda _kind, _payload: _frame(533, bytes(7)),
        lambda _kind, _payload: _frame(999, b""),
        Mfsmaster(wrong_number=1).answer,
        lambda kind, _payload: _frame(kind + 1, bytes(2)) if kind == 400 else _frame(kind + 1, b""),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_fault(answer: Callable[[int, bytes], bytes]) -> None:
    assert fault(answer) is ProbeFaultCode.MALFORMED


def test_a_master_that_says_nothing_is_not_waited_for() -> None:
    assert fault(lambda _kind, _payload: b"", 0.3) is ProbeFaultCode.NO_ANSWER
