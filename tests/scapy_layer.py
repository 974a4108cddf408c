"""CARP with the trailer as scapy layers, and its keys with the standard library: the independent decoder.

Written from the layout and sharing no line with the daemon, so that a mistake in one of the two shows. Tests dissect
and forge with it; importing it makes scapy dissect protocol 112 as CARP.
"""

import hashlib
import hmac
from typing import Any, cast

from scapy.fields import (
    BitField,
    ByteField,
    FieldLenField,
    IntField,
    IPField,
    LongField,
    PacketListField,
    ShortField,
    StrFixedLenField,
    StrLenField,
    XByteField,
    XLongField,
    XShortField,
    XStrFixedLenField,
)
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.vrrp import VRRP, VRRPv3
from scapy.packet import Packet, bind_layers, split_layers
from scapy.utils import checksum

MULTICAST_MAC = "01:00:5e:00:00:12"
GROUP = "224.0.0.18"
PROTOCOL = 112
CARP_SIZE = 36
MAC_SIZE = 32


class AckEntry(Packet):
    name = "ack"
    fields_desc = [XLongField("node_id", 0), XLongField("nonce", 0), LongField("sequence", 0)]  # noqa: RUF012 (scapy wants a list)

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return b"", s


class ConnectionEntry(Packet):
    name = "connection"
    fields_desc = [IPField("address", "192.0.2.0"), ShortField("port", 0), ShortField("service_port", 0)]  # noqa: RUF012 (scapy wants a list)

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return b"", s


class Extension(Packet):
    name = "extension"
    fields_desc = [  # noqa: RUF012 (scapy wants a list)
        ShortField("kind", 1),
        FieldLenField("size", None, length_of="value", fmt="H"),
        StrLenField("value", b"", length_from=lambda packet: packet.size),
    ]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return b"", s

    def connections(self) -> list[Packet]:
        value = cast("bytes", self.value)
        return [ConnectionEntry(value[at : at + 8]) for at in range(0, len(value), 8)]


class Trailer(Packet):
    name = "pycarpd trailer"
    fields_desc = [  # noqa: RUF012 (scapy wants a list)
        XShortField("magic", 0x7063),
        BitField("generation", 0, 4),
        BitField("revision", 1, 4),
        XByteField("key_id", 0),
        ShortField("trailer_length", None),
        ByteField("role", 1),
        ByteField("priority", 100),
        XLongField("node_id", 0),
        LongField("epoch", 0),
        LongField("sequence", 0),
        XLongField("nonce", 0),
        LongField("term", 0),
        LongField("served_term", 0),
        IntField("interval_us", 250_000),
        IntField("hold_ms", 0),
        XLongField("metaid", 0),
        LongField("metadata_version", 0),
        LongField("proved_version", 0),
        IntField("drill_age_s", 0),
        IntField("freshness_age_ms", 0),
        XShortField("flags", 0),
        ShortField("demotion", 0),
        LongField("vote_term", 0),
        XLongField("vote_for", 0),
        XLongField("config_digest", 0),
        FieldLenField("ack_count", None, count_of="acks", fmt="B"),
        StrFixedLenField("reserved", bytes(3), 3),
        PacketListField("acks", [], AckEntry, count_from=lambda packet: packet.ack_count),
        PacketListField(
            "extensions",
            [],
            Extension,
            length_from=lambda packet: packet.trailer_length - 128 - 24 * packet.ack_count - MAC_SIZE,
        ),
        XStrFixedLenField("mac", bytes(MAC_SIZE), MAC_SIZE),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.trailer_length is None:
            pkt = pkt[:4] + len(pkt).to_bytes(2, "big") + pkt[6:]
        return pkt + pay


class Carp(Packet):
    name = "CARP"
    fields_desc = [  # noqa: RUF012 (scapy wants a list)
        BitField("version", 2, 4),
        BitField("type", 1, 4),
        ByteField("vhid", 1),
        ByteField("advskew", 0),
        ByteField("authlen", 7),
        ByteField("demote", 0),
        ByteField("advbase", 1),
        XShortField("checksum", None),
        XLongField("counter", 0),
        XStrFixedLenField("digest", bytes(20), 20),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.checksum is None:
            pkt = pkt[:6] + checksum(pkt).to_bytes(2, "big") + pkt[8:]
        return pkt + pay


split_layers(IP, VRRP)
split_layers(IP, VRRPv3)
split_layers(IPv6, VRRPv3)
bind_layers(IP, Carp, proto=PROTOCOL)
bind_layers(IPv6, Carp, nh=PROTOCOL)
bind_layers(Carp, Trailer)


def hkdf(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-SHA256 of RFC 5869 with the salt of the key file's format."""
    extracted = hmac.digest(b"pycarpd", secret, "sha256")
    output = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + label + bytes([number]), "sha256")
        output += block
    return output[:length]


class Keys:
    """The keys that a line of the key file stands for."""

    def __init__(self, line: str) -> None:
        secret = bytes.fromhex(line)
        self.key_id = hkdf(secret, b"pycarpd key id 1", 1)[0]
        self.trailer = hkdf(secret, b"pycarpd trailer hmac-sha256 1", 32)
        self.carp = hkdf(secret, b"pycarpd carp hmac-sha1 1", 20)


def carp_digest(password: bytes, vhid: int, virtual_address: bytes, counter: int) -> bytes:
    """The digest of the CARP header, its inner and outer pad written out."""
    padded = password.ljust(64, b"\0")
    message = bytes([2, 1, vhid]) + virtual_address + counter.to_bytes(8, "big")
    inner = hashlib.sha1(bytes(byte ^ 0x36 for byte in padded) + message).digest()  # noqa: S324 (CARP's own)
    return hashlib.sha1(bytes(byte ^ 0x5C for byte in padded) + inner).digest()  # noqa: S324 (CARP's own)


def trailer_mac(keys: Keys, source: bytes, payload: bytes) -> bytes:
    """The MAC that should end *payload*, a datagram from the packed address *source*."""
    return hmac.digest(keys.trailer, source + payload[:-MAC_SIZE], "sha256")


def forge(carp: Any, trailer: Any, keys: Keys, source: bytes, virtual_address: bytes) -> bytes:
    """The bytes of both layers with key id, length, digest, checksum and MAC filled in."""
    carp.counter = (trailer.epoch & 0xFFFFFFFF) << 32 | (trailer.sequence & 0xFFFFFFFF)
    carp.digest = carp_digest(keys.carp, carp.vhid, virtual_address, carp.counter)
    trailer.key_id = keys.key_id
    payload = bytes(carp / trailer)
    return payload[:-MAC_SIZE] + trailer_mac(keys, source, payload)
