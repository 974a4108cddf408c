"""The advert socket between two hosts of real namespaces."""

import socket
import time
from pathlib import Path

import pytest

from pycarpd.linux.advert_socket import AdvertSocket, Datagram, SendResult
from pycarpd.linux.clock import boottime_ns
from tests.netns.linux_fixtures import Lab, eventually, in_child, pair, wait_readable

pytestmark = pytest.mark.netns

VHID = 10
ADVERT = bytes((0x21, VHID)) + b"x" * 34
GROUP = "224.0.0.18"


def opened(lab: Lab, label: str, vhid: int = VHID) -> AdvertSocket:
    with lab.inside(label):
        advert_socket = AdvertSocket("eth0", {"a": "192.0.2.1", "b": "192.0.2.2"}[label], GROUP, vhid)
        assert advert_socket.open() is None
    return advert_socket


def heard(receiver: AdvertSocket) -> Datagram:
    assert wait_readable(receiver.fileno())
    datagram = receiver.receive()
    assert datagram is not None
    return datagram


def raw_sender(lab: Lab, label: str, ttl: int = 255) -> socket.socket:
    with lab.inside(label):
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    return sender


def test_an_advert_arrives_with_its_source_ttl_and_stamp_by_multicast_and_unicast() -> None:
    with pair() as lab:

        def body() -> None:
            a, b = opened(lab, "a"), opened(lab, "b")
            for destination in (GROUP, "192.0.2.2"):
                before_ns = boottime_ns()
                assert a.send(ADVERT, destination) is SendResult.SENT
                datagram = heard(b)
                assert datagram.payload == ADVERT
                assert datagram.source == socket.inet_aton("192.0.2.1")
                assert datagram.ttl == 255
                assert before_ns - 1_000_000 <= datagram.received_ns <= boottime_ns()
                assert b.receive() is None
            assert a.receive() is None

        in_child(body)


def test_a_late_reader_learns_when_the_advert_arrived() -> None:
    with pair() as lab:

        def body() -> None:
            a, b = opened(lab, "a"), opened(lab, "b")
            assert b.receive() is None
            assert a.send(ADVERT, GROUP) is SendResult.SENT
            sent_ns = boottime_ns()
            time.sleep(0.5)
            datagram = heard(b)
            assert boottime_ns() - datagram.received_ns >= 400_000_000
            assert datagram.received_ns >= sent_ns - 200_000_000

        in_child(body)


def test_the_kernel_drops_foreign_vhids_and_our_own_source_but_hands_up_a_wrong_ttl() -> None:
    with pair() as lab:

        def body() -> None:
            b = opened(lab, "b")
            sender = raw_sender(lab, "a")
            sender.sendto(bytes((0x21, VHID + 1)) + b"foreign", (GROUP, 0))
            sender.sendto(b"\x21", (GROUP, 0))
            sender.sendto(b"", (GROUP, 0))
            looped = raw_sender(lab, "a")
            looped.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
            own = bytes.fromhex("45000000000000 00ff700000") + socket.inet_aton("192.0.2.2") + socket.inet_aton(GROUP)
            looped.sendto(own + ADVERT, (GROUP, 0))
            raw_sender(lab, "a", ttl=64).sendto(ADVERT, (GROUP, 0))
            datagram = heard(b)
            assert (datagram.payload, datagram.ttl) == (ADVERT, 64)
            assert b.receive() is None

        in_child(body)


def test_a_datagram_longer_than_any_advert_is_cut_and_harmless() -> None:
    with pair() as lab:

        def body() -> None:
            b = opened(lab, "b")
            raw_sender(lab, "a").sendto(ADVERT + b"y" * 9000, (GROUP, 0))
            assert 4000 < len(heard(b).payload) <= 4096

        in_child(body)


