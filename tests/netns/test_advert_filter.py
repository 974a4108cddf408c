"""What the kernel keeps from a strict group's socket, and that it keeps nothing genuine from it."""

import socket
import struct

import pytest

from pycarpd.linux.advert_socket import AdvertSocket
from pycarpd.linux.bpf import AdvertShape
from tests.netns.linux_fixtures import in_child, pair, wait_readable

pytestmark = pytest.mark.netns

VHID = 10
GROUP = "224.0.0.18"
MEMBERS = ("192.0.2.1", "192.0.2.7", "192.0.2.9")
MARK = 0x7063
SHORTEST = 196
SHAPE = AdvertShape(tuple(socket.inet_aton(m) for m in MEMBERS), SHORTEST, 36, MARK, 40, 36)


def payload(*, vhid: int = VHID, mark: int = MARK, length: int = SHORTEST, says: int | None = None) -> bytes:
    trailer = struct.pack("!HBBH", mark, 1, 0, length - 36 if says is None else says)
    return (bytes((0x21, vhid)) + bytes(34) + trailer + bytes(2000))[:length]


def packet(body: bytes, *, source: str = MEMBERS[0], ttl: int = 255, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0xC0, 0, 0, 0, ttl, 112, 0)
    return head + socket.inet_aton(source) + socket.inet_aton(GROUP) + options + body


GENUINE = {
    "the shortest": packet(payload()),
    "a long one": packet(payload(length=1400)),
    "the last member's": packet(payload(), source=MEMBERS[-1]),
    "with IP options": packet(payload(), options=b"\x01\x01\x01\x00"),
}
JUNK = {
    "another group's": packet(payload(vhid=VHID + 1)),
    "a stranger's": packet(payload(), source="192.0.2.66"),
    "our own": packet(payload(), source="192.0.2.2"),
    "routed": packet(payload(), ttl=254),
    "a byte short": packet(payload(length=SHORTEST - 1)),
    "cut": packet(payload(length=1400, says=1400)),
    "longer than it says": packet(payload(length=300, says=SHORTEST - 36)),
    "without a trailer": packet(payload(length=36)),
    "with another trailer": packet(payload(mark=MARK + 1)),
    "empty": packet(b""),
    "VRRP": packet(bytes.fromhex("210a640100010000c0000264")),
}


def test_only_what_has_the_shape_of_a_members_advert_is_handed_up() -> None:
    with pair() as lab:

        def body() -> list[bytes]:
            with lab.inside("b"):
                receiver = AdvertSocket("eth0", "192.0.2.2", GROUP, VHID, SHAPE)
                assert receiver.open() is None
            with lab.inside("a"):
                sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
            heard = []
            for each in (*JUNK.values(), *GENUINE.values()):
                sender.sendto(each, (GROUP, 0))
            while wait_readable(receiver.fileno(), 0.5) and (datagram := receiver.receive()) is not None:
                heard.append(datagram.payload)
            return heard

        heard = in_child(body)
    assert heard == [each[(each[0] & 0xF) * 4 :] for each in GENUINE.values()]
