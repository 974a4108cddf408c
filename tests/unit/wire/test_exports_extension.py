"""The digest of mfsexports.cfg travels, is left out where there is none, and is refused when it is malformed."""

import pytest

from pycarpd.election.model import Advert
from pycarpd.wire.verdict import Verdict
from tests.scapy_layer import Extension
from tests.unit.wire.cluster import Host, advert, datagram
from tests.unit.wire.test_trailer import forged

DIGEST = 0xFEED_F00D_0000_0001
KIND = 4


@pytest.mark.parametrize("digest", [0, DIGEST])
def test_it_travels(digest: int) -> None:
    received = Host().hear(datagram(advert(exports_digest=digest))).advert
    assert isinstance(received, Advert)
    assert received.exports_digest == digest


def test_one_who_does_not_know_it_sends_nothing_of_it() -> None:
    with_it, without = (len(datagram(advert(exports_digest=digest))) for digest in (DIGEST, 0))
    assert with_it - without == 12


@pytest.mark.parametrize("values", [[b""], [bytes(7)], [bytes(7) + b"\1", bytes(7) + b"\2"]])
def test_a_malformed_one_is_refused(values: list[bytes]) -> None:
    payload = forged(extensions=[Extension(kind=KIND, value=value) for value in values])
    assert Host().hear(payload).verdict is Verdict.BAD_TRAILER
