"""The branches before a master's own travel, as many as there is room for, and are refused when they are malformed."""

import pytest

from pycarpd.election.model import OLDER_MAX, Advert, Branch
from pycarpd.wire.verdict import Verdict
from tests.scapy_layer import Extension
from tests.unit.wire.cluster import Host, advert, datagram
from tests.unit.wire.test_trailer import forged

OLDER = tuple(Branch(100 - number, 1000 - number) for number in range(OLDER_MAX + 1))
KIND = 5


@pytest.mark.parametrize("count", [0, 1, OLDER_MAX, OLDER_MAX + 1])
def test_they_travel(count: int) -> None:
    received = Host().hear(datagram(advert(older=OLDER[:count]))).advert
    assert isinstance(received, Advert)
    assert received.older == OLDER[: min(count, OLDER_MAX)]


def test_one_that_is_alone_is_laid_out_as_it_is_written_down() -> None:
    with_it, without = (datagram(advert(older=older)) for older in (OLDER[:1], ()))
    assert len(with_it) - len(without) == 20
    assert bytes((0, 5, 0, 16, *bytes(7), 100, *bytes(6), 3, 0xE8)) in with_it


@pytest.mark.parametrize("values", [[b""], [bytes(15)], [bytes(16 * (OLDER_MAX + 1))], [bytes(15) + b"\1"] * 2])
def test_malformed_ones_are_refused(values: list[bytes]) -> None:
    payload = forged(extensions=[Extension(kind=KIND, value=value) for value in values])
    assert Host().hear(payload).verdict is Verdict.BAD_TRAILER
