"""Who is believed: verdict by verdict, in the order of the checks."""

from dataclasses import replace
from typing import Any

import pytest

from pycarpd.election.model import Ack, Advert, Member, PlainAdvert
from pycarpd.invariant import InvariantError
from pycarpd.wire.carp import CarpHeader, CarpSigner, write_header
from pycarpd.wire.identity import node_id_of
from pycarpd.wire.receiver import PLAIN_SOURCES_MAX
from pycarpd.wire.verdict import Verdict
from tests.unit.wire.cluster import (
    FULL,
    KEY_LINE,
    META1,
    META2,
    META3,
    OTHER_KEY_LINE,
    OWN_NONCE,
    PASSWORD,
    VHID,
    VIP,
    Host,
    advert,
    datagram,
    keyring,
    mixed,
    settings,
)

UCARP_HOST = bytes([192, 0, 2, 77])
ECHO = (Ack(META1.node_id, OWN_NONCE, 5),)


def plain(counter: int, advbase: int = 1, advskew: int = 0, password: bytes = PASSWORD) -> bytes:
    buffer = bytearray(36)
    digest = CarpSigner(password, VHID, VIP).digest(counter)
    write_header(buffer, CarpHeader(VHID, advbase, advskew, 0, counter, digest))
    return bytes(buffer)


def test_an_advert_that_echoes_our_nonce_is_accepted() -> None:
    received = Host().hear(datagram(FULL))
    assert (received.verdict, received.advert) == (Verdict.ACCEPTED, FULL)


def test_a_view_is_as_good_as_bytes_and_is_not_kept() -> None:
    buffer = bytearray(datagram(FULL))
    with memoryview(buffer) as view:
        received = Host().receiver.receive(view, META2.address, 255)
    buffer[:] = bytes(len(buffer))
    assert received.advert == FULL


def test_before_our_nonce_is_echoed_an_advert_is_unproven_but_acknowledged() -> None:
    host = Host()
    said = advert(acks=())
    received = host.hear(datagram(said))
    assert (received.verdict, received.advert) == (Verdict.UNPROVEN, said)
    assert host.receiver.acks() == (Ack(META2.node_id, said.nonce, said.sequence),)


@pytest.mark.parametrize("ack", [Ack(META1.node_id, OWN_NONCE ^ 1, 5), Ack(META3.node_id, OWN_NONCE, 5)])
def test_an_echo_is_of_our_id_and_this_lifes_nonce(ack: Ack) -> None:
    assert Host().hear(datagram(advert(acks=(ack,)))).verdict is Verdict.UNPROVEN


def test_one_echo_proves_the_rest_of_the_epoch() -> None:
    host = Host()
    host.hear(datagram(advert(sequence=1, acks=ECHO)))
    assert host.hear(datagram(advert(sequence=2, acks=()))).verdict is Verdict.ACCEPTED


def test_a_new_epoch_begins_anew_and_ends_the_old_one() -> None:
    host = Host()
    host.hear(datagram(advert(sequence=500)))
    reborn = advert(epoch=8, sequence=1, nonce=99, acks=())
    assert host.hear(datagram(reborn)).verdict is Verdict.UNPROVEN
    assert host.receiver.acks() == (Ack(META2.node_id, 99, 1),)
    assert host.hear(datagram(advert(sequence=501))).verdict is Verdict.STALE_EPOCH
    assert host.hear(datagram(reborn._replace(sequence=2, acks=ECHO))).verdict is Verdict.ACCEPTED


def test_an_epoch_has_one_nonce() -> None:
    host = Host()
    host.hear(datagram(advert(sequence=1)))
    assert host.hear(datagram(advert(sequence=2, nonce=99))).verdict is Verdict.EPOCH_REUSED


def test_a_recording_of_last_week_is_not_believed_after_a_reboot() -> None:
    recorded = datagram(FULL)
    rebooted = Host(nonce=OWN_NONCE + 1)
    assert rebooted.hear(recorded).verdict is Verdict.UNPROVEN
    assert rebooted.hear(recorded).verdict is Verdict.REPLAYED


def test_replays_are_refused_within_and_beyond_the_window() -> None:
    host = Host()
    payloads = {number: datagram(advert(sequence=number)) for number in (1, 30, 100, 99)}
    for number, payload in payloads.items():
        fresh = number != 1 or not host.receiver.acks()
        assert (host.hear(payload).verdict is Verdict.ACCEPTED) == fresh
    assert {host.hear(payload).verdict for payload in payloads.values()} == {Verdict.REPLAYED}
    assert host.receiver.acks() == (Ack(META2.node_id, advert().nonce, 100),)


def test_acks_name_the_newest_of_each_member() -> None:
    host = Host()
    host.hear(datagram(advert(META2, 9)))
    host.hear(datagram(advert(META3, 4), settings(META3)), META3.address)
    host.hear(datagram(advert(META2, 8)))
    acks = {ack.node_id: ack.sequence for ack in host.receiver.acks()}
    assert acks == {META2.node_id: 9, META3.node_id: 4}


