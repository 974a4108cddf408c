import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from pycarpd.moosefs.probe import (
    ConnectedServers,
    LiveMaster,
    ProbeFault,
    ProbeFaultCode,
    list_servers,
    probe,
)
from tests.own_network import ADDRESS, own_network
from tests.unit.moosefs.files import METAID

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("_network")]
HOST = ADDRESS
Behaviour = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def _network() -> Iterator[None]:
    with own_network():
        yield


@contextmanager
def answering(behave: Behaviour) -> Iterator[int]:
    """A peer on loopback that takes one connection and does with it what a test wants."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
        assert not thread.is_alive()


def sends(*frames: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.sendall(b"".join(frames))
        # A prober that has seen enough closes with bytes unread, which resets the connection.
        with suppress(ConnectionResetError):
            while connection.recv(4096):
                pass

    return behave


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">II", kind, len(payload)) + payload


def info(length: int, offset: int, version: int) -> bytes:
    payload = bytearray(length)
    struct.pack_into(">Q", payload, offset, version)
    return frame(511, bytes(payload))


def module(kind: int = 1, mfs_version: tuple[int, int, int] = (3, 0, 234)) -> bytes:
    return frame(531, struct.pack(">BHBBHQ", kind, *mfs_version, 0, METAID) + bytes(6))


ANY_INFO = info(149, 121, 405)


def fault_of(port: int, timeout_s: float = 2.0) -> ProbeFaultCode:
    found = probe(HOST, port, timeout_s)
    assert isinstance(found, ProbeFault), found
    return found.code


@pytest.mark.parametrize(
    ("reply", "mfs_version", "expected"),
    [
        (info(149, 121, 405), (3, 0, 234), LiveMaster(405, METAID, (3, 0, 117))),
        (info(205, 125, 2**40), (4, 59, 4), LiveMaster(2**40, METAID, (4, 59, 2))),
    ],
)
def test_version_and_metaid_are_read_by_the_length_of_the_reply(
    reply: bytes, mfs_version: tuple[int, int, int], expected: LiveMaster
) -> None:
    with answering(sends(reply, module(mfs_version=mfs_version))) as port:
        assert probe(HOST, port, 2.0) == expected


def test_keep_alives_before_the_answer_are_passed_over() -> None:
    with answering(sends(frame(0, b""), frame(0, b""), info(149, 121, 405), module())) as port:
        assert probe(HOST, port, 2.0) == LiveMaster(405, METAID, (3, 0, 117))


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ((frame(0, b""),) * 40, ProbeFaultCode.MALFORMED),
        ((frame(999, b""),), ProbeFaultCode.MALFORMED),
        ((b"HTTP/1.1 400 Bad Request\r\n",), ProbeFaultCode.MALFORMED),
        ((struct.pack(">II", 511, 2**32 - 1),), ProbeFaultCode.MALFORMED),
        ((info(149, 121, 405), frame(531, b"\1")), ProbeFaultCode.MALFORMED),
        ((info(149, 121, 405), module(kind=2)), ProbeFaultCode.UNSUPPORTED),
        ((info(148, 121, 405), module()), ProbeFaultCode.UNSUPPORTED),
    ],
)
def test_an_answer_that_is_not_a_masters_is_a_fault(frames: tuple[bytes, ...], code: ProbeFaultCode) -> None:
    with answering(sends(*frames)) as port:
        assert fault_of(port) is code


def test_a_peer_that_accepts_and_says_nothing_has_not_answered() -> None:
    with answering(sends()) as port:
        assert fault_of(port, 0.2) is ProbeFaultCode.NO_ANSWER


def test_a_peer_that_drips_bytes_cannot_hold_the_probe_beyond_its_deadline() -> None:
    def drip(connection: socket.socket) -> None:
        for byte in info(149, 121, 405) + module():
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return
            time.sleep(0.02)

    started = time.monotonic()
    with answering(drip) as port:
        assert fault_of(port, 0.3) is ProbeFaultCode.NO_ANSWER
        assert time.monotonic() - started < 2


def test_a_peer_that_hangs_up_is_told_from_one_that_is_silent() -> None:
    with answering(lambda _connection: None) as port:
        assert fault_of(port) is ProbeFaultCode.CLOSED


def test_nobody_listening_is_refused() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    assert fault_of(port) is ProbeFaultCode.REFUSED


@pytest.mark.parametrize(("host", "port"), [("no such host", 9421), (HOST, 99_999), ("a" * 300, 9421)])
def test_an_impossible_address_is_a_fault(host: str, port: int) -> None:
    found = probe(host, port, 0.5)
    assert isinstance(found, ProbeFault)
    assert found.code is ProbeFaultCode.BAD_ADDRESS


def test_only_connected_chunkservers_count() -> None:
    connected, gone = bytes(69), b"\1" + bytes(68)
    frames = (module(), frame(501, connected + gone + connected), frame(523, bytes(8) * 4), info(149, 121, 405))
    with answering(sends(*frames)) as port:
        assert list_servers(HOST, port, 2.0) == ConnectedServers(2, 4, 3)


@pytest.mark.parametrize(("known", "missing"), [(0, 700), (650, 50), (700, 0), (701, 0)])
def test_chunks_announced_and_not_listed_yet_are_missing(known: int, missing: int) -> None:
    def server(chunks: int, *, is_gone: bool = False) -> bytes:
        return bytes([is_gone]) + bytes(27) + chunks.to_bytes(4, "big") + bytes(37)

    servers = server(300) + server(9000, is_gone=True) + server(400)
    said = frame(511, bytes(92) + known.to_bytes(4, "big") + bytes(53))
    with answering(sends(module(), frame(501, servers), frame(523, b""), said)) as port:
        assert list_servers(HOST, port, 2.0) == ConnectedServers(2, 0, 3, missing)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ((module(), frame(501, bytes(70)), frame(523, b""), ANY_INFO), ProbeFaultCode.MALFORMED),
        ((module(), frame(501, b""), frame(523, bytes(9)), ANY_INFO), ProbeFaultCode.MALFORMED),
        ((module(mfs_version=(4, 59, 4)), frame(501, b""), frame(523, b""), ANY_INFO), ProbeFaultCode.UNSUPPORTED),
        ((module(kind=3), frame(501, b""), frame(523, b""), ANY_INFO), ProbeFaultCode.UNSUPPORTED),
    ],
)
def test_a_list_that_cannot_be_read_is_a_fault(frames: tuple[bytes, ...], code: ProbeFaultCode) -> None:
    with answering(sends(*frames)) as port:
        found = list_servers(HOST, port, 2.0)
        assert isinstance(found, ProbeFault)
        assert found.code is code
