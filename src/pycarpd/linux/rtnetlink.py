"""The two messages of the kernel's routing tables that this room speaks: addresses and links (rtnetlink(7)).

Laid out by hand, some forty lines, for a measured reason: a message object of pyroute2 0.9.7 refers to itself, so in
the heartbeat, where nothing collects garbage, each renewal of an address would leave 37 kB behind, and importing the
library brings asyncio, sqlite3 and multiprocessing into the process (27 MB and 0.2 s).
"""

import socket
import struct
from typing import NamedTuple

ANY_FAMILY = socket.AF_UNSPEC
_HEADER_BYTES = 16
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
_ADDRESS = struct.Struct("=BBBBI")
_LINK = struct.Struct("=BxHiII")
_CACHE = struct.Struct("=IIII")
_NUMBER = struct.Struct("=I")
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_CACHEINFO = 6
_IFA_FLAGS = 8
_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4


class AddressMessage(NamedTuple):
    """What an RTM_NEWADDR or RTM_DELADDR message says; ``valid_s`` is None where it says nothing of a lifetime."""

    family: int
    prefixlen: int
    flags: int
    interface: int
    address: bytes
    valid_s: int | None


class LinkMessage(NamedTuple):
    """What an RTM_NEWLINK or RTM_DELLINK message says."""

    family: int
    interface: int
    flags: int
    name: str
    mac: bytes
    mtu: int


def address_question(index: int) -> bytes:
    """Return the body that asks for the addresses of one interface."""
    return _ADDRESS.pack(ANY_FAMILY, 0, 0, 0, index)


def address_body(index: int, address: bytes, prefixlen: int) -> bytes:
    """Return the body that names one packed address on an interface."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6  # noqa: PLR2004 - the bytes of an IPv4 address
    fixed = _ADDRESS.pack(family, prefixlen, 0, 0, index)
    return fixed + _attribute(_IFA_LOCAL, address) + _attribute(_IFA_ADDRESS, address)


def address_options(flags: int, lifetime_s: int) -> bytes:
    """Return what goes after an address's body to give it flags and a lifetime, 0xffffffff for ever."""
    cache = _CACHE.pack(lifetime_s, lifetime_s, 0, 0)
    return _attribute(_IFA_FLAGS, _NUMBER.pack(flags)) + _attribute(_IFA_CACHEINFO, cache)


def link_question(name: str) -> bytes:
    """Return the body that asks for one interface by its name."""
    return _LINK.pack(ANY_FAMILY, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, name.encode() + b"\0")


def parse_address(data: bytes) -> AddressMessage:
    """Return what the kernel's message, header included, says."""
    family, prefixlen, flags, _, index = _ADDRESS.unpack_from(data, _HEADER_BYTES)
    known = _attributes(data, _HEADER_BYTES + _ADDRESS.size)
    if _IFA_FLAGS in known:
        (flags,) = _NUMBER.unpack(known[_IFA_FLAGS])
    valid_s = _CACHE.unpack(known[_IFA_CACHEINFO])[1] if _IFA_CACHEINFO in known else None
    # On a point-to-point link IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL elsewhere.
    address = known.get(_IFA_LOCAL) or known.get(_IFA_ADDRESS, b"")
    return AddressMessage(family, prefixlen, flags, index, address, valid_s)


def parse_link(data: bytes) -> LinkMessage:
    """Return what the kernel's message, header included, says."""
    family, _, index, flags, _ = _LINK.unpack_from(data, _HEADER_BYTES)
    known = _attributes(data, _HEADER_BYTES + _LINK.size)
    name = known.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
    mtu = _NUMBER.unpack(known[_IFLA_MTU])[0] if _IFLA_MTU in known else 0
    return LinkMessage(family, index, flags, name, known.get(_IFLA_ADDRESS, b""), mtu)


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def _attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """Return the attributes from *offset* on; stops at one whose length cannot be true."""
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            break
        found[kind & _TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found
