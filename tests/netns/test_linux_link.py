"""Link and address changes as a real namespace reports them."""

import errno
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from pycarpd.linux.address import add_address
from pycarpd.linux.link import (
    AddressAdded,
    AddressRemoved,
    LinkChanged,
    LinkEvent,
    LinkMonitor,
    Overrun,
    interface_state,
)
from tests.netns.linux_fixtures import Lab, eventually, in_child, laboratory, pair

pytestmark = pytest.mark.netns


@pytest.fixture
def lab() -> Iterator[Lab]:
    with pair() as lab:
        yield lab


def after(
    monitor: LinkMonitor, action: Callable[[], object], expected: LinkEvent | Callable[[LinkEvent], bool]
) -> list[LinkEvent]:
    """Return what the monitor says after *action*, up to the expected event."""
    monitor.read()
    action()
    seen: list[LinkEvent] = []

    def has_come() -> bool:
        seen.extend(monitor.read())
        return any(expected(event) if callable(expected) else event == expected for event in seen)

    assert eventually(has_come), seen
    return seen


def is_link(*, is_up: bool) -> Callable[[LinkEvent], bool]:
    return lambda event: isinstance(event, LinkChanged) and event.interface == "eth0" and event.is_up == is_up


def test_a_virtual_address_removed_by_hand_is_noticed(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"), LinkMonitor() as monitor:
            added = AddressAdded("eth0", "192.0.2.100/24")
            removed = AddressRemoved("eth0", "192.0.2.100/24")
            after(monitor, lambda: add_address("eth0", "192.0.2.100/24", 2), added)
            after(monitor, lambda: lab.ip("a", "addr", "del", "192.0.2.100/24", "dev", "eth0"), removed)
            after(monitor, lambda: add_address("eth0", "192.0.2.100/24", 1), removed)
            six = AddressRemoved("eth0", "2001:db8::100/64")
            after(monitor, lambda: add_address("eth0", "2001:db8::100/64", 1), six)

    in_child(body)


def test_down_up_and_a_lost_carrier_are_noticed(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"), LinkMonitor() as monitor:
            assert interface_state("eth0").is_up
            for label in ("a", "b"):
                for verb in ("down", "up"):
                    action = partial(lab.ip, label, "link", "set", "eth0", verb)
                    after(monitor, action, is_link(is_up=verb == "up"))
                    assert interface_state("eth0").is_up == (verb == "up")

    in_child(body)


def test_deleted_and_made_again_has_another_index(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"), LinkMonitor() as monitor:
            before = interface_state("eth0")
            assert before.exists
            assert (len(before.mac), before.mtu) == (6, 1500)
            gone = LinkChanged("eth0", before.index, is_up=False, exists=False)
            seen = after(monitor, lambda: lab.ip("a", "link", "del", "eth0"), gone)
            assert AddressRemoved("eth0", "192.0.2.1/24") in seen
            state = interface_state("eth0")
            assert (state.exists, state.is_up, state.index, state.fault) == (False, False, 0, None)
            after(
                monitor,
                lambda: lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24")),
                is_link(is_up=True),
            )
            assert interface_state("eth0").index != before.index

    in_child(body)


def test_a_port_that_leaves_a_bridge_is_not_a_link_that_went_away(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"), LinkMonitor() as monitor:
            lab.ip("a", "link", "add", "bridge0", "type", "bridge")
            lab.ip("a", "link", "set", "eth0", "master", "bridge0")
            down = is_link(is_up=False)
            seen = after(
                monitor,
                lambda: (
                    lab.ip("a", "link", "set", "eth0", "nomaster"),
                    lab.ip("a", "link", "set", "eth0", "down"),
                ),
                down,
            )
            assert all(event.exists for event in seen if isinstance(event, LinkChanged) and event.interface == "eth0")

    in_child(body)


def test_changes_that_were_not_read_in_time_become_an_overrun_and_the_monitor_goes_on() -> None:
    with pair() as lab:

        def body() -> None:
            with lab.inside("a"), LinkMonitor(receive_buffer_bytes=8192) as monitor:
                for host in range(1, 60):
                    assert add_address("eth0", f"198.51.100.{host}/32", 100) is None
                seen: list[LinkEvent] = []
                while events := monitor.read():
                    seen += events
                assert Overrun() in seen
                gone = AddressRemoved("eth0", "198.51.100.7/32")
                after(monitor, lambda: lab.ip("a", "addr", "del", "198.51.100.7/32", "dev", "eth0"), gone)

        in_child(body)


def test_a_name_that_cannot_be_is_a_state_or_a_fault_and_never_an_exception() -> None:
    with laboratory("a") as lab:

        def body() -> None:
            with lab.inside("a"):
                assert not interface_state("nowhere0").exists
                odd = interface_state("a-name-that-is-much-too-long")
                assert not odd.exists
                assert odd.fault is None or odd.fault.errno in (errno.ERANGE, errno.EINVAL, errno.ENODEV)

        in_child(body)


def test_reading_is_never_waiting(lab: Lab) -> None:
    def body() -> None:
        with lab.inside("a"), LinkMonitor() as monitor:
            monitor.read()
            started = time.monotonic()
            assert monitor.read() == []
            assert time.monotonic() - started < 0.5

    in_child(body)
