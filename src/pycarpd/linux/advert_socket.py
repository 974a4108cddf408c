"""The raw socket of the adverts: IP protocol 112 on one interface, IPv4.

The kernel already drops other VHIDs and our own adverts, and on request whatever has not the shape of a member's advert
(BPF); it stamps each datagram when it arrives, and counts those that found the queue full. The source address of every
datagram sent is the member's own, because the receivers' digest covers it.
"""

import errno
import socket
import struct
from enum import Enum
from typing import NamedTuple

from pycarpd.invariant import InvariantError, invariant
from pycarpd.linux.bpf import AdvertShape, advert_filter, attach_filter
from pycarpd.linux.clock import boottime_ns, realtime_offset_ns
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.netlink import interface_index
from pycarpd.linux.stamps import StampConverter

CARP_PROTOCOL = 112

_TTL = 255
_TOS_NETWORK_CONTROL = 0xC0
_PRIORITY_INTERACTIVE = 6
_RECEIVE_BUFFER_BYTES = 1 << 20
"""Doubled by the kernel: some 2000 datagrams. A longer queue would only make adverts older before they are read."""
_DATAGRAM_BYTES_MAX = 4096
"""More than any advert; a longer datagram is cut, and refused for its length by whoever decodes it."""
_ANCILLARY_BYTES = 256
_SO_BINDTODEVICE = 25
_SO_RCVBUFFORCE = 33
_SO_RXQ_OVFL = 40
_SO_TIMESTAMPNS = 64
"""SO_TIMESTAMPNS_NEW: 64-bit seconds on every architecture."""
_IP_PKTINFO = 8
_IP_MULTICAST_ALL = 49
_NS_PER_S = 1_000_000_000


class SendResult(Enum):
    """What became of a datagram; anything but SENT means that nobody heard it."""

    SENT = "sent"
    NO_BUFFERS = "the queue of the interface is full"
    NETWORK_DOWN = "the interface is down, or the source address is not on this host"
    NO_DEVICE = "the interface does not exist any more"
    OTHER = "refused for another reason"


_SEND_RESULTS = {
    errno.ENOBUFS: SendResult.NO_BUFFERS,
    errno.EAGAIN: SendResult.NO_BUFFERS,
    errno.ENOMEM: SendResult.NO_BUFFERS,
    errno.ENETDOWN: SendResult.NETWORK_DOWN,
    errno.ENETUNREACH: SendResult.NETWORK_DOWN,
    errno.EHOSTUNREACH: SendResult.NETWORK_DOWN,
    errno.ENODEV: SendResult.NO_DEVICE,
    errno.ENXIO: SendResult.NO_DEVICE,
}


class Datagram(NamedTuple):
    """One received datagram without its IP header; ``source`` is packed, ``received_ns`` CLOCK_BOOTTIME."""

    payload: bytes
    source: bytes
    ttl: int
    received_ns: int


