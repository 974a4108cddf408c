"""The virtual address in a real namespace: put, renewed, gone by itself, put back, found when stale, taken away."""

import errno
import ipaddress
import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pycarpd.daemon import vip
from pycarpd.daemon.fencing import FenceKeeper
from pycarpd.daemon.vip import ANNOUNCE_EVERY_NS, SECOND_ANNOUNCEMENT_NS, VipKeeper
from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.link import AddressRemoved, LinkMonitor
from tests.netns.linux_fixtures import Lab, eventually, in_child, pair

pytestmark = pytest.mark.netns

VIPS = ("192.0.2.100/24", "2001:db8::100/64")
NS_PER_S = 1_000_000_000


@pytest.fixture
def lab() -> Iterator[Lab]:
    with pair() as lab:
        yield lab


class Kept:
    """A keeper of two addresses on host a, with what it announced and logged."""

    def __init__(self, interface: str = "eth0", cidrs: tuple[str, ...] = VIPS) -> None:
        self.announced: list[str] = []
        self.fault: SystemFault | None = None
        self.logged: list[str] = []
        self.fence = FenceKeeper(interface, tuple(str(ipaddress.ip_interface(c).ip) for c in cidrs), self._log)
        self.keeper = VipKeeper(interface, cidrs, self._announce, self._log, self.fence)

    def _log(self, _level: int, text: str) -> None:
        self.logged.append(text)

    def _announce(self, address: str) -> SystemFault | None:
        self.announced.append(address)
        return self.fault

    def lease(self, seconds: float) -> None:
        now_ns = boottime_ns()
        self.keeper.renew(now_ns + int(seconds * NS_PER_S), now_ns)

    def attach(self, lease_s: float) -> bool:
        self.lease(lease_s)
        return self.keeper.attach(boottime_ns())


def lifetimes(lab: Lab) -> dict[str, int]:
    """Return the valid lifetime of each global address on host a, as ip(8) sees it."""
    (link,) = json.loads(lab.ip("a", "-j", "addr", "show", "dev", "eth0"))
    return {f"{i['local']}/{i['prefixlen']}": i["valid_life_time"] for i in link["addr_info"] if i["scope"] == "global"}


def is_gone(lab: Lab) -> bool:
    return not set(VIPS) & set(lifetimes(lab))


