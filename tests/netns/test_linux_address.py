"""Addresses in a real namespace, compared with what ip(8) shows."""

import json
import time
from collections.abc import Iterator

import pytest

from pycarpd.linux.address import InterfaceAddress, add_address, list_addresses, remove_address
from tests.netns.linux_fixtures import Lab, eventually, in_child, pair

pytestmark = pytest.mark.netns

VIP = "192.0.2.100/24"
VIP6 = "2001:db8::100/64"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with pair() as lab:
        yield lab


def shown(lab: Lab) -> dict[str, int]:
    """Return valid_life_time by address, as ip(8) sees it."""
    (link,) = json.loads(lab.ip("a", "-j", "addr", "show", "dev", "eth0"))
    return {f"{info['local']}/{info['prefixlen']}": info["valid_life_time"] for info in link["addr_info"]}


def listed() -> dict[str, InterfaceAddress]:
    found = list_addresses("eth0")
    assert isinstance(found, tuple)
    return {address.cidr: address for address in found}


def test_both_verbs_are_idempotent_and_agree_with_ip(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            for cidr in (VIP, VIP6, "198.51.100.7/32"):
                assert cidr not in listed()
                assert remove_address("eth0", cidr) is None
                for _ in range(2):
                    assert add_address("eth0", cidr) is None
                    assert cidr in shown(lab)
                assert listed()[cidr].valid_lft_s is None
                assert not listed()[cidr].is_tentative
                for _ in range(2):
                    assert remove_address("eth0", cidr) is None
                    assert cidr not in shown(lab)
        assert "192.0.2.1/24" in shown(lab)

    in_child(body)


@pytest.mark.parametrize("cidr", [VIP, VIP6])
def test_a_lifetime_runs_out_unless_it_is_renewed(lab: Lab, cidr: str) -> None:
    def body() -> None:
        with lab.inside("a"):
            assert add_address("eth0", cidr, 2) is None
            for _ in range(4):
                time.sleep(1)
                assert add_address("eth0", cidr, 2) is None
                assert listed()[cidr].valid_lft_s in (1, 2)
            assert eventually(lambda: cidr not in listed(), 10)
            assert add_address("eth0", cidr, 30) is None
            assert shown(lab)[cidr] in (29, 30)
            assert add_address("eth0", cidr, None) is None
            assert listed()[cidr].valid_lft_s is None
            assert add_address("eth0", cidr, 3) is None
            assert listed()[cidr].valid_lft_s in (2, 3)

    in_child(body)


def test_a_network_that_is_reachable_already_gets_no_second_route(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            before = lab.ip("a", "route", "show")
            assert add_address("eth0", VIP) is None
            assert lab.ip("a", "route", "show") == before
            assert add_address("eth0", "198.51.100.7/24") is None
            assert "198.51.100.0/24" in lab.ip("a", "route", "show")
            assert lab.ip("a", "route", "get", "192.0.2.50").split("src ")[1].startswith("192.0.2.1 ")

    in_child(body)


def test_removing_a_virtual_address_that_had_become_primary_keeps_the_others(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            lab.ip("a", "addr", "flush", "dev", "eth0")
            assert add_address("eth0", VIP) is None
            lab.ip("a", "addr", "add", "192.0.2.1/24", "dev", "eth0")
            assert listed()["192.0.2.1/24"].is_secondary
            assert remove_address("eth0", VIP) is None
            assert list(listed())[:1] == ["192.0.2.1/24"]
            assert "192.0.2.0/24" in lab.ip("a", "route", "show")

    in_child(body)


def test_the_same_address_with_another_prefix_is_another_address(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            assert add_address("eth0", "192.0.2.100/32") is None
            assert remove_address("eth0", VIP) is None
            assert "192.0.2.100/32" in listed()

    in_child(body)


def test_an_interface_that_is_away_is_a_fault_except_for_removing(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            for name in ("gone0", "eth0.with-a-name-too-long"):
                found = list_addresses(name)
                fault = add_address(name, VIP, 2)
                assert not isinstance(found, tuple)
                assert fault is not None
                assert (found.name, fault.name) == ("ENODEV", "ENODEV")
                assert remove_address(name, VIP) is None

    in_child(body)


def test_the_kernels_own_refusal_is_passed_on(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            lab.ip("a", "link", "set", "eth0", "mtu", "1000")
            fault = add_address("eth0", VIP6)
            assert fault is not None
            assert fault.operation == f"add {VIP6} to eth0"
            assert fault.errno != 0

    in_child(body)


def test_among_a_hundred_addresses_a_renewal_is_quick_enough_and_right(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"):
            for host in range(1, 101):
                lab.ip("a", "addr", "add", f"198.51.100.{host}/32", "dev", "eth0")
            started = time.monotonic()
            assert add_address("eth0", VIP, 2) is None
            assert time.monotonic() - started < 1
            assert len(listed()) >= 102

    in_child(body)
