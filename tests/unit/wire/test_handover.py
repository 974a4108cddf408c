"""What an advert says of a handover, against the independent encoder and decoder."""

import pytest

from pycarpd.election.model import Advert, Handover
from pycarpd.wire.verdict import Verdict
from tests.scapy_layer import AckEntry, Carp, Extension, Keys, Trailer, forge
from tests.unit.wire.cluster import FULL, KEY_LINE, META1, META2, OWN_NONCE, VHID, VIP, Host, datagram

KIND = 3
VALUE = META1.node_id.to_bytes(8, "big") + (1000).to_bytes(8, "big")


def heard(*extensions: Extension) -> tuple[Verdict, Handover | None]:
    trailer = Trailer(
        node_id=META2.node_id,
        epoch=7,
        sequence=1,
        nonce=0x5EED,
        acks=[AckEntry(node_id=META1.node_id, nonce=OWN_NONCE, sequence=5)],
        extensions=list(extensions),
    )
    received = Host().hear(forge(Carp(vhid=VHID), trailer, Keys(KEY_LINE), META2.address, VIP))
    advert = received.advert
    return received.verdict, advert.handover if isinstance(advert, Advert) else None


def test_the_independent_decoder_finds_the_extension() -> None:
    payload = datagram(FULL._replace(handover=Handover(META1.node_id, 1000)))
    values = [each.value for each in Carp(payload)[Trailer].extensions if each.kind == KIND]
    assert values == [VALUE]


def test_the_independent_encoders_extension_is_understood() -> None:
    assert heard(Extension(kind=KIND, value=VALUE)) == (Verdict.ACCEPTED, Handover(META1.node_id, 1000))


def test_an_advert_without_it_speaks_of_no_handover() -> None:
    assert heard() == (Verdict.ACCEPTED, None)


@pytest.mark.parametrize(
    "extensions",
    [
        (Extension(kind=KIND, value=VALUE[:-1]),),
        (Extension(kind=KIND, value=VALUE + b"\0"),),
        (Extension(kind=KIND, value=VALUE), Extension(kind=KIND, value=VALUE)),
    ],
    ids=["short", "long", "twice"],
)
def test_a_malformed_one_is_refused(extensions: tuple[Extension, ...]) -> None:
    verdict, handover = heard(*extensions)
    assert verdict is Verdict.BAD_TRAILER
    assert handover is None
