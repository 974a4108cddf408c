"""The trailer against a fixed vector and against an independent decoder."""

from typing import Any

import pytest

from pycarpd.election.model import Ack, Advert, Flags, Freshness, PeerConnection, Role
from pycarpd.invariant import InvariantError
from pycarpd.wire import trailer
from pycarpd.wire.verdict import Verdict
from tests.scapy_layer import AckEntry, Carp, ConnectionEntry, Extension, Keys, Trailer, forge, trailer_mac
from tests.unit.wire.cluster import FULL, KEY_LINE, META1, META2, OWN_NONCE, VHID, VIP, Host, advert, datagram

GOLDEN = bytes.fromhex(
    "212a6407000178a50000000700000001847de5bd5506b2345cb34b6645b0d5552acaa2bf"  # CARP header
    "706301e800c40364"  # magic, format version, key id, length, role, priority
    "20cf98864cc187de0000000000000007"  # node id, boot epoch
    "0000000000000001000000005eed000c"  # sequence, nonce
    "00000000000000030000000000000002"  # term, served term
    "0003d09000000000"  # interval, hold
    "000000000000123400000000000003e800000000000003de"  # metaid, metadata version, proved version
    "0000003c0000001480120000"  # drill age, freshness age, flags, demotion
    "00000000000000034a29ebb7b2af7667"  # vote
    "0000000000c0ffee01000000"  # config digest, ack count
    "4a29ebb7b2af76670abad1dea0ddba110000000000000005"  # ack
    "00010008c00002329c4024cd"  # extension: one connection
    "97e7ac0163757bb5477013582c16f5a2a88eb4744ecd7e30b59db549c72fa64a"  # MAC
)
KEYS = Keys(KEY_LINE)


def heard(payload: bytes) -> Advert:
    received = Host().hear(payload)
    assert received.verdict is Verdict.ACCEPTED
    assert isinstance(received.advert, Advert)
    return received.advert


