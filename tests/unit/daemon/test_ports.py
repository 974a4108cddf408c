"""The heartbeat's sockets follow their interface: down and up, deleted and made again; nothing raises meanwhile."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pycarpd.daemon.messages import SEND_FAILURES
from pycarpd.daemon.ports import DRAIN_MAX, FAILURES_MAX, Ports
from pycarpd.election.model import Member, Role
from pycarpd.linux.clock import boottime_ns
from tests.netns.linux_fixtures import Lab, eventually, in_child, pair, wait_readable
from tests.unit.daemon.values import daemon_settings

pytestmark = pytest.mark.netns

VHID = 10
TRAILER = struct.pack(">HBBH", 0x7063, 1, 0, 160) + bytes(154)
PAYLOAD = bytes((0x21, VHID)) + bytes(34) + TRAILER
VIP = "192.0.2.100"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with pair() as lab:
        yield lab


class Host:
    """The ports of host a (192.0.2.1) or b (192.0.2.2)."""

    def __init__(self, address: str = "192.0.2.1") -> None:
        self.logged: list[str] = []
        settings = daemon_settings(own_address=address)
        members = tuple(Member(n, f"meta{n}", bytes([192, 0, 2, n])) for n in (1, 2))
        election = replace(settings.election, members=members, node_id=members[address == "192.0.2.2"].node_id)
        settings = replace(settings, election=election)
        self.ports = Ports(settings, lambda _level, text: self.logged.append(text))
        self.removed: list[str] = []

    def follow(self) -> None:
        """Do what the heartbeat's round does about the link."""
        removed, is_news = self.ports.removed_addresses()
        self.removed += removed
        now_ns = boottime_ns()
        is_due = self.ports.retry_ns is not None and now_ns >= self.ports.retry_ns
        if is_news or is_due:
            self.ports.refresh(now_ns)

    def comes(self, condition: Callable[[], bool], timeout_s: float = 10) -> bool:
        def is_so() -> bool:
            self.follow()
            return condition()

        return eventually(is_so, timeout_s)

    def hears(self, sender: "Host") -> bool:
        """Tell whether what the other host sends arrives here."""

        def is_heard() -> bool:
            sender.ports.send(PAYLOAD, Role.MASTER)
            return any(bytes(d.payload) == PAYLOAD for d in self.ports.datagrams())

        return eventually(is_heard)


def two(lab: Lab) -> tuple[Host, Host]:
    with lab.inside("a"):
        one = Host()
        assert one.ports.refresh(boottime_ns())
    with lab.inside("b"):
        other = Host("192.0.2.2")
        assert other.ports.refresh(boottime_ns())
    return one, other


def test_adverts_cross_and_a_second_look_changes_nothing(lab: Lab) -> None:
    def body() -> None:
        one, other = two(lab)
        assert one.ports.is_up
        assert one.hears(other)
        assert other.hears(one)
        with lab.inside("a"):
            before = one.ports.filenos()
            assert not one.ports.refresh(boottime_ns())
            assert one.ports.filenos() == before
        assert one.logged == []

    in_child(body)


def test_a_link_that_goes_down_and_up_is_noticed_and_hears_again(lab: Lab) -> None:
    def body() -> None:
        one, other = two(lab)
        with lab.inside("a"):
            for _ in range(2):
                lab.ip("a", "link", "set", "eth0", "down")
                assert wait_readable(one.ports.monitor.fileno())
                assert one.comes(lambda: not one.ports.is_up)
                assert list(one.ports.datagrams()) == []
                lab.ip("a", "link", "set", "eth0", "up")
                assert one.comes(lambda: one.ports.is_up)
                assert one.hears(other)
                assert other.hears(one)

    in_child(body)


def test_a_carrier_that_is_lost_is_a_link_that_is_down(lab: Lab) -> None:
    def body() -> None:
        one, _ = two(lab)
        with lab.inside("a"):
            lab.ip("b", "link", "set", "eth0", "down")
            assert one.comes(lambda: not one.ports.is_up)
            lab.ip("b", "link", "set", "eth0", "up")
            assert one.comes(lambda: one.ports.is_up)

    in_child(body)


def test_an_interface_that_is_deleted_and_made_again_is_opened_anew(lab: Lab) -> None:
    def body() -> None:
        one, _ = two(lab)
        with lab.inside("a"):
            lab.ip("a", "link", "del", "eth0")
            assert one.comes(lambda: not one.ports.is_up)
            assert list(one.ports.datagrams()) == []
            assert one.ports.claims() == ()
            lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24"))
            assert one.comes(lambda: one.ports.is_up)
        with lab.inside("b"):
            again = Host("192.0.2.2")
            again.ports.refresh(boottime_ns())
        assert one.hears(again)
        assert again.hears(one)

    in_child(body)


def test_an_interface_replaced_between_two_looks_counts_as_a_change(lab: Lab) -> None:
    def body() -> None:
        one, _ = two(lab)
        with lab.inside("a"):
            lab.ip("a", "link", "del", "eth0")
            lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24"))
            assert eventually(lambda: "LOWER_UP" in lab.ip("a", "link", "show", "eth0"))
            assert one.ports.refresh(boottime_ns())
            assert one.ports.is_up
            assert not one.ports.refresh(boottime_ns())

    in_child(body)