@pytest.mark.parametrize(
    ("offset", "value", "verdict"),
    [
        (0, 0x31, Verdict.BAD_VERSION),
        (0, 0x22, Verdict.BAD_TYPE),
        (3, 5, Verdict.NOT_CARP),
        (1, 43, Verdict.WRONG_VHID),
        (2, 1, Verdict.BAD_CHECKSUM),
        (36, 0, Verdict.BAD_TRAILER),
        (38, 0x10, Verdict.UNKNOWN_FORMAT),
        (39, 0, Verdict.UNKNOWN_KEY),
        (41, 0, Verdict.BAD_TRAILER),
        (43, 1, Verdict.BAD_DIGEST),
        (-1, 0, Verdict.BAD_DIGEST),
    ],
)
def test_a_changed_byte_has_its_verdict(offset: int, value: int, verdict: Verdict) -> None:
    payload = bytearray(datagram(FULL))
    assert payload[offset] != value
    payload[offset] = value
    received = Host().hear(bytes(payload))
    assert (received.verdict, received.advert) == (verdict, None)


@pytest.mark.parametrize(
    ("length", "verdict"),
    [(0, Verdict.TOO_SHORT), (35, Verdict.TOO_SHORT), (36, Verdict.NO_TRAILER), (37, Verdict.BAD_TRAILER)],
)
def test_a_cut_advert_has_its_verdict(length: int, verdict: Verdict) -> None:
    assert Host().hear(datagram(FULL)[:length]).verdict is verdict


def test_what_no_advert_can_be_is_too_long() -> None:
    assert Host().hear(datagram(FULL) + bytes(1400)).verdict is Verdict.TOO_LONG


@pytest.mark.parametrize("ttl", [0, 1, 64, 254])
def test_a_routed_advert_is_refused(ttl: int) -> None:
    assert Host().hear(datagram(FULL), ttl=ttl).verdict is Verdict.BAD_TTL


def test_the_source_is_in_the_mac() -> None:
    assert Host().hear(datagram(FULL), META3.address).verdict is Verdict.BAD_DIGEST


def test_a_member_speaks_from_its_configured_address() -> None:
    moved = replace(META2, address=bytes([192, 0, 2, 99]))
    of = settings(META2, members=(META1, moved, META3))
    assert Host().hear(datagram(FULL, of), moved.address).verdict is Verdict.WRONG_SOURCE


def test_a_stranger_with_the_key_is_still_a_stranger() -> None:
    stranger = Member(node_id_of("meta9"), "meta9", META2.address)
    of = settings(stranger, members=(stranger,))
    assert Host().hear(datagram(advert(stranger), of)).verdict is Verdict.UNKNOWN_NODE


def test_another_virtual_address_is_another_cluster() -> None:
    of = settings(META2, virtual_address=bytes([192, 0, 2, 200]))
    assert Host().hear(datagram(FULL, of)).verdict is Verdict.BAD_CARP_DIGEST


def test_our_own_advert_that_comes_back_is_known() -> None:
    looped = datagram(advert(META1, nonce=OWN_NONCE, acks=()), settings(META1))
    assert Host().hear(looped, META1.address).verdict is Verdict.OWN_ADVERT


def test_another_node_of_our_name_is_noticed_once_per_advert() -> None:
    host = Host(epoch=7)
    twin = datagram(advert(META1, epoch=8, nonce=1, acks=()), settings(META1))
    received = host.hear(twin, META1.address)
    assert (received.verdict, received.advert) == (Verdict.OWN_NAME, None)
    assert host.hear(twin, META1.address).verdict is Verdict.REPLAYED
    assert host.receiver.acks() == ()


def test_another_node_of_our_name_is_noticed_at_any_address() -> None:
    moved = replace(META1, address=bytes([192, 0, 2, 99]))
    of = settings(moved, members=(moved, META2, META3))
    assert Host().hear(datagram(advert(moved), of), moved.address).verdict is Verdict.OWN_NAME


def test_a_recording_of_our_earlier_life_is_not_another_node() -> None:
    host = Host(epoch=7)
    earlier = advert(META1, epoch=6, nonce=1, acks=())
    assert host.hear(datagram(earlier, settings(META1)), META1.address).verdict is Verdict.STALE_EPOCH
    answering = earlier._replace(sequence=2, acks=ECHO)
    assert host.hear(datagram(answering, settings(META1)), META1.address).verdict is Verdict.OWN_NAME


def test_keys_rotate_without_a_gap() -> None:
    old, both, new = keyring(KEY_LINE), keyring(KEY_LINE, OTHER_KEY_LINE), keyring(OTHER_KEY_LINE)
    host = Host(settings(keyring=old))
    said = [datagram(advert(sequence=n), settings(META2, keyring=ring)) for n, ring in enumerate((old, both, new))]
    assert host.hear(said[0]).verdict is Verdict.ACCEPTED
    host.receiver.use_keys(both)
    assert host.hear(said[1]).verdict is Verdict.ACCEPTED
    assert host.hear(said[2]).verdict is Verdict.ACCEPTED
    host.receiver.use_keys(new)
    later = datagram(advert(sequence=9), settings(META2, keyring=old))
    assert host.hear(later).verdict is Verdict.UNKNOWN_KEY
    assert host.hear(said[2]).verdict is Verdict.REPLAYED, "what was heard stays known"