def test_the_source_is_the_configured_address_even_beside_a_virtual_one() -> None:
    with pair() as lab:
        lab.ip("a", "addr", "del", "192.0.2.1/24", "dev", "eth0")
        lab.ip("a", "addr", "add", "192.0.2.100/24", "dev", "eth0")
        lab.ip("a", "addr", "add", "192.0.2.1/24", "dev", "eth0")

        def body() -> None:
            a, b = opened(lab, "a"), opened(lab, "b")
            for destination in (GROUP, "192.0.2.2"):
                assert a.send(ADVERT, destination) is SendResult.SENT
                assert heard(b).source == socket.inet_aton("192.0.2.1")

        in_child(body)


def test_a_missing_source_address_and_a_down_interface_are_results() -> None:
    with pair() as lab:

        def body() -> None:
            lab.ip("a", "addr", "add", "198.51.100.9/24", "dev", "eth0")
            a = opened(lab, "a")
            lab.ip("a", "addr", "del", "192.0.2.1/24", "dev", "eth0")
            assert a.send(ADVERT, GROUP) is SendResult.NETWORK_DOWN
            assert a.send_errno != 0
            lab.ip("a", "addr", "flush", "dev", "eth0")
            assert a.send(ADVERT, GROUP) is not SendResult.SENT
            lab.ip("a", "addr", "add", "192.0.2.1/24", "dev", "eth0")
            lab.ip("a", "link", "set", "eth0", "down")
            assert a.send(ADVERT, GROUP) is SendResult.NETWORK_DOWN
            assert a.receive() is None
            lab.ip("a", "link", "set", "eth0", "up")
            assert eventually(lambda: a.send(ADVERT, GROUP) is SendResult.SENT)

        in_child(body)


def test_an_interface_that_was_made_again_is_joined_again_by_the_same_descriptor() -> None:
    with pair() as lab:

        def body() -> None:
            b = opened(lab, "b")
            descriptor = b.fileno()
            for _ in range(25):
                lab.ip("b", "link", "del", "eth0")
                with lab.inside("b"):
                    assert b.rejoin() is not None
                assert b.send(ADVERT, GROUP) is not SendResult.SENT
                lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24"))
                with lab.inside("b"):
                    assert b.rejoin() is None
            a = opened(lab, "a")
            assert eventually(lambda: a.send(ADVERT, GROUP) is SendResult.SENT and b.receive() is not None)
            assert b.send(ADVERT, GROUP) is SendResult.SENT
            assert heard(a).payload == ADVERT
            assert b.fileno() == descriptor

        in_child(body)


def test_the_group_is_heard_again_after_the_last_address_went_and_came_back() -> None:
    with pair() as lab:

        def body() -> None:
            a, b = opened(lab, "a"), opened(lab, "b")
            lab.ip("b", "addr", "flush", "dev", "eth0")
            lab.ip("b", "addr", "add", "192.0.2.2/24", "dev", "eth0")
            with lab.inside("b"):
                assert b.rejoin() is None
            assert eventually(lambda: a.send(ADVERT, GROUP) is SendResult.SENT and b.receive() is not None)

        in_child(body)


def test_the_membership_is_on_the_interface_and_reported_again() -> None:
    with pair() as lab:

        def body() -> str:
            b = opened(lab, "b")
            with lab.inside("b"):
                assert b.rejoin() is None
                return Path("/proc/self/net/igmp").read_text()

        groups = in_child(body)
        assert "120000E0" in groups.split("eth0")[1]


def test_datagrams_that_found_the_queue_full_are_counted() -> None:
    with pair() as lab:

        def body() -> None:
            a, b = opened(lab, "a"), opened(lab, "b")
            for _ in range(6000):
                a.send(ADVERT + b"z" * 1000, "192.0.2.2")
            while b.receive() is not None:
                pass
            a.send(ADVERT, "192.0.2.2")
            heard(b)
            assert b.overflow_count > 0

        in_child(body)


def test_opening_on_a_missing_interface_is_a_fault() -> None:
    with pair() as lab:

        def body() -> str:
            with lab.inside("a"):
                fault = AdvertSocket("nowhere0", "192.0.2.1", GROUP, VHID).open()
            assert fault is not None
            return fault.name

        assert in_child(body) == "ENODEV"
