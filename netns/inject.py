"""An attacker in the group: sends recorded and forged adverts into the switch, to every port.

Run in the switch's namespace: ``python -m netns.inject replay PCAP INDEX`` re-sends every advert of a capture that
came in at the port of that interface index, in order, a thousand a second; ``python -m netns.inject forge KIND SOURCE
VHID COUNT PER_SECOND PCAP INDEX`` sends forged ones. Kinds: ``claim`` (best advbase and advskew, a digest of random
bytes), ``resign`` (255/255, likewise), ``random`` (random bytes of any length), ``mutated`` (recorded adverts with one
bit flipped). Source: FreeBSD's ip_carp.h.
"""

import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from netns.capture import read_adverts
from netns.topology import BRIDGE

GROUP: Final = "224.0.0.18"
_GROUP_MAC: Final = bytes.fromhex("01005e000012")
_ATTACKER_MAC: Final = bytes.fromhex("02005e1000ee")
_IPV4_BYTES: Final = 20
_ETHERTYPE_IPV4: Final = b"\x08\x00"
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


def maker(kind: str, source: str, vhid: int, known: list[bytes], chance: random.Random) -> Callable[[], bytes]:
    """Return what makes the next forged packet of a kind; *known* are recorded adverts, without their IP header."""
    match kind:
        case "claim":
            return lambda: ipv4(source, forged_advert(vhid, 0, 0, chance))
        case "resign":
            return lambda: ipv4(source, forged_advert(vhid, 255, 255, chance))
        case "random":
            return lambda: ipv4(source, chance.randbytes(chance.randint(0, _PAYLOAD_BYTES_MAX)))
        case "mutated" if known:
            return lambda: ipv4(source, _flip(chance.choice(known), chance))
        case _:
            raise SystemExit(f"no such kind, or nothing recorded for it: {kind}")


def _flip(payload: bytes, chance: random.Random) -> bytes:
    bit = chance.randrange(len(payload) * 8)
    changed = bytearray(payload)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _send(frames: Iterator[bytes], per_second: float) -> None:
    began = time.monotonic()
    sent = lost = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as port:
        port.bind((BRIDGE, 0))
        for frame in frames:
            try:
                port.send(frame)
                sent += 1
            except OSError:
                lost += 1
            ahead_s = (sent + lost) / per_second - (time.monotonic() - began)
            if ahead_s > 0:
                time.sleep(ahead_s)
    print(f"sent {sent}, not taken {lost}, in {time.monotonic() - began:.2f} s")


def _ethernet(mac: bytes, packet: bytes) -> bytes:
    return _GROUP_MAC + mac + _ETHERTYPE_IPV4 + packet


def main(arguments: list[str]) -> None:
    """Send what the module's text says."""
    verb, *rest = arguments
    if verb == "replay":
        _send((_ethernet(mac, packet) for mac, packet in read_adverts(Path(rest[0]), int(rest[1]))), 1000.0)
        return
    kind, source, vhid, count, per_second, pcap, index = rest
    known = [packet[_IPV4_BYTES:] for _mac, packet in read_adverts(Path(pcap), int(index))]
    make = maker(kind, source, int(vhid), known, random.Random(kind))  # noqa: S311 - no secret
    _send((_ethernet(_ATTACKER_MAC, make()) for _ in range(int(count))), float(per_second))


if __name__ == "__main__":
    main(sys.argv[1:])
