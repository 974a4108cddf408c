"""Links: their present state on request, and their changes as they happen.

The monitor never loses a change silently: when the kernel had to drop messages it says Overrun, and the caller looks
at the whole state again (interface_state, list_addresses).
"""

import errno
import socket
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from pycarpd.linux.address import decode_address
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.netlink import NLM_F_ACK, NetlinkMessage, request, split
from pycarpd.linux.rtnetlink import ANY_FAMILY, LinkMessage, link_question, parse_link

RECEIVE_BUFFER_BYTES = 1 << 20
"""Room for about a thousand changes that nobody has read yet."""

_RTM_NEWLINK = 16
_RTM_DELLINK = 17
_RTM_GETLINK = 18
_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""
_IFF_USABLE = 0x1 | 0x40 | 0x10000
"""IFF_UP, IFF_RUNNING and IFF_LOWER_UP: wanted up, operational, and with a carrier."""
_SO_RCVBUFFORCE = 33
_RECEIVE_MAX = 65536
_READS_MAX = 64
"""Datagrams per read(); what is left keeps the descriptor readable."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """What the kernel says of an interface; index 0, no MAC and MTU 0 for one that does not exist.

    ``fault`` is set when the kernel could not be asked, which nobody can tell from an interface that is away.
    """

    exists: bool
    is_up: bool
    index: int
    mac: bytes
    mtu: int
    fault: SystemFault | None = None


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """An interface came, went, or changed; an index other than the known one means deleted and made again."""

    interface: str
    index: int
    is_up: bool
    exists: bool = True


@dataclass(frozen=True, slots=True)
class AddressAdded:
    """An address appeared or was renewed."""

    interface: str
    cidr: str


@dataclass(frozen=True, slots=True)
class AddressRemoved:
    """An address was removed by somebody, ran out, or went with its interface."""

    interface: str
    cidr: str


@dataclass(frozen=True, slots=True)
class Overrun:
    """The kernel dropped changes because they were not read in time: everything must be looked at again."""


LinkEvent = LinkChanged | AddressAdded | AddressRemoved | Overrun

_ABSENT = LinkState(exists=False, is_up=False, index=0, mac=b"", mtu=0)


def interface_state(name: str) -> LinkState:
    """Return the present state of interface *name*; one that does not exist is a state, not a fault."""
    answer = request(link_question(name), _RTM_GETLINK, NLM_F_ACK, f"look at {name}")
    if isinstance(answer, SystemFault):
        return _ABSENT if answer.errno == errno.ENODEV else replace(_ABSENT, fault=answer)
    if not answer:
        return _ABSENT
    link = parse_link(answer[0].data)
    return LinkState(True, _is_usable(link), link.interface, link.mac, link.mtu)


class LinkMonitor:
    """A netlink socket that hears of every link and address change of this network namespace.

    Raises OSError only where this process may have no further socket.
    """

    def __init__(self, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise
        # Subscribed first and listed second, so that no interface falls in between.
        self._names = dict(socket.if_nameindex())

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> list[LinkEvent]:
        """Return what has changed since the last read, in order, never waiting."""
        events: list[LinkEvent] = []
        for _ in range(_READS_MAX):
            try:
                datagram = self._socket.recv(_RECEIVE_MAX)
            except BlockingIOError:
                break
            except OSError:
                # ENOBUFS, or any other loss: the socket stays usable, but what it said is incomplete.
                self._names = dict(socket.if_nameindex())
                if not events or not isinstance(events[-1], Overrun):
                    events.append(Overrun())
                continue
            for message in split(datagram):
                event = self._event(message)
                if event is not None:
                    events.append(event)
        return events

    def close(self) -> None:
        """Give the socket back; idempotent."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _event(self, message: NetlinkMessage) -> LinkEvent | None:
        """Translate one message; None for what is not about a link or an address."""
        if message.kind in (_RTM_NEWLINK, _RTM_DELLINK):
            return self._link_event(message)
        if message.kind not in (_RTM_NEWADDR, _RTM_DELADDR):
            return None
        index, address = decode_address(message.data)
        name = self._names.get(index, "")
        event = AddressAdded if message.kind == _RTM_NEWADDR else AddressRemoved
        return event(name, address.cidr) if name else None

    def _link_event(self, message: NetlinkMessage) -> LinkChanged | None:
        """Translate a link message, unless it is a bridge's report of a port that joins or leaves it."""
        link = parse_link(message.data)
        if link.family != ANY_FAMILY:
            return None
        index, name = link.interface, link.name
        if message.kind == _RTM_DELLINK:
            self._names.pop(index, None)
            return LinkChanged(name, index, is_up=False, exists=False)
        self._names[index] = name
        return LinkChanged(name, index, is_up=_is_usable(link))


def _is_usable(link: LinkMessage) -> bool:
    """Say whether a datagram given to the interface can leave the host."""
    return link.flags & _IFF_USABLE == _IFF_USABLE
