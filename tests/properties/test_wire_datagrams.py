"""Whatever the bytes, a datagram gets a verdict, and only a genuine fresh one is believed."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pycarpd.election.model import (
    OLDER_MAX,
    Ack,
    Advert,
    Branch,
    Flags,
    Freshness,
    Handover,
    PeerConnection,
    Role,
)
from pycarpd.wire.carp import checksum
from pycarpd.wire.replay import WINDOW
from pycarpd.wire.trailer import connections_max
from pycarpd.wire.verdict import Verdict
from tests.unit.wire.cluster import FULL, META2, OTHER_KEY_LINE, Host, advert, datagram, keyring, mixed
from tests.unit.wire.cluster import settings as codec_settings

GATE = settings(max_examples=300, derandomize=True, deadline=None)
U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
GENUINE = datagram(FULL)
BELIEVED = (Verdict.ACCEPTED, Verdict.UNPROVEN)

DRILL_AGES = st.none() | st.integers(0, 2**32 - 2)
FRESHNESS = st.none() | st.builds(Freshness, U64, U64, U64, DRILL_AGES, U32, st.none() | U64)
BRANCHES = st.builds(Branch, U64, st.integers(1, 2**64 - 1))
CONNECTIONS = st.lists(st.builds(PeerConnection, st.binary(min_size=4, max_size=4), U16, U16), max_size=120)


@st.composite
def adverts(draw: st.DrawFn) -> Advert:
    flags = Flags(draw(st.integers(0, sum(Flags))))
    resigned = Flags.RESIGNED in flags
    acks = tuple(draw(st.lists(st.builds(Ack, U64, U64, U64), max_size=15)))
    changes: dict[str, Any] = {
        "epoch": draw(U64),
        "nonce": draw(U64),
        "role": draw(st.sampled_from(Role)),
        "term": draw(U64),
        "served_term": draw(U64),
        "interval_us": draw(U32),
        "hold_ms": draw(U32),
        "priority": draw(U8),
        "demotion": draw(U16),
        "flags": flags,
        "freshness": draw(FRESHNESS),
        "vote_term": draw(U64),
        "vote_for": draw(U64),
        "config_digest": draw(U64),
        "acks": acks,
        "advbase": 255 if resigned else draw(st.integers(0, 254)),
        "advskew": 255 if resigned else draw(U8),
        "connections": tuple(draw(CONNECTIONS)[: connections_max(len(acks))]),
        "older": tuple(draw(st.lists(BRANCHES, max_size=OLDER_MAX))),
        "handover": draw(st.none() | st.builds(Handover, U64, U64)),
        "exports_digest": draw(U64),
    }
    if changes["freshness"] is not None and changes["freshness"].lineage is not None:
        changes["branch"] = draw(st.none() | BRANCHES)
    return advert(sequence=draw(U64), **changes)


@GATE
@given(adverts())
def test_every_advert_is_heard_as_it_was_said(said: Advert) -> None:
    received = Host().hear(datagram(said))
    assert received.verdict in BELIEVED
    assert received.advert == said


@GATE
@given(st.binary(max_size=1600), st.binary(max_size=16), U8, st.booleans())
def test_any_bytes_get_a_verdict(payload: bytes, source: bytes, ttl: int, strict: bool) -> None:
    host = Host() if strict else Host(mixed())
    received = host.hear(payload, source, ttl)
    assert received.verdict not in BELIEVED
    assert received.advert is None


@GATE
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_after_a_right_header_get_a_verdict(tail: bytes, with_magic: bool) -> None:
    head = GENUINE[:40] + (36 + 4 + len(tail)).to_bytes(2, "big") if with_magic else GENUINE[:36]
    host = Host()
    assert host.hear(head + tail).advert is None
    assert host.receiver.acks() == ()


@GATE
@given(st.integers(0, len(GENUINE) * 8 - 1))
def test_one_flipped_bit_is_one_too_many(bit: int) -> None:
    payload = bytearray(GENUINE)
    payload[bit // 8] ^= 1 << bit % 8
    host = Host()
    assert host.hear(bytes(payload)).advert is None
    payload[6:8] = bytes(2)
    payload[6:8] = checksum(payload[:36]).to_bytes(2, "big")
    if bytes(payload) != GENUINE:
        assert host.hear(bytes(payload)).advert is None
    assert host.receiver.acks() == ()


@GATE
@given(st.integers(0, len(GENUINE) - 1), st.binary(max_size=64))
def test_a_cut_or_lengthened_advert_is_refused(cut: int, more: bytes) -> None:
    host = Host()
    assert host.hear(GENUINE[:cut]).advert is None
    if GENUINE[:cut] + more != GENUINE:
        assert host.hear(GENUINE[:cut] + more).advert is None
    if more:
        assert host.hear(GENUINE + more).advert is None
    assert host.receiver.acks() == ()


@GATE
@given(adverts(), adverts(), st.data())
def test_two_adverts_spliced_are_none(first: Advert, second: Advert, data: st.DataObject) -> None:
    head, tail = datagram(first), datagram(second)
    spliced = head[: data.draw(st.integers(0, len(head)))] + tail[data.draw(st.integers(0, len(tail))) :]
    host = Host()
    received = host.hear(spliced)
    if received.advert is not None:
        assert spliced in {head, tail}
        assert received.advert in {first, second}


@GATE
@given(adverts())
def test_another_key_convinces_nobody(said: Advert) -> None:
    forger = codec_settings(META2, keyring=keyring(OTHER_KEY_LINE))
    host = Host()
    assert host.hear(datagram(said, forger)).verdict is Verdict.UNKNOWN_KEY
    as_if = bytearray(datagram(said, forger))
    as_if[39] = keyring().sending.key_id
    assert host.hear(bytes(as_if)).verdict is Verdict.BAD_DIGEST


@GATE
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 200)), max_size=60))
def test_each_advert_is_believed_once_and_only_in_the_newest_epoch(order: list[tuple[int, int]]) -> None:
    host = Host()
    heard: set[tuple[int, int]] = set()
    for epoch, sequence in order:
        newest_epoch, newest = max(heard, default=(0, 0))
        received = host.hear(datagram(advert(epoch=epoch, sequence=sequence, nonce=epoch)))
        if epoch < newest_epoch:
            assert received.verdict is Verdict.STALE_EPOCH
        elif (epoch, sequence) in heard or (epoch == newest_epoch and sequence <= newest - WINDOW):
            assert received.verdict is Verdict.REPLAYED
        else:
            assert received.verdict is Verdict.ACCEPTED
            heard.add((epoch, sequence))
