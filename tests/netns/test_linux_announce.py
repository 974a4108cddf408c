"""Announcements on a real link, checked by scapy and by the neighbour's own table."""

import socket
from typing import Any

import pytest

from pycarpd.linux.announce import Announcer, Claim
from pycarpd.linux.frames import garp_request
from pycarpd.linux.link import interface_state
from tests.netns.linux_fixtures import Lab, eventually, in_child, pair, wait_readable

pytestmark = pytest.mark.netns

VIP = "192.0.2.100"
ETH_P_ALL = 3
OTHER_MAC = bytes.fromhex("020000000099")


def listening(lab: Lab, label: str) -> socket.socket:
    with lab.inside(label):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        ear.bind(("eth0", ETH_P_ALL))
    return ear


def frames(ear: socket.socket, count: int, ethertype: bytes) -> list[Any]:
    import scapy.layers.inet6  # noqa: PLC0415 -- slow to import, wanted only here
    import scapy.layers.l2  # noqa: PLC0415 -- slow to import, wanted only here

    assert scapy.layers.inet6.IPv6 is not None
    found: list[Any] = []
    while len(found) < count:
        assert wait_readable(ear.fileno())
        frame = ear.recv(2000)
        if frame[12:14] == ethertype:
            found.append(scapy.layers.l2.Ether(frame))
    return found


def opened(lab: Lab, label: str) -> Announcer:
    with lab.inside(label):
        announcer = Announcer("eth0")
        assert announcer.open() is None
    return announcer


def mac_of(lab: Lab, label: str) -> bytes:
    with lab.inside(label):
        return interface_state("eth0").mac


def test_the_link_sees_a_request_and_a_reply_from_the_present_mac() -> None:
    with pair() as lab:

        def body() -> None:
            ear, announcer = listening(lab, "b"), opened(lab, "a")
            for _ in range(2):
                assert announcer.announce(VIP) is None
                reply, request = frames(ear, 2, b"\x08\x06")
                mac = mac_of(lab, "a").hex(":")
                assert (request["ARP"].op, reply["ARP"].op) == (1, 2)
                for frame in (request, reply):
                    assert (frame.dst, frame.src, frame["ARP"].hwsrc) == ("ff:ff:ff:ff:ff:ff", mac, mac)
                    assert (frame["ARP"].psrc, frame["ARP"].pdst) == (VIP, VIP)
                lab.ip("a", "link", "set", "eth0", "address", "02:00:00:00:00:77")

        in_child(body)


def test_the_neighbours_table_follows_the_announcement() -> None:
    with pair() as lab:

        def body() -> None:
            lab.ip("b", "neigh", "replace", VIP, "lladdr", "02:00:00:00:00:55", "dev", "eth0", "nud", "stale")
            announcer = opened(lab, "a")
            mac = mac_of(lab, "a").hex(":")
            assert eventually(
                lambda: announcer.announce(VIP) is None and mac in lab.ip("b", "neigh", "show", VIP, "dev", "eth0")
            )

        in_child(body)


def test_an_ipv6_address_is_announced_by_neighbour_advertisement() -> None:
    with pair() as lab:

        def body() -> None:
            ear, announcer = listening(lab, "b"), opened(lab, "a")
            assert announcer.announce("2001:db8::100") is None
            found = frames(ear, 1, b"\x86\xdd")
            while not found[-1].haslayer("ICMPv6 Neighbor Discovery - Neighbor Advertisement"):
                found = frames(ear, 1, b"\x86\xdd")
            advertisement = found[-1]["ICMPv6 Neighbor Discovery - Neighbor Advertisement"]
            assert (advertisement.tgt, advertisement.O) == ("2001:db8::100", 1)

        in_child(body)


def test_claims_by_others_are_heard_and_nothing_else() -> None:
    with pair() as lab:

        def body() -> None:
            announcer, mouth = opened(lab, "a"), listening(lab, "b")
            mouth.send(garp_request(OTHER_MAC, VIP))
            assert announcer.announce(VIP) is None
            assert announcer.announce("192.0.2.101") is None
            assert announcer.read_claims() == []
            mouth.send(garp_request(OTHER_MAC, "192.0.2.50"))
            mouth.send(garp_request(mac_of(lab, "a"), VIP))
            for odd in (b"", b"\xff" * 14, garp_request(OTHER_MAC, VIP)[:30]):
                mouth.send((odd + b"\0" * 14)[:14] if len(odd) < 14 else odd)
            mouth.send(garp_request(OTHER_MAC, "192.0.2.101"))
            mouth.send(garp_request(OTHER_MAC, VIP))
            assert wait_readable(announcer.fileno())
            claims = announcer.read_claims()
            while len(claims) < 2:
                assert wait_readable(announcer.fileno())
                claims += announcer.read_claims()
            assert claims == [Claim("192.0.2.101", OTHER_MAC), Claim(VIP, OTHER_MAC)]

        in_child(body)


def test_a_link_that_goes_and_comes_back() -> None:
    with pair() as lab:

        def body() -> None:
            announcer = opened(lab, "a")
            lab.ip("a", "link", "set", "eth0", "down")
            fault = announcer.announce(VIP)
            assert fault is not None
            assert fault.name == "ENETDOWN"
            assert announcer.read_claims() == []
            lab.ip("a", "link", "set", "eth0", "up")
            assert announcer.announce(VIP) is None
            listening(lab, "b").send(garp_request(OTHER_MAC, VIP))
            assert eventually(lambda: announcer.read_claims() == [Claim(VIP, OTHER_MAC)])
            lab.ip("a", "link", "del", "eth0")
            fault = announcer.announce(VIP)
            assert fault is not None
            assert fault.name in ("ENODEV", "ENXIO")
            assert announcer.read_claims() == []
            with lab.inside("a"):
                assert announcer.open() is not None
                lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24"))
                assert announcer.open() is None
            listening(lab, "b").send(garp_request(OTHER_MAC, VIP))
            assert eventually(lambda: announcer.read_claims() == [Claim(VIP, OTHER_MAC)])

        in_child(body)
