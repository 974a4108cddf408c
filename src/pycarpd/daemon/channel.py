"""A pair of sockets that carries messages: whole ones, in order, or the news that the other side is gone.

Sending never waits: what the other side does not take is dropped and counted, unless it is essential; an essential
message that cannot be sent means that the other process does not do its work, and the channel counts as closed.
"""

import json
import socket
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
_TYPES: dict[str, Any] = {t.__name__: t for t in get_args(Message)}


class Closed(Enum):
    """What ``receive`` returns instead of a message when the other side is gone."""

    CLOSED = "closed"


class Channel:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
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
            data = self._end.recv(MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return Closed.CLOSED if self.is_closed else None
        except ConnectionError:
            data = b""
        if not data:
            self.is_closed = True
            return Closed.CLOSED
        return decode(data)

    def close(self) -> None:
        """Close this end; the other side reads end-of-file."""
        self.is_closed = True
        self._end.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new channel, to be handed to two processes."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(message: Message) -> bytes:
    """Return the message as bytes; raises InvariantError for one that the other side could not take whole."""
    data = json.dumps([type(message).__name__, _plain(message)], separators=(",", ":")).encode()
    invariant(len(data) <= MESSAGE_BYTES_MAX, f"a {type(message).__name__} of {len(data)} bytes is too long")
    return data


def decode(data: bytes) -> Message:
    """Return the message that ``encode`` made; raises InvariantError for anything else, which only a bug can send."""
    name, values = json.loads(data)
    invariant(name in _TYPES, f"no message is called {name}")
    message: Message = _restore(_TYPES[name], values)
    return message


def _plain(value: object) -> object:
    if is_dataclass(value):
        return [_plain(getattr(value, f.name)) for f in fields(value)]
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    return value


def _restore(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin in (UnionType, Union):
        return None if value is None else _restore(next(a for a in get_args(kind) if a is not NoneType), value)
    if origin is tuple:
        return _restore_tuple(get_args(kind), value)
    if is_dataclass(kind) and isinstance(kind, type):
        return kind(*(_restore(hint, each) for hint, each in zip(_hints(kind), value, strict=True)))
    if issubclass(kind, Enum):
        return kind(value)
    return bytes.fromhex(value) if kind is bytes else value


@cache
def _hints(kind: type) -> tuple[Any, ...]:
    hints = get_type_hints(kind)
    return tuple(hints[f.name] for f in fields(kind))


def _restore_tuple(kinds: tuple[Any, ...], values: list[Any]) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:  # noqa: PLR2004 - tuple[T, ...]
        return tuple(_restore(kinds[0], v) for v in values)
    return tuple(_restore(k, v) for k, v in zip(kinds, values, strict=True))
