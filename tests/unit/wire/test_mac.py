"""The prepared schedule against the standard library's HMAC and the vectors of RFC 4231 and RFC 2202."""

import hmac
from hashlib import new

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pycarpd.wire.mac import Schedule

JEFE = (b"Jefe", b"what do ya want for nothing?")
LONG = (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First")


@pytest.mark.parametrize(
    ("key", "message", "algorithm", "expected"),
    [
        (*JEFE, "sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),  # RFC 4231, case 2
        (*LONG, "sha256", "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),  # case 6
        (*JEFE, "sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),  # RFC 2202, case 2
    ],
)
def test_the_vectors_of_the_standards(key: bytes, message: bytes, algorithm: str, expected: str) -> None:
    """A short key and one longer than a block."""
    assert Schedule(key, algorithm).mac(message).hex() == expected


@example("sha256", bytes(64), [])
@example("sha1", bytes(65), [b"", b"first"])
@given(st.sampled_from(["sha1", "sha256"]), st.binary(max_size=200), st.lists(st.binary(max_size=300), max_size=3))
def test_it_is_the_standard_librarys_hmac(algorithm: str, key: bytes, parts: list[bytes]) -> None:
    """Whatever the lengths, and however the message is cut into prefix, first part and rest."""
    prefix, first, rest = (*parts, b"", b"", b"")[:3]
    schedule = Schedule(key, algorithm, prefix)
    expected = hmac.digest(key, prefix + first + rest, algorithm)
    for form in (bytes, bytearray, memoryview):
        assert schedule.mac(form(rest), first) == expected
    assert len(expected) == new(algorithm).digest_size
