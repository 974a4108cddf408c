"""A witness that asks: who has the VIP, and does 9421 there answer? Of every host by itself, every few milliseconds.

Run in the switch's namespace as ``python -m netns.prober VIP PORT=MAC...``. It speaks at each host's own port of the
switch, before the bridge, so what is cut between the hosts does not keep it from either side: a host that would answer
anybody answers it. It asks by ARP and by a TCP SYN, both from an address that no host has, and takes what a SYN has
begun back by RST. The answers are in the capture, which runs at the same ports: who reads it needs nothing of this
process.
Sources: RFC 826, RFC 9293 section 3.10.7.3, packet(7).
"""

import contextlib
import ctypes
import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import Final

ADDRESS: Final = "192.0.2.250"
MAC: Final = bytes.fromhex("02005e1000fa")
EVERY_S: Final = 0.005
_PORT: Final = 9421
_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_ATTACH_FILTER: Final = 26
_BROADCAST: Final = b"\xff" * 6
_SYN: Final = 0x02
_RST: Final = 0x04
_SYN_ACK: Final = 0x12
_TTL: Final = 64
_FIRST_SOURCE_PORT: Final = 20_000
_SOURCE_PORTS: Final = 40_000
_SEQUENCE_SHIFT: Final = 14
_FRAME_BYTES: Final = 256
_ETHERNET_BYTES: Final = 14
_PROTOCOL_AT: Final = 23
_SHORTEST: Final = 14 + 20 + 20


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp_request(vip: bytes) -> bytes:
    """Return the frame that asks everybody who has the VIP."""
    asked = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, MAC, socket.inet_aton(ADDRESS), bytes(6), vip)
    return _BROADCAST + MAC + b"\x08\x06" + asked


def tcp_segment(vip: bytes, to_mac: bytes, source_port: int, sequence: int, flags: int) -> bytes:
    """Return a frame with a TCP segment without data to the VIP's client port."""
    source = socket.inet_aton(ADDRESS)
    options = b"\x02\x04\x05\xb4" if flags == _SYN else b""
    offset = (20 + len(options)) // 4 << 4
    header = struct.pack("!HHIIBBHHH", source_port, _PORT, sequence, 0, offset, flags, 1024, 0, 0) + options
    pseudo = source + vip + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header))
    header = header[:16] + struct.pack("!H", _checksum(pseudo + header)) + header[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(header), 0, 0x4000, _TTL, 6, 0, source, vip)
    return to_mac + MAC + b"\x08\x00" + ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:] + header


@dataclass(slots=True)
class _Port:
    """One host's port of the switch."""

    channel: socket.socket
    mac: bytes

    def say(self, frame: bytes) -> None:
        # A port that is down or full loses the question, as a cable does.
        with contextlib.suppress(OSError):
            self.channel.send(frame)


def _open(port: str) -> socket.socket:
    channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    channel.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    _only_answers(channel)
    channel.bind((port, _ETH_P_ALL))
    return channel


def _only_answers(channel: socket.socket) -> None:
    """Let only IPv4 to the prober's own address through: the hosts' own traffic is none of its business."""
    (own,) = struct.unpack("!I", socket.inet_aton(ADDRESS))
    program = (
        (0x28, 0, 0, 12),  # load the EtherType
        (0x15, 0, 3, 0x0800),
        (0x20, 0, 0, 30),  # load the destination address
        (0x15, 0, 1, own),
        (0x06, 0, 0, _FRAME_BYTES),
        (0x06, 0, 0, 0),
    )
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = struct.pack("HL", len(program), ctypes.addressof(text))
    channel.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)


class Prober:
    """Asks until killed."""

    def __init__(self, vip: str, ports: dict[str, str]) -> None:
        self._vip = socket.inet_aton(vip)
        self._ports = [_Port(_open(name), bytes.fromhex(mac.replace(":", ""))) for name, mac in ports.items()]
        self._by_number = {port.channel.fileno(): port for port in self._ports}
        self._poller = select.poll()
        for number in self._by_number:
            self._poller.register(number, select.POLLIN)
        self._who_has = arp_request(self._vip)
        self._count = 0

    def run(self) -> None:
        """Ask every host in each round; a round that was missed is not made up for."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                self._ask()
                due = max(due + EVERY_S, now)
            for number, _event in self._poller.poll(max(0.0, due - time.monotonic()) * 1000):
                self._take(self._by_number[number])

    def _ask(self) -> None:
        self._count = (self._count + 1) % _SOURCE_PORTS
        source_port, sequence = _FIRST_SOURCE_PORT + self._count, self._count << _SEQUENCE_SHIFT
        for port in self._ports:
            port.say(self._who_has)
            port.say(tcp_segment(self._vip, port.mac, source_port, sequence, _SYN))

    def _take(self, port: _Port) -> None:
        """Take the half-open connection back that an answered SYN has left."""
        while True:
            try:
                frame = port.channel.recv(_FRAME_BYTES)
            except OSError:  # nothing more there, or the port is down
                return
            if len(frame) < _SHORTEST or frame[_PROTOCOL_AT] != socket.IPPROTO_TCP:
                continue
            segment = frame[_ETHERNET_BYTES + (frame[_ETHERNET_BYTES] & 0xF) * 4 :]
            to_port, _sequence, acknowledged, _offset, flags = struct.unpack_from("!2xHIIBB", segment)
            if flags == _SYN_ACK:
                port.say(tcp_segment(self._vip, port.mac, to_port, acknowledged, _RST))


if __name__ == "__main__":
    os.nice(-10)
    Prober(sys.argv[1], dict(argument.split("=") for argument in sys.argv[2:])).run()