def test_attaching_puts_every_address_with_a_short_life_and_announces_it(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept()
            assert not kept.keeper.is_present()
            assert kept.attach(1.0)
            assert kept.keeper.is_attached
            assert kept.keeper.is_present()
            assert all(1 <= lifetimes(lab)[cidr] <= 2 for cidr in VIPS)
            assert kept.announced == ["192.0.2.100", "2001:db8::100"]
            kept.keeper.detach()
            assert not kept.keeper.is_attached
            assert is_gone(lab)
            assert kept.logged == []
            assert "192.0.2.1/24" in lifetimes(lab)

    in_child(body)


def test_what_was_prepared_is_put_with_one_question_and_looked_at_after_the_announcement(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept()
            kept.keeper.prepare()
            announced: list[list[str]] = []
            monkeypatch.setattr(vip, "add_address", lambda *_: announced.append(list(kept.announced)))
            assert kept.attach(1.0)
            assert kept.keeper.is_present()
            assert all(1 <= lifetimes(lab)[cidr] <= 2 for cidr in VIPS)
            assert announced == [["192.0.2.100", "2001:db8::100"]] * 2
            assert kept.announced == ["192.0.2.100", "2001:db8::100"]

    in_child(body)


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_what_was_prepared_for_another_interface_is_no_fault(lab: Lab, is_forgotten: bool) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept()
            kept.keeper.prepare()
            kept.keeper._placements = tuple(replace(each, index=999) for each in kept.keeper._placements)
            if is_forgotten:
                kept.keeper.forget()
                kept.keeper.prepare()
                assert all(each.index != 999 for each in kept.keeper._placements)
            assert kept.attach(1.0)
            assert kept.keeper.is_present()
            assert kept.announced == ["192.0.2.100", "2001:db8::100"]
            assert kept.logged == []

    in_child(body)


def test_an_address_that_could_not_be_put_is_not_called_attached(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept("absent0")
            assert not kept.attach(1.0)
            assert not kept.keeper.has_address
            whole = Kept()
            assert whole.attach(1.0)
            assert whole.keeper.has_address
            whole.keeper.detach()
            assert not whole.keeper.has_address

    in_child(body)


def test_without_renewal_the_kernel_takes_the_addresses_away_soon_after_the_lease(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept()
            kept.attach(0.7)
            for _ in range(8):
                time.sleep(0.5)
                kept.lease(0.7)
                assert not is_gone(lab)
            stopped = time.monotonic()
            assert eventually(lambda: is_gone(lab), 8)
            assert time.monotonic() - stopped < 5

    in_child(body)


def test_a_long_lease_lives_as_long_as_it_says_and_a_shorter_one_shortens_it(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept()
            kept.attach(10)
            assert all(9 <= lifetimes(lab)[cidr] <= 11 for cidr in VIPS)
            time.sleep(0.6)
            kept.lease(1)
            assert all(lifetimes(lab)[cidr] <= 2 for cidr in VIPS)

    in_child(body)


def test_renewing_puts_nothing_where_nothing_is_attached(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept()
            kept.lease(10)
            kept.keeper.announce(0, boottime_ns())
            kept.keeper.announce(1, boottime_ns())
            kept.keeper.on_time(boottime_ns() + 10**12)
            assert is_gone(lab)
            assert kept.announced == []
            assert kept.keeper.next_deadline() is None

    in_child(body)


@pytest.mark.parametrize("cidr", VIPS)
def test_an_address_removed_by_hand_is_put_back_and_announced(lab: Lab, cidr: str) -> None:
    def body() -> None:
        with lab.inside("a"), LinkMonitor() as monitor:
            kept = Kept()
            kept.attach(5)
            kept.announced.clear()
            monitor.read()
            lab.ip("a", "addr", "del", cidr, "dev", "eth0")
            seen: list[str] = []

            def is_heard() -> bool:
                seen.extend(e.cidr for e in monitor.read() if isinstance(e, AddressRemoved))
                return cidr in seen

            assert eventually(is_heard)
            kept.keeper.on_removed(cidr, boottime_ns())
            assert kept.keeper.is_present()
            assert str(ipaddress.ip_interface(cidr).ip) in kept.announced
            assert any("removed by somebody else" in text for text in kept.logged)

    in_child(body)


def test_an_address_that_the_kernel_took_away_is_back_only_with_a_new_lease(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept()
            kept.attach(3.5)
            assert eventually(lambda: is_gone(lab))
            for cidr in VIPS:
                kept.keeper.on_removed(cidr, boottime_ns())
            assert is_gone(lab)
            assert all("was not renewed in time" in text for text in kept.logged)
            kept.lease(3.5)
            assert kept.keeper.is_present()

    in_child(body)


def test_an_address_that_is_not_ours_or_not_wanted_any_more_stays_away(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept()
            kept.keeper.on_removed(VIPS[0], boottime_ns())
            assert is_gone(lab)
            kept.attach(5)
            kept.announced.clear()
            kept.keeper.on_removed("192.0.2.7/24", boottime_ns())
            assert kept.announced == []
            kept.keeper.detach()
            kept.keeper.on_removed(VIPS[0], boottime_ns())
            assert is_gone(lab)

    in_child(body)


def test_an_address_that_an_earlier_run_left_for_ever_is_found_and_taken_away(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            lab.ip("a", "addr", "add", VIPS[0], "dev", "eth0")
            kept = Kept()
            assert not kept.keeper.is_present(), "one of two is not all"
            lab.ip("a", "addr", "add", "2001:db8::100/128", "dev", "eth0", "nodad")
            assert kept.keeper.is_present(), "whoever put it there, whatever its prefix"
            kept.keeper.detach()
            assert VIPS[0] not in lifetimes(lab)

    in_child(body)


def test_a_stale_address_gets_a_finite_life_when_it_is_taken_over(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            lab.ip("a", "addr", "add", VIPS[0], "dev", "eth0")
            kept = Kept()
            kept.attach(1)
            assert lifetimes(lab)[VIPS[0]] <= 2
            assert eventually(lambda: is_gone(lab), 8)

    in_child(body)


def test_an_announcement_that_could_not_be_sent_is_tried_again_soon_and_then_more_rarely(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept(cidrs=VIPS[:1])
            kept.fault = SystemFault.numbered("announce", errno.ENOBUFS, "192.0.2.100")
            now_ns = boottime_ns()
            kept.keeper.renew(now_ns + 5 * NS_PER_S, now_ns)
            kept.keeper.attach(now_ns)
            waited = []
            for _ in range(8):
                due_ns = kept.keeper.next_deadline()
                assert due_ns is not None
                waited.append((due_ns - now_ns) // 1_000_000)
                now_ns = due_ns
                kept.keeper.on_time(now_ns)
            assert waited == [20, 40, 80, 160, 320, 640, 1000, 1000]
            assert len(kept.announced) == len(kept.logged) == 9
            kept.fault = None
            now_ns = kept.keeper.next_deadline() or 0
            kept.keeper.on_time(now_ns)
            assert kept.keeper.next_deadline() == now_ns + SECOND_ANNOUNCEMENT_NS
            kept.keeper.on_time(now_ns + SECOND_ANNOUNCEMENT_NS)
            assert kept.keeper.next_deadline() == now_ns + SECOND_ANNOUNCEMENT_NS + ANNOUNCE_EVERY_NS

    in_child(body)


def test_announcements_come_at_once_after_a_second_and_each_minute(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept(cidrs=VIPS[:1])
            kept.lease(5)
            now_ns = boottime_ns()
            kept.keeper.attach(now_ns)
            assert kept.keeper.next_deadline() == now_ns + SECOND_ANNOUNCEMENT_NS
            kept.keeper.on_time(now_ns + SECOND_ANNOUNCEMENT_NS - 1)
            assert len(kept.announced) == 1
            kept.keeper.on_time(now_ns + SECOND_ANNOUNCEMENT_NS)
            assert len(kept.announced) == 2
            assert kept.keeper.next_deadline() == now_ns + SECOND_ANNOUNCEMENT_NS + ANNOUNCE_EVERY_NS
            kept.keeper.announce(0, now_ns)
            assert len(kept.announced) == 3

    in_child(body)


def test_an_answer_to_anothers_claim_waits_and_is_dropped_with_the_addresses(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept(cidrs=VIPS[:1])
            kept.lease(5)
            now_ns = boottime_ns()
            kept.keeper.attach(now_ns)
            kept.keeper.announce(500, now_ns)
            kept.keeper.announce(500, now_ns + 400)
            assert kept.keeper.next_deadline() == now_ns + 500
            kept.keeper.on_time(now_ns + 499)
            assert len(kept.announced) == 1
            kept.keeper.on_time(now_ns + 500)
            kept.keeper.on_time(now_ns + 900)
            assert len(kept.announced) == 2
            assert kept.keeper.next_deadline() == now_ns + SECOND_ANNOUNCEMENT_NS
            kept.keeper.announce(500, now_ns + 900)
            kept.keeper.detach()
            kept.keeper.attach(now_ns + 1000)
            kept.keeper.on_time(now_ns + 2000)
            assert len(kept.announced) == 3

    in_child(body)


def test_an_interface_that_is_away_is_said_and_nothing_raised(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            kept = Kept("gone0")
            assert not kept.keeper.is_present()
            assert not kept.attach(1)
            assert any("cannot put virtual address" in text for text in kept.logged)
            kept.keeper.detach()

    in_child(body)