def forged(carp: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """A datagram of META2's, made by the independent encoder."""
    usual: dict[str, Any] = {
        "node_id": META2.node_id,
        "epoch": 7,
        "sequence": 1,
        "nonce": 0x5EED,
        "acks": [AckEntry(node_id=META1.node_id, nonce=OWN_NONCE, sequence=5)],
    }
    header = Carp(vhid=VHID, **(carp or {}))
    return forge(header, Trailer(**(usual | fields)), KEYS, META2.address, VIP)


def test_an_advert_has_its_bytes_for_ever() -> None:
    assert datagram(FULL).hex() == GOLDEN.hex()


def test_the_independent_decoder_reads_each_field() -> None:
    payload = datagram(FULL)
    carp = Carp(payload)
    read = carp[Trailer]
    assert (carp.counter, carp.advbase, carp.advskew) == (7 << 32 | 1, 1, 100)
    assert (read.magic, read.generation, read.revision) == (0x7063, 0, 1)
    assert (read.key_id, read.trailer_length) == (KEYS.key_id, len(payload) - 36)
    assert (read.role, read.priority, read.demotion) == (3, 100, 0)
    assert (read.node_id, read.epoch, read.sequence, read.nonce) == (META2.node_id, 7, 1, FULL.nonce)
    assert (read.term, read.served_term, read.interval_us, read.hold_ms) == (3, 2, 250_000, 0)
    assert (read.metaid, read.metadata_version, read.proved_version) == (0x1234, 1000, 990)
    assert (read.drill_age_s, read.freshness_age_ms, read.flags) == (60, 20, 0x8000 | 2 | 16)
    assert (read.vote_term, read.vote_for, read.config_digest) == (3, META1.node_id, 0xC0FFEE)
    assert [(ack.node_id, ack.nonce, ack.sequence) for ack in read.acks] == [(META1.node_id, OWN_NONCE, 5)]
    (extension,) = read.extensions
    (connection,) = extension.connections()
    assert (connection.address, connection.port, connection.service_port) == ("192.0.2.50", 40_000, 9421)
    assert read.mac == trailer_mac(KEYS, META2.address, payload)


def test_the_independent_encoder_is_understood() -> None:
    payload = forged(
        {"advbase": 3, "advskew": 9},
        role=3,
        flags=0x8001,
        metaid=77,
        metadata_version=88,
        drill_age_s=0xFFFFFFFF,
        extensions=[Extension(value=bytes(ConnectionEntry(address="192.0.2.7", port=1, service_port=2)))],
    )
    said = heard(payload)
    assert (said.role, said.advbase, said.advskew) == (Role.MASTER, 3, 9)
    assert said.freshness == Freshness(metaid=77, version=88, drill_age_s=None)
    assert said.connections == (PeerConnection(bytes([192, 0, 2, 7]), 1, 2),)


@pytest.mark.parametrize(
    "said",
    [
        FULL,
        advert(),
        advert(freshness=None),
        advert(freshness=Freshness(0, 0)),
        advert(freshness=Freshness(2**64 - 1, 2**64 - 1, 2**64 - 1, 0, 2**32 - 1)),
        advert(role=Role.FAULT, priority=255, demotion=65535, hold_ms=2**32 - 1, term=2**64 - 1),
        advert(flags=Flags.RESIGNED, advbase=255, advskew=255),
        advert(sequence=2**64 - 1, epoch=2**64 - 1),
        advert(acks=tuple(Ack(META1.node_id, OWN_NONCE, n) for n in range(15))),
    ],
)
def test_what_is_said_is_what_is_heard(said: Advert) -> None:
    assert heard(datagram(said)) == said


def test_each_role_and_flag_travels() -> None:
    for role in Role:
        assert heard(datagram(advert(role=role))).role is role
    for flag in Flags:
        resigns: dict[str, Any] = {"advbase": 255, "advskew": 255} if flag is Flags.RESIGNED else {}
        assert heard(datagram(advert(flags=flag, **resigns))).flags == flag
    assert max(Flags) < 0x8000, "bit 15 says on the wire that the freshness is known"


def test_a_resignation_says_255_255_whatever_the_advert_says() -> None:
    said = heard(datagram(advert(flags=Flags.RESIGNED, advbase=1, advskew=0)))
    assert (said.advbase, said.advskew) == (255, 255)
    with pytest.raises(InvariantError):
        datagram(advert(advbase=255, advskew=255))


def test_ages_and_demotion_saturate() -> None:
    old = Freshness(1, 2, 3, drill_age_s=2**40, age_ms=2**40)
    said = heard(datagram(advert(freshness=old, demotion=10**6)))
    assert said.freshness == Freshness(1, 2, 3, drill_age_s=2**32 - 2, age_ms=2**32 - 1)
    assert said.demotion == 65535


@pytest.mark.parametrize(
    "bug",
    [
        {"priority": 256},
        {"term": -1},
        {"sequence": 2**64},
        {"acks": (Ack(1, 2, 3),) * 16},
        {"acks": (Ack(1, 2, -3),)},
        {"connections": (PeerConnection(bytes(16), 1, 2),)},
        {"connections": (PeerConnection(bytes(4), 65536, 2),)},
        {"node_id": META1.node_id},
    ],
)
def test_an_advert_that_does_not_fit_is_our_bug(bug: dict[str, Any]) -> None:
    with pytest.raises(InvariantError):
        datagram(advert(**bug))


@pytest.mark.parametrize("ack_count", [0, 1, 10, 15])
def test_as_many_connections_travel_as_fit(ack_count: int) -> None:
    many = tuple(PeerConnection(n.to_bytes(4, "big"), n, 9421) for n in range(200))
    acks = tuple(Ack(META1.node_id, OWN_NONCE, n) for n in range(1, ack_count + 1))
    payload = datagram(advert(connections=many, acks=acks))
    fitting = trailer.connections_max(ack_count)
    assert fitting == {0: 120, 1: 120, 10: 104, 15: 89}[ack_count]
    assert len(payload) <= trailer.PAYLOAD_MAX
    received = Host().hear(payload).advert
    assert isinstance(received, Advert)
    assert received.connections == many[:fitting]


def test_a_later_revision_is_read_for_what_is_known() -> None:
    payload = forged(
        revision=15,
        flags=0x7001 | 2,
        reserved=b"\x01\x02\x03",
        extensions=[Extension(kind=900, value=b"news"), Extension(kind=200, value=b"")],
    )
    said = heard(payload)
    assert said.flags == Flags.PROMOTABLE | Flags.PAUSED
    assert said.connections == ()


def test_another_generation_is_not_guessed_at() -> None:
    assert Host().hear(forged(generation=1)).verdict is Verdict.UNKNOWN_FORMAT


@pytest.mark.parametrize(
    "fields",
    [
        {"magic": 0x7064},
        {"trailer_length": 160},
        {"trailer_length": 65535},
        {"ack_count": 16},
        {"ack_count": 2},
        {"role": 7},
        {"flags": 8},
        {"extensions": [Extension(kind=9, size=5, value=b"four")]},
        {"extensions": [Extension(kind=1, value=b"seven b")]},
        {"extensions": [Extension(kind=1, value=bytes(8)), Extension(kind=1, value=bytes(8))]},
        {"extensions": [Extension(kind=1, value=bytes(8 * 121))]},
    ],
)
def test_a_trailer_that_contradicts_itself_is_refused_though_authentic(fields: dict[str, Any]) -> None:
    host = Host()
    received = host.hear(forged(**fields))
    assert received.verdict is Verdict.BAD_TRAILER
    assert received.advert is None
    assert host.receiver.acks() == ()


def test_a_resignation_in_the_header_alone_is_refused() -> None:
    assert Host().hear(forged({"advbase": 255, "advskew": 255})).verdict is Verdict.BAD_TRAILER


def test_a_tail_of_an_extension_header_is_refused() -> None:
    payload = forged()
    for odd in (1, 2, 3):
        body = payload[:-32] + bytes(odd)
        length = (len(body) - 36 + 32).to_bytes(2, "big")
        body = body[:40] + length + body[42:]
        broken = body + trailer_mac(KEYS, META2.address, body + bytes(32))
        assert Host().hear(broken).verdict is Verdict.BAD_TRAILER


def test_the_counter_must_be_the_sequence() -> None:
    said = trailer.write(FULL._replace(sequence=2), KEYS.key_id)
    other = datagram(FULL)
    body = other[:36] + bytes(said[36:])
    spliced = body + trailer_mac(KEYS, META2.address, body + bytes(32))
    assert Host().hear(spliced).verdict is Verdict.BAD_TRAILER
