"""Requests to the kernel's routing tables: one socket, one question, one bounded answer.

A socket lives for one request, so that no error can outlast it. Everything here returns within
``REQUEST_TIMEOUT_S`` (netlink(7)).
"""

import errno
import fcntl
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.faults import SystemFault

REQUEST_TIMEOUT_S = 1.0
NS_PER_MS = 1_000_000
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_REPLACE = 0x100
NLM_F_CREATE = 0x400
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
"""The answer with a verdict: an error number, or 0 for an acknowledgement."""

_NLM_F_DUMP_INTR = 0x10
_NLM_F_ACK_TLVS = 0x200
_NLMSG_DONE = 3
_NLMSGERR_ATTR_MSG = 1
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_MAX = 65536
_SIOCGIFINDEX = 0x8933
_INTERFACE_NAME_MAX = 15
_DUMP_TRIES = 3
"""A dump that changed while it was read is read again, this often."""
_SEQUENCE = 1
"""Every request has its own socket, so one number is enough."""


@dataclass(frozen=True, slots=True)
class NetlinkMessage:
    """One message as the kernel sent it; ``data`` begins with the header."""

    kind: int
    flags: int
    data: bytes


def interface_index(name: str) -> int:
    """Return the present index of interface *name*; it changes when the interface is deleted and made again.

    Raises OSError, with ENODEV when there is no such interface. (Python's own if_nametoindex gives no number, so it
    cannot tell a missing interface from a process that is out of descriptors.)
    """
    encoded = name.encode()
    if len(encoded) > _INTERFACE_NAME_MAX:
        # The kernel would cut it, and might find another interface by what is left.
        raise OSError(errno.ENODEV, "no interface has so long a name")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        answer = fcntl.ioctl(channel, _SIOCGIFINDEX, struct.pack("16s24x", encoded))
    return int(struct.unpack("16xi20x", answer)[0])


def split(datagram: bytes) -> Iterator[NetlinkMessage]:
    """Yield the messages of *datagram*; stops at one whose length cannot be true."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, flags, _, _ = _HEADER.unpack_from(datagram, offset)
        if length < _HEADER.size or offset + length > len(datagram):
            return
        yield NetlinkMessage(kind, flags, datagram[offset : offset + length])
        offset += (length + 3) & ~3


def open_channel(family: int) -> socket.socket:
    """Return a socket to the kernel's subsystem *family* whose faults come with an explanation. Raises OSError."""
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    try:
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            channel.setsockopt(_SOL_NETLINK, option, 1)
        channel.bind((0, 0))
    except OSError:
        channel.close()
        raise
    return channel


def request(body: bytes, kind: int, flags: int, operation: str) -> tuple[NetlinkMessage, ...] | SystemFault:
    """Send a message of type *kind* to the routing tables, and return the answer up to its acknowledgement.

    ETIMEDOUT is the fault of a kernel that did not answer in time; every other number is the kernel's own.
    """
    header = _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, _SEQUENCE, 0)
    return exchange(header + body, flags, operation)


def exchange(
    encoded: bytes, flags: int, operation: str, family: int = socket.NETLINK_ROUTE
) -> tuple[NetlinkMessage, ...] | SystemFault:
    """Send the *encoded* request and return its answer; an interrupted dump is asked again, three times at most."""
    try:
        for _ in range(_DUMP_TRIES):
            answer = _ask(encoded, flags, operation, family)
            if answer is not None:
                return answer
    except OSError as error:
        return SystemFault.of(operation, error)
    return SystemFault.numbered(operation, errno.EAGAIN, "the tables changed during every dump")


def _ask(encoded: bytes, flags: int, operation: str, family: int) -> tuple[NetlinkMessage, ...] | SystemFault | None:
    """Exchange one request; None for a dump that was interrupted by a change."""
    deadline_ns = boottime_ns() + int(REQUEST_TIMEOUT_S * 1e9)
    with open_channel(family) as channel:
        channel.send(encoded)
        collected: list[NetlinkMessage] = []
        while True:
            datagram = _receive(channel, deadline_ns)
            if datagram is None:
                return SystemFault.numbered(operation, errno.ETIMEDOUT)
            for message in split(datagram):
                if message.kind == NLMSG_ERROR:
                    return fault_of(message, operation) or tuple(collected)
                is_interrupted = bool(message.flags & _NLM_F_DUMP_INTR)
                if flags & NLM_F_DUMP == NLM_F_DUMP and is_interrupted:
                    return None
                if message.kind == _NLMSG_DONE:
                    return tuple(collected)
                collected.append(message)


def _receive(channel: socket.socket, deadline_ns: int) -> bytes | None:
    """Return the next datagram, None when none comes until the deadline; mostly it is there before it is asked for."""
    while True:
        try:
            return channel.recv(_RECEIVE_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            left_ns = deadline_ns - boottime_ns()
            if left_ns <= 0:
                return None
        ready = select.poll()
        ready.register(channel, select.POLLIN)
        ready.poll(left_ns / NS_PER_MS)


def fault_of(message: NetlinkMessage, operation: str) -> SystemFault | None:
    """Return the fault that an NLMSG_ERROR carries with the kernel's explanation; None for an acknowledgement."""
    (number,) = struct.unpack_from("=i", message.data, _HEADER.size)
    if number == 0:
        return None
    detail = ""
    offset = _HEADER.size + 4 + _HEADER.size
    while message.flags & _NLM_F_ACK_TLVS and offset + _ATTRIBUTE.size <= len(message.data):
        length, kind = _ATTRIBUTE.unpack_from(message.data, offset)
        if kind == _NLMSGERR_ATTR_MSG:
            text = message.data[offset + _ATTRIBUTE.size : offset + length]
            detail = text.rstrip(b"\0").decode(errors="replace")
        offset += max((length + 3) & ~3, _ATTRIBUTE.size)
    return SystemFault.numbered(operation, -number, detail)
