"""Waking the peers of a master that vanished, as CTDB does: one senseless TCP segment each, sent from the VIP.

A peer of a dead master waits for its time-out. A bare ACK with sequence numbers that cannot be right makes its kernel
answer with the right ones (RFC 5961, challenge ACK); the new host's kernel, which knows no such connection, resets
it, and the peer reconnects at once. Harmless to a connection that is alive: both ends just confirm where they are.
"""

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from pycarpd.linux.checksum import internet_checksum
from pycarpd.linux.faults import SystemFault

TICKLES_MAX = 4096
"""Segments per call."""

_IP = struct.Struct(">BBHHHBBH4s4s")
_TCP = struct.Struct(">HHIIBBHHH")
_IPV4 = 4
_TTL = 64
_ACK = 0x10
_HEADER_WORDS = 5 << 4
_WINDOW = 1024


@dataclass(frozen=True, slots=True)
class TickleResult:
    """How many segments left, how many did not, and why the last of those did not."""

    sent: int
    failed: int
    fault: SystemFault | None


def is_ipv4(address: str) -> bool:
    """Tell whether segments can be made in the name of an address: IPv4 only."""
    return ip_address(address).version == _IPV4


def tickle_segment(vip: bytes, service_port: int, address: bytes, port: int) -> bytes:
    """Return the IPv4 packet of 40 bytes: an ACK from *vip*:*service_port* with sequence and acknowledgement 0.

    The IP header's checksum and identification are left to the kernel (raw(7), IP_HDRINCL).
    """
    tcp = _TCP.pack(service_port, port, 0, 0, _HEADER_WORDS, _ACK, _WINDOW, 0, 0)
    pseudo_header = vip + address + struct.pack(">HH", socket.IPPROTO_TCP, len(tcp))
    checksum = internet_checksum(pseudo_header + tcp)
    tcp = _TCP.pack(service_port, port, 0, 0, _HEADER_WORDS, _ACK, _WINDOW, checksum, 0)
    return _IP.pack(0x45, 0, _IP.size + len(tcp), 0, 0, _TTL, socket.IPPROTO_TCP, 0, vip, address) + tcp


def send_tickles(vip: str, connections: Iterable[tuple[bytes, int, int]]) -> TickleResult:
    """Send one segment to each (packed address, port, service port), at most TICKLES_MAX; never waits.

    The VIP must be on this host, and its service ports must be let in, or the peers' answers meet nobody.
    """
    source = socket.inet_aton(vip)
    sent = failed = 0
    fault: SystemFault | None = None
    try:
        channel = socket.socket(
            socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW
        )
    except OSError as error:
        return TickleResult(0, 0, SystemFault.of("open a raw socket", error))
    with channel:
        for _, (address, port, service_port) in zip(range(TICKLES_MAX), connections, strict=False):
            destination = socket.inet_ntoa(address)
            try:
                channel.sendto(tickle_segment(source, service_port, address, port), (destination, 0))
                sent += 1
            except OSError as error:
                failed += 1
                fault = SystemFault.of(f"tickle {destination}", error)
    return TickleResult(sent, failed, fault)