def test_without_its_own_address_a_node_fails_to_send_until_the_address_comes(lab: Lab) -> None:
    def body() -> None:
        _, other = two(lab)
        with lab.inside("a"):
            lab.ip("a", "addr", "flush", "dev", "eth0")
            one = Host()
            one.ports.refresh(boottime_ns())
            assert any(one.ports.send(PAYLOAD, Role.MASTER) for _ in range(FAILURES_MAX))
            assert one.ports.is_failing
            lab.ip("a", "addr", "add", "192.0.2.1/24", "dev", "eth0")
            assert one.comes(lambda: one.ports.send(PAYLOAD, Role.MASTER))
            assert not one.ports.is_failing
        assert other.hears(one)

    in_child(body)


def test_an_interface_that_is_not_there_yet_is_waited_for(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            lab.ip("a", "link", "del", "eth0")
            one = Host()
            one.ports.refresh(boottime_ns())
            assert not one.ports.is_up
            assert one.ports.filenos() == (one.ports.monitor.fileno(),)
            assert not one.ports.send(PAYLOAD, Role.MASTER)
            assert one.ports.announce(VIP) is None
            assert one.ports.overflow_count == 0
            lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24"))
            assert one.comes(lambda: one.ports.is_up)
            assert len(one.ports.filenos()) == 3

    in_child(body)


def test_removed_addresses_of_this_interface_are_told(lab: Lab) -> None:
    def body() -> None:
        one, _ = two(lab)
        with lab.inside("a"):
            lab.ip("a", "addr", "add", f"{VIP}/24", "dev", "eth0")
            lab.ip("a", "addr", "add", f"{VIP}/24", "dev", "lo")
            lab.ip("a", "addr", "del", f"{VIP}/24", "dev", "lo")
            lab.ip("a", "addr", "del", f"{VIP}/24", "dev", "eth0")
            assert one.comes(lambda: bool(one.removed))
            assert one.removed == [f"{VIP}/24"]

    in_child(body)


def test_failing_to_send_is_told_once_after_three_and_so_is_the_recovery(lab: Lab) -> None:
    def body() -> None:
        one, _ = two(lab)
        with lab.inside("a"):
            lab.ip("a", "link", "set", "eth0", "down")
            told = [one.ports.send(PAYLOAD, Role.MASTER) for _ in range(2 * FAILURES_MAX)]
            assert told == [n == FAILURES_MAX for n in range(1, 2 * FAILURES_MAX + 1)]
            assert one.ports.is_failing
            assert dict(one.ports.counters())[SEND_FAILURES] == len(told)
            lab.ip("a", "link", "set", "eth0", "up")
            assert eventually(lambda: "LOWER_UP" in lab.ip("a", "link", "show", "eth0"))
            one.ports.refresh(boottime_ns())
            assert eventually(lambda: one.ports.send(PAYLOAD, Role.MASTER))
            assert not one.ports.is_failing

    in_child(body)


def test_another_hosts_claim_of_an_announced_address_is_heard(lab: Lab) -> None:
    def body() -> None:
        one, other = two(lab)
        assert one.ports.announce(VIP) is None
        claims: list[str] = []

        def is_heard() -> bool:
            assert other.ports.announce(VIP) is None
            claims.extend(claim.vip for claim in one.ports.claims())
            return VIP in claims

        assert eventually(is_heard)

    in_child(body)


def test_where_ucarp_may_listen_only_claims_go_to_the_group(lab: Lab) -> None:
    def body() -> None:
        settings = daemon_settings(own_address="192.0.2.1")
        settings = replace(settings, election=replace(settings.election, strict=False))
        _, other = two(lab)
        with lab.inside("a"):
            mixed = Ports(settings, lambda _level, _text: None)
            mixed.refresh(boottime_ns())
            mixed.send(PAYLOAD, Role.BACKUP)
            marked = PAYLOAD[:-1] + b"\x01"
            mixed.send(marked, Role.MASTER)
        heard: list[bytes] = []

        def is_claim_heard() -> bool:
            heard.extend(bytes(d.payload) for d in other.ports.datagrams())
            return marked in heard

        assert eventually(is_claim_heard)
        assert heard == [marked]

    in_child(body)


def test_datagrams_that_found_no_room_are_told_once(lab: Lab) -> None:
    def body() -> None:
        one, other = two(lab)
        assert one.hears(other)
        assert not one.ports.has_lost_datagrams()
        for _ in range(DRAIN_MAX + 1000):
            other.ports.send(PAYLOAD, Role.MASTER)
        kept = sum(1 for _ in one.ports.datagrams())
        assert 500 < kept < DRAIN_MAX, "one round takes whatever the queue can hold"
        assert one.hears(other)
        assert one.ports.has_lost_datagrams()
        assert not one.ports.has_lost_datagrams()

    in_child(body)
