"""A pair of sockets that carries messages: whole ones, in order, or the news that the other side is gone.

Sending never waits: what the other side does not take is dropped and counted, unless it is essential; an essential
message that cannot be sent means that the other process does not do its work, and the channel counts as closed.
"""

import json
import socket
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pycarpd.daemon import messages
from pycarpd.daemon.messages import LogNews, Message, StatusNews
from pycarpd.invariant import invariant

MESSAGE_BYTES_MAX = 256 * 1024
"""A PromoteRequest with every connection the heartbeat keeps stays well below this."""
BUFFER_BYTES = 1024 * 1024
_DROPPABLE = (LogNews, StatusNews, messages.ConnectionsNews)
_AS_IT_IS = (bool, str, NoneType)
_to_json = json.JSONEncoder(separators=(",", ":")).encode


class Closed(Enum):
    """What ``receive`` returns instead of a message when the other side is gone."""

    CLOSED = "closed"


class Channel:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self._room = memoryview(bytearray(MESSAGE_BYTES_MAX))
        self.is_closed = False
        self.dropped = 0

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._end.fileno()

    def send(self, message: Message) -> None:
        """Send the message, or drop it if it is only news; never waits, never raises. Any thread may send."""
        if self.is_closed:
            return
        try:
            self._end.send(encode(message))
        except (BlockingIOError, OSError) as error:
            is_full = isinstance(error, BlockingIOError)
            if is_full and isinstance(message, _DROPPABLE):
                self.dropped += 1
            else:
                self.is_closed = True

    def receive(self) -> Message | Closed | None:
        """Return the next message, None when there is none at the moment, Closed.CLOSED when there never will be."""
        try:
            length = self._end.recv_into(self._room)
        except BlockingIOError:
            return Closed.CLOSED if self.is_closed else None
        except ConnectionError:
            length = 0
        if not length:
            self.is_closed = True
            return Closed.CLOSED
        return decode(bytes(self._room[:length]))

    def close(self) -> None:
        """Close this end; the other side reads end-of-file."""
        self.is_closed = True
        self._end.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new channel, to be handed to two processes."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(message: Message) -> bytes:
    """Return the message as bytes; raises InvariantError for one that the other side could not take whole."""
    data = _to_json([type(message).__name__, _plain(message)]).encode()
    invariant(len(data) <= MESSAGE_BYTES_MAX, f"a {type(message).__name__} of {len(data)} bytes is too long")
    return data


def decode(data: bytes) -> Message:
    """Return the message that ``encode`` made; raises InvariantError for anything else, which only a bug can send."""
    name, values = json.loads(data)
    invariant(name in _RESTORERS, f"no message is called {name}")
    message: Message = _RESTORERS[name](values)
    return message


def _plain(value: object) -> object:
    if isinstance(value, _AS_IT_IS):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, name)) for name in _names(type(value))]
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    return value


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


@cache
def _restorer(kind: Any) -> Callable[[Any], Any]:
    """Return what makes a value of that type of its plain form."""
    origin = get_origin(kind)
    if origin in (UnionType, Union):
        inner = _restorer(next(a for a in get_args(kind) if a is not NoneType))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _tuple_restorer(get_args(kind))
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        parts = tuple(_restorer(hints[name]) for name in _names(kind))
        return lambda values: kind(*[part(each) for part, each in zip(parts, values, strict=True)])
    if issubclass(kind, Enum):
        made: Callable[[Any], Any] = kind
        return made
    return bytes.fromhex if kind is bytes else _as_it_is


def _tuple_restorer(kinds: tuple[Any, ...]) -> Callable[[Any], Any]:
    parts = tuple(_restorer(each) for each in kinds if each is not Ellipsis)
    if Ellipsis in kinds:  # tuple[T, ...]
        return lambda values: tuple(map(parts[0], values))
    return lambda values: tuple(part(each) for part, each in zip(parts, values, strict=True))


def _as_it_is(value: Any) -> Any:
    return value


_RESTORERS: dict[str, Callable[[Any], Any]] = {kind.__name__: _restorer(kind) for kind in get_args(Message)}
"""Worked out when the process starts: what an election waits for is the first message of its kind, often for weeks."""
