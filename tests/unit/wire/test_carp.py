"""CARP as ucarp speaks it, with vectors computed from ucarp's source."""

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from pycarpd.invariant import InvariantError
from pycarpd.wire.carp import CarpHeader, CarpSigner, checksum, read_header, write_header
from tests.scapy_layer import Carp

VIP = bytes([10, 1, 1, 252])
ADVERT = bytes.fromhex("212a000700010ca60123456789abcdef055c5da8911cf2a311659afb98e4e262b116747e")
BOW_OUT = bytes.fromhex("212aff0700ff3ffb0123456789abcdf05726b60a6274dc824131e627d997b9a42576d478")
FRAME = bytes.fromhex("01005e00001200005e00002a08004510003812344000ff707dfd0a010101e0000012") + ADVERT


def written(advbase: int, advskew: int, counter: int) -> bytes:
    digest = CarpSigner(b"love", 42, VIP).digest(counter)
    buffer = bytearray(36)
    write_header(buffer, CarpHeader(42, advbase, advskew, 0, counter, digest))
    return bytes(buffer)


def test_an_advert_is_ucarps_byte_for_byte() -> None:
    assert written(1, 0, 0x0123456789ABCDEF) == ADVERT


def test_the_bow_out_is_ucarps_byte_for_byte() -> None:
    assert written(255, 255, 0x0123456789ABCDF0) == BOW_OUT


def test_the_header_is_read_back() -> None:
    header = read_header(ADVERT)
    assert (header.vhid, header.advbase, header.advskew) == (42, 1, 0)
    assert (header.checksum, header.counter) == (0x0CA6, 0x0123456789ABCDEF)
    assert CarpSigner(b"love", 42, VIP).is_genuine(header)


@pytest.mark.parametrize(
    "signer",
    [CarpSigner(b"hate", 42, VIP), CarpSigner(b"love", 43, VIP), CarpSigner(b"love", 42, bytes([10, 1, 1, 251]))],
)
def test_password_vhid_and_address_are_in_the_digest(signer: CarpSigner) -> None:
    assert not signer.is_genuine(read_header(ADVERT))


def test_the_counter_is_in_the_digest_and_the_skew_is_not() -> None:
    signer, header = CarpSigner(b"love", 42, VIP), read_header(ADVERT)
    assert not signer.is_genuine(header._replace(counter=header.counter ^ 1))
    assert signer.is_genuine(header._replace(advskew=header.advskew ^ 1))


def test_a_digest_over_two_addresses_is_the_one_of_the_bsds() -> None:
    both = CarpSigner(b"love", 42, bytes([10, 1, 1, 251]) + VIP)
    assert both.digest(0x0123456789ABCDEF).hex() == "ffc314374a571454d9125d98599f9a3cfb86b8e7"


def test_the_checksum_of_a_right_header_is_zero_and_of_a_changed_one_is_not() -> None:
    assert checksum(ADVERT) == checksum(BOW_OUT) == 0
    assert checksum(ADVERT[:7] + b"\xa7" + ADVERT[8:]) != 0


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes.fromhex("0001f203f4f5f6f7"), 0x220D),  # the example of RFC 1071, section 3: the sum is ddf2
        (bytes(2), 0xFFFF),
        (b"\xff\xff", 0),
        (b"\xff\xfe\x00\x01", 0),
    ],
)
def test_the_checksum_is_the_one_of_rfc_1071(data: bytes, expected: int) -> None:
    assert checksum(data) == expected


def test_ucarps_frame_is_what_an_independent_decoder_takes_for_carp() -> None:
    frame = Ether(FRAME)
    assert (frame[IP].ttl, frame[IP].proto, frame[IP].dst) == (255, 112, "224.0.0.18")
    carp = frame[Carp]
    assert (carp.version, carp.type, carp.vhid, carp.authlen) == (2, 1, 42, 7)
    assert (carp.advbase, carp.advskew, carp.counter) == (1, 0, 0x0123456789ABCDEF)


@pytest.mark.parametrize("vhid", [0, 256])
def test_a_vhid_is_a_byte_but_not_zero(vhid: int) -> None:
    with pytest.raises(InvariantError):
        CarpSigner(b"love", vhid, VIP)