def test_a_strict_cluster_takes_no_plain_advert() -> None:
    assert Host().hear(plain(1), UCARP_HOST).verdict is Verdict.NO_TRAILER


def test_a_mixed_cluster_hears_ucarp_and_pycarpd() -> None:
    host = Host(mixed())
    received = host.hear(plain(77, advbase=3, advskew=5), UCARP_HOST)
    assert (received.verdict, received.advert) == (Verdict.ACCEPTED, PlainAdvert(3, 5, 77))
    assert host.hear(datagram(FULL, mixed(META2))).verdict is Verdict.ACCEPTED
    assert host.receiver.acks() == (Ack(META2.node_id, FULL.nonce, FULL.sequence),)


def test_the_header_of_a_mixed_cluster_is_what_ucarp_expects() -> None:
    counter = FULL.epoch << 32 | FULL.sequence
    assert datagram(FULL, mixed(META2))[:36] == plain(counter, FULL.advbase, FULL.advskew)


def test_a_plain_advert_of_another_password_is_refused() -> None:
    host = Host(mixed())
    assert host.hear(plain(1, password=b"hate"), UCARP_HOST).verdict is Verdict.BAD_CARP_DIGEST


def test_members_must_agree_on_ucarps_password() -> None:
    of = replace(mixed(META2), ucarp_password=b"hate")
    assert Host(mixed()).hear(datagram(FULL, of)).verdict is Verdict.BAD_CARP_DIGEST


def test_ucarps_counters_may_jump_but_not_repeat_among_the_last_64() -> None:
    host = Host(mixed())
    counters = [(n * 0x9E3779B97F4A7C15) % 2**64 for n in range(64)]
    for counter in counters:
        assert host.hear(plain(counter), UCARP_HOST).verdict is Verdict.ACCEPTED
    for counter in counters:
        assert host.hear(plain(counter, advskew=1), UCARP_HOST).verdict is Verdict.REPLAYED
    assert host.hear(plain(5), UCARP_HOST).verdict is Verdict.ACCEPTED
    assert host.hear(plain(counters[0]), UCARP_HOST).verdict is Verdict.ACCEPTED, "only 64 are remembered"


def test_an_advert_whose_trailer_was_cut_off_is_a_replay() -> None:
    host = Host(mixed())
    payload = datagram(FULL, mixed(META2))
    assert host.hear(payload).verdict is Verdict.ACCEPTED
    assert host.hear(payload[:36]).verdict is Verdict.REPLAYED
    assert host.hear(plain(7 << 32 | 2), META2.address).verdict is Verdict.ACCEPTED, "that one is ucarp's"


def test_our_own_plain_advert_is_not_a_claim() -> None:
    assert Host(mixed()).hear(plain(1), META1.address).verdict is Verdict.OWN_ADVERT


def test_sources_of_plain_adverts_are_bounded() -> None:
    host = Host(mixed())
    for number in range(10 * PLAIN_SOURCES_MAX):
        assert host.hear(plain(1), number.to_bytes(4, "big")).verdict is Verdict.ACCEPTED
    assert len(host.receiver._plain) == PLAIN_SOURCES_MAX
    newest = (10 * PLAIN_SOURCES_MAX - 1).to_bytes(4, "big")
    assert host.hear(plain(1), newest).verdict is Verdict.REPLAYED


def test_every_datagram_is_counted_by_verdict_and_by_member() -> None:
    host = Host()
    host.hear(datagram(FULL))
    host.hear(datagram(FULL))
    host.hear(b"", UCARP_HOST)
    counters = host.receiver.counters
    assert set(counters) == set(Verdict)
    assert {verdict: n for verdict, n in counters.items() if n} == {
        Verdict.ACCEPTED: 1,
        Verdict.REPLAYED: 1,
        Verdict.TOO_SHORT: 1,
    }
    by_member = host.receiver.member_counters
    assert set(by_member) == {META2.node_id, META3.node_id}
    assert sum(by_member[META2.node_id].values()) == 2
    assert sum(by_member[META3.node_id].values()) == 0


@pytest.mark.parametrize(
    "bug",
    [
        {"own_node_id": 5},
        {"virtual_address": b"abc"},
        {"members": (META1, META1)},
        {"members": (META1, replace(META2, address=META1.address))},
        {"members": tuple(Member(n, str(n), bytes([192, 0, 2, n])) for n in range(17)), "own_node_id": 3},
        {"strict": False},
        {"strict": False, "ucarp_password": b"twenty bytes are one "},
        {"strict": False, "ucarp_password": b""},
    ],
)
def test_settings_that_no_configuration_may_have_are_our_bug(bug: dict[str, Any]) -> None:
    with pytest.raises(InvariantError):
        settings(**bug)


def test_an_advert_type_is_what_tells_plain_from_authenticated() -> None:
    host = Host(mixed())
    kinds = {type(host.hear(plain(9), UCARP_HOST).advert), type(host.hear(datagram(FULL, mixed(META2))).advert)}
    assert kinds == {PlainAdvert, Advert}