class AdvertSocket:
    """Sends and receives adverts of one VHID on one interface; with *shape* it hears nothing of another shape.

    ``overflow_count`` counts datagrams that found the receive queue full since the socket was opened (SO_RXQ_OVFL),
    ``receive_error_count`` errors reported by receive, ``send_errno`` is the number of the last failed send.
    """

    def __init__(self, interface: str, source: str, group: str, vhid: int, shape: AdvertShape | None = None) -> None:
        invariant(0 < vhid <= 255, f"VHID {vhid}")  # noqa: PLR2004 -- one byte on the wire
        self._interface = interface
        self._source = socket.inet_aton(source)
        self._group = socket.inet_aton(group)
        self._vhid = vhid
        self._shape = shape
        self._socket: socket.socket | None = None
        self._index = 0
        self._stamps = StampConverter(0, 0)
        self.overflow_count = 0
        self.receive_error_count = 0
        self.send_errno = 0

    def open(self) -> SystemFault | None:
        """Open the socket, closing an earlier one; the fault says what was refused, and nothing is open then."""
        self.close()
        try:
            self._socket = socket.socket(
                socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, CARP_PROTOCOL
            )
            self._configure(self._socket)
        except OSError as error:
            self.close()
            return SystemFault.of(f"open the advert socket on {self._interface}", error)
        fault = self.rejoin()
        if fault is not None:
            self.close()
        return fault

    def rejoin(self) -> SystemFault | None:
        """Bind to the interface as it exists now and join the group anew; the descriptor stays the same.

        To be called when the link or the own address has come back: switches that snoop want a new report; an
        interface that was made again has another index, which the kernel does not follow by itself; and an interface
        that has lost its last IPv4 address has lost its memberships with it.
        """
        channel = self._opened()
        try:
            index = interface_index(self._interface)
            channel.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, self._interface.encode() + b"\0")
            self._leave(channel)
            request = struct.pack("=4s4si", self._group, b"\0\0\0\0", index)
            channel.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
            channel.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        except OSError as error:
            return SystemFault.of(f"join the group on {self._interface}", error)
        self._index = index
        return None

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._opened().fileno()

    def receive(self) -> Datagram | None:
        """Return the next datagram, or None when the queue is empty; never waits and never raises for a peer's doing.

        ``received_ns`` is never later than now, and never later than the truth (see stamps).
        """
        channel = self._opened()
        asked_ns = boottime_ns()
        offset_ns = realtime_offset_ns()
        try:
            packet, ancillary, _, _ = channel.recvmsg(_DATAGRAM_BYTES_MAX, _ANCILLARY_BYTES)
        except BlockingIOError:
            self._stamps.queue_was_empty(asked_ns, offset_ns)
            return None
        except OSError:
            # ENETDOWN and the like: reported once by the kernel, and no datagram is lost by it.
            self.receive_error_count += 1
            return None
        stamp_ns = self._read_ancillary(ancillary)
        header_bytes = (packet[0] & 0x0F) * 4
        received_ns = self._stamps.received_ns(stamp_ns, asked_ns, offset_ns)
        return Datagram(packet[header_bytes:], packet[12:16], packet[8], received_ns)

    def send(self, payload: bytes, destination: str) -> SendResult:
        """Send *payload* to the group or a peer from the configured source address; never waits."""
        information = struct.pack("=i4s4s", self._index, self._source, b"\0\0\0\0")
        try:
            self._opened().sendmsg([payload], [(socket.IPPROTO_IP, _IP_PKTINFO, information)], 0, (destination, 0))
        except OSError as error:
            self.send_errno = error.errno or 0
            return _SEND_RESULTS.get(self.send_errno, SendResult.OTHER)
        return SendResult.SENT

    def close(self) -> None:
        """Give the socket back, and with it the membership; idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._index = 0

    def _opened(self) -> socket.socket:
        """Return the socket; using it before open() succeeded is a bug."""
        if self._socket is None:
            raise InvariantError("the advert socket is not open")
        return self._socket

    def _configure(self, channel: socket.socket) -> None:
        """Set what does not depend on the interface's index. The filter comes first, so that nothing slips by."""
        attach_filter(channel, advert_filter(CARP_PROTOCOL, self._vhid, self._source, self._shape))
        for level, option, value in (
            (socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES),
            (socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1),
            (socket.SOL_SOCKET, _SO_RXQ_OVFL, 1),
            (socket.IPPROTO_IP, socket.IP_TTL, _TTL),
            (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL),
            (socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0),
            (socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0),
            (socket.IPPROTO_IP, socket.IP_TOS, _TOS_NETWORK_CONTROL),
            # After the type of service, which sets a priority of its own.
            (socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY_INTERACTIVE),
        ):
            channel.setsockopt(level, option, value)
        self.overflow_count = 0
        self._stamps = StampConverter(boottime_ns(), realtime_offset_ns())

    def _leave(self, channel: socket.socket) -> None:
        """Give an earlier membership up; the kernel allows only some twenty a socket, gone interfaces included."""
        if self._index == 0:
            return
        request = struct.pack("=4s4si", self._group, b"\0\0\0\0", self._index)
        self._index = 0
        try:
            channel.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, request)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                raise

    def _read_ancillary(self, ancillary: list[tuple[int, int, bytes]]) -> int | None:
        """Return the kernel's stamp in ns of CLOCK_REALTIME, and take the overflow count over."""
        stamp_ns: int | None = None
        for level, kind, data in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("=qq", data)
                stamp_ns = seconds * _NS_PER_S + nanoseconds
            elif kind == _SO_RXQ_OVFL:
                (self.overflow_count,) = struct.unpack("=I", data)
        return stamp_ns
