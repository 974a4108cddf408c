"""The fence's batches, taken apart again by a reader that knows only netlink's framing."""

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycarpd.invariant import InvariantError
from pycarpd.linux.fence import TIMEOUT_MAX_MS, Fence
from pycarpd.linux.fence_rules import FenceRules, Vip
from pycarpd.linux.netlink import NLM_F_ACK, NetlinkMessage, split
from pycarpd.linux.nftables import TIMEOUT, batch, has_elements, timeout_places

VIP = "192.0.2.100"
VIP6 = "2001:db8::100"
HEADERS_BYTES = 20
BATCH_MARKS = (0x10, 0x11)
NEW_SET_ELEMENT = 10 << 8 | 12
DELETE_SET_ELEMENT = 10 << 8 | 14

VIPS = st.lists(st.ip_addresses(), min_size=1, max_size=8, unique=True).map(tuple)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and value of each attribute; fails where they do not fill *data* exactly."""
    offset = 0
    while offset < len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        assert length >= 4
        assert offset + length <= len(data)
        yield kind, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    assert offset == len(data)


def leaves(kind: int, value: bytes) -> Iterator[bytes]:
    """Yield the innermost values."""
    if not kind & 0x8000:
        yield value
        return
    for inner, content in attributes(value):
        yield from leaves(inner, content)


def values(message: NetlinkMessage) -> list[bytes]:
    return [leaf for kind, value in attributes(message.data[HEADERS_BYTES:]) for leaf in leaves(kind, value)]


def every_batch(rules: FenceRules) -> tuple[list[bytes], ...]:
    return rules.installation(6), rules.egress("eth0"), rules.opening(700), rules.closing(), rules.removal()


@given(VIPS)
def test_every_batch_is_well_formed_and_acknowledged_once_at_its_end(vips: tuple[Vip, ...]) -> None:
    for messages in every_batch(FenceRules("t", vips)):
        encoded = batch(messages)
        found = list(split(encoded))
        assert sum(len(message.data) for message in found) == len(encoded)
        assert (found[0].kind, found[-1].kind) == BATCH_MARKS
        assert [bool(message.flags & NLM_F_ACK) for message in found] == [False] * (len(found) - 2) + [True, False]
        assert all(values(message) for message in found[1:-1])


@given(VIPS)
def test_a_rehearsal_has_all_but_the_end_mark(vips: tuple[Vip, ...]) -> None:
    messages = FenceRules("t", vips).installation(0)
    assert batch(messages).startswith(batch(messages, is_rehearsal=True))
    assert [m.kind for m in split(batch(messages, is_rehearsal=True))] == [m.kind for m in split(batch(messages))][:-1]


@given(VIPS, st.integers(20, TIMEOUT_MAX_MS))
def test_writing_the_timeouts_into_a_batch_is_the_same_as_laying_it_out_again(
    vips: tuple[Vip, ...], timeout_ms: int
) -> None:
    rules = FenceRules("t", vips)
    patched = bytearray(batch(rules.opening(1)))
    places = timeout_places(rules.opening(1))
    for place in places:
        TIMEOUT.pack_into(patched, place, timeout_ms)
    assert bytes(patched) == batch(rules.opening(timeout_ms))
    assert len(places) == sum(3 if vip.version == 4 else 2 for vip in vips)


@given(VIPS)
def test_opening_empties_every_set_before_it_fills_any(vips: tuple[Vip, ...]) -> None:
    rules = FenceRules("t", vips)
    found = list(split(batch(rules.opening(700))))[1:-1]
    emptied = [message for message in found if message.kind == DELETE_SET_ELEMENT]
    filled = [message for message in found if message.kind == NEW_SET_ELEMENT]
    assert found == emptied + filled
    sets = [(message.data[16], tuple(values(message))) for message in emptied]
    assert len(sets) == len(set(sets)) == len(rules.sets())
    assert {(message.data[16], tuple(values(message)[:2])) for message in filled} == set(sets)
    for message in filled:
        *_, key, timeout = values(message)
        assert TIMEOUT.unpack(timeout) == (700,)
        assert key in {vip.packed for vip in vips}


def test_each_family_has_only_the_tables_it_needs() -> None:
    def sets(*vips: Vip) -> list[tuple[str, str]]:
        return [(addresses.family.name, addresses.name) for addresses in FenceRules("t", vips).sets()]

    four, six = IPv4Address(VIP), IPv6Address(VIP6)
    assert sets(four) == [("INET", "open4"), ("ARP", "open4"), ("NETDEV", "open4")]
    assert sets(six) == [("INET", "open6"), ("NETDEV", "open6")]
    assert set(sets(four, six)) == set(sets(four)) | set(sets(six))


@pytest.mark.parametrize(
    ("answer", "has"),
    [
        (bytes(20), False),
        (bytes(20) + struct.pack("=HH", 6, 1) + b"t\0\0\0", False),
        (bytes(20) + struct.pack("=HH", 4, 0x8003), False),
        (bytes(20) + struct.pack("=HH", 6, 1) + b"t\0\0\0" + struct.pack("=HHI", 8, 0x8003, 0), True),
        (bytes(20) + struct.pack("=HH", 0, 1) + bytes(8), False),
        (b"", False),
    ],
)
def test_elements_are_found_in_an_answer_and_odd_lengths_end_it(answer: bytes, has: bool) -> None:
    assert has_elements(answer) is has


def test_a_caller_who_asks_for_too_much_is_a_bug() -> None:
    with pytest.raises(InvariantError):
        Fence("eth0", ())
    with pytest.raises(InvariantError):
        Fence("eth0", (VIP,)).renew(2 * TIMEOUT_MAX_MS)
