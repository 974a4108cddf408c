"""The Ethernet frames that tell a network where an address lives now. Pure functions, byte for byte.

The request form is what ucarp sends (RFC 5227 calls it an announcement), the reply form what arping -A sends; some
switches and hosts believe only one of them. IPv6 has the unsolicited neighbour advertisement (RFC 4861, 7.2.6).
"""

import struct
from ipaddress import IPv6Address, ip_address

from pycarpd.linux.checksum import internet_checksum

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
BROADCAST = b"\xff" * 6

_ARP = struct.Struct(">HHBBH6s4s6s4s")
_ARP_REQUEST = 1
_ARP_REPLY = 2
_ALL_NODES = IPv6Address("ff02::1").packed
_ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"
_ICMPV6 = 58
_NEIGHBOUR_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
_TARGET_LINK_ADDRESS = 2
_HOP_LIMIT = 255


def garp_request(mac: bytes, vip: str) -> bytes:
    """Return the 42 bytes of a gratuitous ARP request: *vip* is at *mac*, asked of everybody."""
    return _garp(mac, ip_address(vip).packed, _ARP_REQUEST)


def garp_reply(mac: bytes, vip: str) -> bytes:
    """Return the 42 bytes of a gratuitous ARP reply to everybody."""
    return _garp(mac, ip_address(vip).packed, _ARP_REPLY)


def unsolicited_na(mac: bytes, vip: str) -> bytes:
    """Return the 86 bytes of an unsolicited neighbour advertisement with the override flag, to all nodes."""
    source = IPv6Address(vip).packed
    option = struct.pack(">BB6s", _TARGET_LINK_ADDRESS, 1, mac)
    body = struct.pack(">BBHI16s", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE, source) + option
    pseudo_header = source + _ALL_NODES + struct.pack(">I3xB", len(body), _ICMPV6)
    checksum = internet_checksum(pseudo_header + body)
    body = body[:2] + checksum.to_bytes(2, "big") + body[4:]
    ip_header = struct.pack(">IHBB16s16s", 0x60000000, len(body), _ICMPV6, _HOP_LIMIT, source, _ALL_NODES)
    return _ethernet(_ALL_NODES_MAC, mac, ETHERTYPE_IPV6) + ip_header + body


def _garp(mac: bytes, vip: bytes, operation: int) -> bytes:
    """Return an ARP frame whose sender and target are both *vip* at *mac*."""
    message = _ARP.pack(1, 0x0800, 6, 4, operation, mac, vip, mac, vip)
    return _ethernet(BROADCAST, mac, ETHERTYPE_ARP) + message


def _ethernet(destination: bytes, source: bytes, ethertype: int) -> bytes:
    """Return an Ethernet II header."""
    return destination + source + ethertype.to_bytes(2, "big")
