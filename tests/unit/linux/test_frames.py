from typing import Any

import pytest

from pycarpd.linux.checksum import internet_checksum
from pycarpd.linux.frames import garp_reply, garp_request, unsolicited_na
from pycarpd.linux.tickle import tickle_segment

MAC = bytes.fromhex("02000a010101")


@pytest.fixture(scope="module")
def ether() -> Any:
    import scapy.layers.inet6  # noqa: PLC0415 -- slow to import, wanted only here
    import scapy.layers.l2  # noqa: PLC0415 -- slow to import, wanted only here

    assert scapy.layers.inet6.IPv6 is not None
    return scapy.layers.l2.Ether


def rebuilt(packet: Any, layer: str, field: str) -> bytes:
    """Have scapy work the checksum out by itself."""
    copy = packet.copy()
    delattr(copy[layer], field)
    return bytes(copy)


def test_the_request_form_is_the_one_that_ucarp_sends() -> None:
    assert garp_request(MAC, "10.1.1.252") == bytes.fromhex(
        "ffffffffffff 02000a010101 0806 0001 0800 06 04 0001 02000a010101 0a0101fc 02000a010101 0a0101fc"
    )


def test_the_reply_form_is_a_broadcast_reply_about_oneself(ether: Any) -> None:
    frame = garp_reply(MAC, "192.0.2.100")
    arp = ether(frame)["ARP"]
    assert (len(frame), ether(frame).dst, arp.op) == (42, "ff:ff:ff:ff:ff:ff", 2)
    assert (arp.psrc, arp.pdst, arp.hwsrc) == ("192.0.2.100", "192.0.2.100", "02:00:0a:01:01:01")


def test_the_neighbour_advertisement_overrides_and_its_checksum_is_right(ether: Any) -> None:
    frame = unsolicited_na(MAC, "2001:db8::100")
    packet = ether(frame)
    advertisement = packet["ICMPv6 Neighbor Discovery - Neighbor Advertisement"]
    assert (len(frame), packet.dst, packet["IPv6"].dst, packet["IPv6"].hlim) == (
        86,
        "33:33:00:00:00:01",
        "ff02::1",
        255,
    )
    assert (advertisement.R, advertisement.S, advertisement.O, advertisement.tgt) == (0, 0, 1, "2001:db8::100")
    assert advertisement.payload.lladdr == "02:00:0a:01:01:01"
    assert rebuilt(packet, "ICMPv6 Neighbor Discovery - Neighbor Advertisement", "cksum") == frame


def test_a_tickle_is_a_bare_ack_with_zero_numbers_and_a_right_checksum() -> None:
    from scapy.layers.inet import IP  # noqa: PLC0415 -- slow to import, wanted only here

    segment = tickle_segment(bytes((192, 0, 2, 100)), 9421, bytes((192, 0, 2, 7)), 40000)
    packet = IP(segment)
    tcp = packet["TCP"]
    assert (packet.src, packet.dst, packet.proto, len(segment)) == ("192.0.2.100", "192.0.2.7", 6, 40)
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack, str(tcp.flags)) == (9421, 40000, 0, 0, "A")
    assert rebuilt(packet, "TCP", "chksum")[20:] == segment[20:]


@pytest.mark.parametrize(
    ("data", "expected"), [(b"", 0xFFFF), (b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 0x220D), (b"\xff", 0x00FF)]
)
def test_the_checksum_is_the_one_of_rfc_1071(data: bytes, expected: int) -> None:
    assert internet_checksum(data) == expected
