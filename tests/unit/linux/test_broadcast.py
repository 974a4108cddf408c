"""The broadcast advert, decoded by scapy."""

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from pycarpd.linux.broadcast import advert_frame


def test_only_the_ethernet_destination_is_everybody() -> None:
    frame = advert_frame(bytes.fromhex("020000000001"), "192.0.2.11", "224.0.0.18", bytes(36))
    seen = Ether(frame)
    packet = seen[IP]
    assert (seen.dst, seen.src) == ("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01")
    assert (packet.src, packet.dst, packet.ttl, packet.proto, packet.len) == ("192.0.2.11", "224.0.0.18", 255, 112, 56)
    checksum = packet.chksum
    del packet.chksum
    assert Ether(bytes(seen))[IP].chksum == checksum
