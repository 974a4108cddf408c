"""All extensions in one advert, byte for byte; and that what is kept of them is never another advert's."""

from dataclasses import replace

from pycarpd.election.model import OLDER_MAX, Advert, Branch, Handover, PeerConnection
from pycarpd.wire import extensions
from pycarpd.wire.verdict import Verdict
from tests.scapy_layer import Carp, Trailer
from tests.unit.wire.cluster import META2, OTHER_KEY_LINE, Host, advert, datagram, keyring, settings

FRESHNESS = advert().freshness
assert FRESHNESS is not None
EVERYTHING = advert(
    freshness=replace(FRESHNESS, lineage=0x11),
    branch=Branch(0x22, 0x33),
    handover=Handover(0x44, 0x55),
    exports_digest=0x66,
    older=(Branch(0x77, 0x88), Branch(0x99, 0xAA)),
    connections=(PeerConnection(bytes([192, 0, 2, 50]), 40_000, 9421),),
)
IN_ORDER = (
    (2, "000000000000001100000000000000220000000000000033"),
    (3, "00000000000000440000000000000055"),
    (4, "0000000000000066"),
    (5, "00000000000000770000000000000088000000000000009900000000000000aa"),
    (1, "c00002329c4024cd"),
)


def test_all_of_them_as_the_independent_decoder_finds_them() -> None:
    found = [(each.kind, each.value.hex()) for each in Carp(datagram(EVERYTHING))[Trailer].extensions]
    assert found == list(IN_ORDER)


def test_what_is_heard_twice_is_understood_twice() -> None:
    host = Host()
    first = host.hear(datagram(EVERYTHING)).advert
    second = host.hear(datagram(EVERYTHING._replace(sequence=2))).advert
    assert isinstance(first, Advert)
    assert (first, second) == (EVERYTHING, EVERYTHING._replace(sequence=2))


def test_more_different_ones_than_are_kept() -> None:
    host = Host()
    for sequence in range(1, 100):
        said = EVERYTHING._replace(
            sequence=sequence, exports_digest=sequence, older=EVERYTHING.older * (sequence % (OLDER_MAX // 2))
        )
        assert host.hear(datagram(said)).advert == said


def test_what_no_key_has_signed_is_not_kept() -> None:
    stranger = settings(META2, keyring=keyring(OTHER_KEY_LINE))
    before = extensions.read.cache_info()
    said = EVERYTHING._replace(exports_digest=0xBAD)
    assert Host().hear(datagram(said, stranger)).verdict in (Verdict.UNKNOWN_KEY, Verdict.BAD_DIGEST)
    damaged = bytearray(datagram(said))
    damaged[-1] ^= 1
    assert Host().hear(bytes(damaged)).verdict is Verdict.BAD_DIGEST
    assert extensions.read.cache_info() == before
