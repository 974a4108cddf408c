"""MooseFS frames over one connection to a mfsmaster, under one deadline, every outcome a named value.

A frame is type u32, payload length u32 (big endian) and the payload. A completed TCP handshake says nothing: the
kernel makes it for a stopped mfsmaster too. So only an answer counts. Hosts are numeric addresses: to resolve a name
is not under the deadline.
"""

import errno
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

_NOP = 0
_REPLY_BYTES_MAX = 4 * 1024 * 1024
"""Some sixty thousand chunkservers, half a million open files; a longer reply is not mfsmaster's."""
_FRAMES_SKIPPED_MAX = 16
_RECEIVE_BYTES = 65536
_PORT_MAX = 65535


class ProbeFaultCode(Enum):
    """Why there is no answer that counts."""

    BAD_ADDRESS = "bad-address"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_CONNECTION = "no-connection"
    """Nobody completed the handshake in time: the host is silent."""
    NO_ANSWER = "no-answer"
    """Connected, but no answer in time: mfsmaster hangs, or is too busy."""
    CLOSED = "closed"
    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"
    NOT_ALLOWED = "not-allowed"
    """mfsmaster answers, and refuses what was asked."""


@dataclass(frozen=True, slots=True)
class ProbeFault:
    """Why a master could not be asked."""

    code: ProbeFaultCode
    detail: str


class ExchangeError(Exception):
    """Carries a fault from the depths of an exchange up to whoever began it, who returns it."""

    def __init__(self, code: ProbeFaultCode, detail: str) -> None:
        super().__init__(detail)
        self.fault = ProbeFault(code, detail)


def _remaining(deadline: float) -> float:
    """Return the seconds left, never zero: that would mean not to wait at all, but also not to look."""
    return max(0.001, deadline - time.monotonic())


@contextmanager
def exchanging(host: str, port: int, timeout_s: float, source: str = "") -> Iterator["Exchange"]:
    """Connect to *host*:*port*, from the address *source* if one is given, for *timeout_s* in all.

    Whatever goes wrong in the body's exchanges is raised as ExchangeError.
    """
    deadline = time.monotonic() + timeout_s
    with _connect(host, port, deadline, source) as connection:
        yield Exchange(connection, deadline, f"{host} port {port}")


def _connect(host: str, port: int, deadline: float, source: str) -> socket.socket:
    """Connect to the first address of *host*: the others would each take their own share of the time."""
    where = f"{host} port {port}"
    if not 0 < port <= _PORT_MAX:
        # The resolver would take the port modulo 65536 and so ask somebody else.
        raise ExchangeError(ProbeFaultCode.BAD_ADDRESS, f"{where}: no such port")
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
        return socket.create_connection((str(address[0]), port), _remaining(deadline), (source, 0) if source else None)
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise ExchangeError(ProbeFaultCode.BAD_ADDRESS, f"{where}: {error}") from None
    except TimeoutError:
        raise ExchangeError(ProbeFaultCode.NO_CONNECTION, f"{where} does not accept") from None
    except ConnectionRefusedError:
        raise ExchangeError(ProbeFaultCode.REFUSED, f"nothing listens on {where}") from None
    except OSError as error:
        code = ProbeFaultCode.CLOSED if error.errno == errno.ECONNRESET else ProbeFaultCode.UNREACHABLE
        raise ExchangeError(code, f"{where}: {error.strerror or error}") from None


class Exchange:
    """Frames over one connection, none of which is waited for beyond the deadline; every verb raises ExchangeError."""

    def __init__(self, connection: socket.socket, deadline: float, where: str) -> None:
        self._connection = connection
        self._deadline = deadline
        self._where = where

    def send(self, *frames: tuple[int, bytes]) -> None:
        """Send frames, each a type and a payload, in one piece."""
        data = b"".join(struct.pack(">II", kind, len(payload)) + payload for kind, payload in frames)
        self._connection.settimeout(_remaining(self._deadline))
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise self._fault(error) from None

    def reply(self, kind: int, news: range = range(0)) -> bytes:
        """Return the payload of the next frame of type *kind*.

        Keep-alive frames may come before it, and on a session's connection *news*: frames that nobody asked for.
        """
        for _ in range(_FRAMES_SKIPPED_MAX):
            found, length = struct.unpack(">II", self._receive(8))
            if length > _REPLY_BYTES_MAX or (found not in (kind, _NOP) and found not in news):
                detail = f"{self._where} sent a frame of type {found} and {length} bytes instead of type {kind}"
                raise ExchangeError(ProbeFaultCode.MALFORMED, detail)
            payload = self._receive(length)
            if found == kind:
                return payload
        raise ExchangeError(ProbeFaultCode.MALFORMED, f"{self._where} does not come to the answer")

    def _receive(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            if time.monotonic() >= self._deadline:
                raise self._fault(TimeoutError())
            self._connection.settimeout(_remaining(self._deadline))
            try:
                part = self._connection.recv(min(_RECEIVE_BYTES, length - len(received)))
            except OSError as error:
                raise self._fault(error) from None
            if not part:
                raise ExchangeError(ProbeFaultCode.CLOSED, f"{self._where} closed the connection")
            received += part
        return bytes(received)

    def _fault(self, error: OSError) -> ExchangeError:
        if isinstance(error, TimeoutError):
            return ExchangeError(ProbeFaultCode.NO_ANSWER, f"{self._where} accepts, but does not answer")
        return ExchangeError(ProbeFaultCode.CLOSED, f"{self._where}: {error.strerror or error}")
