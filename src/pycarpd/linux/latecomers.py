"""Connections that are asked for before anybody listens: seen, kept, and asked for again the moment somebody does.

A peer that opens a connection waits a whole second before it says so again, and a chunkserver gives up by then. So
while the gate drops their SYNs a packet socket keeps them, which sees packets before any filter does; when mfsmaster
listens they are put back into this host's own stack through the loopback interface, as if they had just arrived. The
answer goes to the real peer. Where a strict reverse path filter refuses that (rp_filter = 1 for lo), nothing is lost
but the second.
"""

import socket
import struct
import threading
from dataclasses import dataclass

from pycarpd.linux.bpf import attach_filter, syn_filter
from pycarpd.linux.checksum import internet_checksum
from pycarpd.linux.faults import SystemFault

KEPT_MAX = 4096
"""Connections; who comes later is not kept and asks again by himself."""

_ETH_P_IP = 0x0800
_PACKET_BYTES_MAX = 256
"""A SYN has 40 to 120 bytes."""
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
_SO_RCVBUFFORCE = 33
_TCP_CHECKSUM_OFFSET = 16
_TCP_BYTES_MIN = 20
_LOOPBACK = ("lo", _ETH_P_IP, 0, 772, bytes(6))
"""Interface, protocol, PACKET_HOST, ARPHRD_LOOPBACK, hardware address: packet(7)."""


@dataclass(frozen=True, slots=True)
class Released:
    """How many connections were asked for again, and what went wrong with the last that could not be."""

    count: int
    fault: SystemFault | None


class Latecomers:
    """Keeps the SYNs to *ports* of one IPv4 VIP from open() to release(); used by one thread at a time."""

    def __init__(self, vip: str, ports: tuple[int, ...]) -> None:
        self._vip = socket.inet_aton(vip)
        self._ports = ports
        self._channel: socket.socket | None = None

    def open(self) -> SystemFault | None:
        """Begin to keep them; open already is success."""
        if self._channel is not None:
            return None
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            channel = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_IP))
        except OSError as error:
            return SystemFault.of("open a packet socket", error)
        try:
            attach_filter(channel, syn_filter(self._vip, self._ports))
            channel.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        except OSError as error:
            channel.close()
            return SystemFault.of("keep connections that come too early", error)
        _drained(channel)  # whatever came before the filter was there
        self._channel = channel
        return None

    def release(self) -> Released:
        """Let the kept SYNs arrive now, the newest of each connection, and keep no more."""
        channel, self._channel = self._channel, None
        if channel is None:
            return Released(0, None)
        count, fault = 0, None
        for packet in _drained(channel):
            try:
                channel.sendto(packet, _LOOPBACK)
                count += 1
            except OSError as error:
                fault = SystemFault.of("put a SYN back", error)
        # Closing waits until no processor can see the socket any more: some tens of milliseconds that nobody needs.
        threading.Thread(target=channel.close, name="close", daemon=True).start()
        return Released(count, fault)

    def close(self) -> None:
        """Forget them."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


def _drained(channel: socket.socket) -> tuple[bytes, ...]:
    """Return what waits in the queue, one whole packet a connection."""
    kept: dict[bytes, bytes] = {}
    for _ in range(KEPT_MAX):
        try:
            packet = channel.recv(_PACKET_BYTES_MAX)
        except OSError:  # empty, or the interface is gone: what was taken so far is what there is
            break
        whole = with_tcp_checksum(packet)
        if whole is not None:
            header = (packet[0] & 0xF) * 4
            kept[packet[12:16] + packet[header : header + 4]] = whole
    return tuple(kept.values())


def with_tcp_checksum(packet: bytes) -> bytes | None:
    """Return the IPv4 packet, without padding and with its TCP checksum made whole; None when it is cut short.

    A packet of another container or virtual machine on the same host is captured before anybody computed it.
    """
    header, length = (packet[0] & 0xF) * 4, int.from_bytes(packet[2:4])
    if len(packet) < length or length < header + _TCP_BYTES_MIN:
        return None
    segment = bytearray(packet[header:length])
    segment[_TCP_CHECKSUM_OFFSET : _TCP_CHECKSUM_OFFSET + 2] = b"\0\0"
    pseudo_header = packet[12:20] + struct.pack(">HH", socket.IPPROTO_TCP, len(segment))
    checksum = internet_checksum(pseudo_header + segment)
    segment[_TCP_CHECKSUM_OFFSET : _TCP_CHECKSUM_OFFSET + 2] = checksum.to_bytes(2)
    return packet[:header] + bytes(segment)
