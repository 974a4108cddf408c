"""What was on the wire: a packet capture on the switch, and a reader for it.

tcpdump writes every frame that comes in at a port of the switch with the kernel's time stamp; the file is a plain
pcap (nanoseconds, LINUX_SLL2) that any tool reads. A sighting names the host by the port it came in at, so it holds
for spoofed addresses and for the virtual MAC address of ucarp as well. What the laboratory itself sends from the
switch (replayed and forged adverts) comes in nowhere and is not in the capture. Sources: pcap-savefile(5),
tcpdump.org LINKTYPE_LINUX_SLL2, RFC 826, FreeBSD's ip_carp.h.
"""

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from netns.commands import bound_to_parent, end, eventually, must, realtime_offset_ns, spawn
from netns.owner import Owner
from netns.topology import SWITCH, Topology

_FILTER: Final = "arp or ip proto 112 or (tcp and portrange 9419-9421 and tcp[tcpflags] & (tcp-syn|tcp-rst) != 0)"
_FILE_HEADER: Final = struct.Struct("=IHHiIII")
_RECORD_HEADER: Final = struct.Struct("=IIII")
_COOKED: Final = struct.Struct("!HHIHBB8s")
_CLOSE_WITHIN_S: Final = 2.0
_CARP_BYTES: Final = 36
_CARP_PROTOCOL: Final = 112
_IPV4_BYTES: Final = 20
_ARP_BYTES: Final = 28
_TRAILER_MAGIC: Final = b"\x70\x63"
_ROLES: Final = ("INIT", "BACKUP", "PROMOTING", "MASTER", "DEMOTING", "SUSPENDED", "FAULT")
_SYN: Final = 0x02
_RST: Final = 0x04
_ACK: Final = 0x10


class Kind(Enum):
    """What a captured frame is."""

    ADVERT = "advert"
    GARP = "gratuitous ARP"
    ARP = "ARP"
    SYN = "SYN"
    SYN_ACK = "SYN+ACK"
    RESET = "RST"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One frame; ``address`` is the source's (ARP: the sender's), ``at_ns`` CLOCK_BOOTTIME.

    An advert has a role, "" when it carries no trailer, and the term of its trailer; TCP has the service's port.
    """

    at_ns: int
    host: str
    kind: Kind
    address: str
    role: str = ""
    term: int = 0
    is_resignation: bool = False
    port: int = 0

    @property
    def claims(self) -> bool:
        """True for an advert that claims the virtual address; one without a trailer always does."""
        is_claimant = self.role in ("", "PROMOTING", "MASTER")
        return self.kind is Kind.ADVERT and is_claimant and not self.is_resignation


class Capture:
    """A capture that runs on the switch until it is closed or the laboratory ends."""

    def __init__(self, topology: Topology, owner: Owner, name: str = "switch") -> None:
        self.path = owner.directory / f"{name}.pcap"
        log = owner.directory / f"tcpdump-{name}.log"
        tcpdump = (
            "tcpdump",
            "-i",
            "any",
            "-y",
            "LINUX_SLL2",
            "-Q",
            "in",
            "-n",
            "-U",
            "--immediate-mode",
            "-s",
            "512",
            "-Z",
            "root",
        )
        argv = (*tcpdump, "--time-stamp-precision=nano", "-w", str(self.path), _FILTER)
        self._process = owner.adopt(spawn(bound_to_parent(topology.inside_net(SWITCH, *argv)), log))
        eventually(lambda: "listening on" in log.read_text(), 10.0, "tcpdump listens on the switch")
        self._topology = topology
        self._ports: dict[int, str] = {}
        self._lock = threading.Lock()
        self._offset = 0
        self._seen: list[Sighting] = []

    def close(self) -> None:
        """End the capture; what it has seen can be read still."""
        end(self._process, gently_s=_CLOSE_WITHIN_S)

    def sightings(self) -> list[Sighting]:
        """Return everything seen so far, in order; only what is new is read. Any thread may ask."""
        with self._lock:
            if self.path.exists():
                with self.path.open("rb") as file:
                    file.seek(self._offset)
                    fresh = file.read()
                self._offset += self._take(fresh)
            return self._seen

    def _take(self, data: bytes) -> int:
        start = _FILE_HEADER.size if self._offset == 0 else 0
        if start and len(data) < start:
            return 0
        shift_ns = realtime_offset_ns()
        end = start
        for stamp_ns, frame, after in _records(data, start):
            self._learn(_port_index(frame))
            sighting = parse(frame, stamp_ns - shift_ns, self._ports)
            if sighting is not None:
                self._seen.append(sighting)
            end = after
        return end

    def _learn(self, index: int) -> None:
        # A port that was made anew has a new index; what an old one had is kept for the frames that came in there.
        if index not in self._ports:
            self._ports |= {index: ""} | ports(self._topology)


def ports(topology: Topology) -> dict[int, str]:
    """Return the host behind each interface of the switch by its index; "" for the bridge and the ends of relays.

    The bridge receives broadcasts a second time, and a relay's end what has come in at the host's port before.
    """
    links = json.loads(must("ip", "-n", topology.namespace(SWITCH), "-j", "link"))
    return {link["ifindex"]: link["ifname"] if link["ifname"] in topology.hosts else "" for link in links}


def read_adverts(path: Path, index: int) -> list[tuple[bytes, bytes]]:
    """Return (source MAC, IP packet) of every advert in a capture file that came in at a port of the switch."""
    data = path.read_bytes()
    adverts = []
    for _stamp_ns, frame, _end in _records(data, _FILE_HEADER.size):
        packet = frame[_COOKED.size :]
        is_advert = frame[:2] == b"\x08\x00" and len(packet) > _IPV4_BYTES and packet[9] == _CARP_PROTOCOL
        if is_advert and _port_index(frame) == index:
            adverts.append((frame[12:18], packet))
    return adverts


def parse(frame: bytes, at_ns: int, hosts: Mapping[int, str]) -> Sighting | None:
    """Return what a cooked (SLL2) frame is; None for one of no interest, or with no host behind its port."""
    if len(frame) < _COOKED.size:
        return None
    protocol, _, index, _, _packet_type, _mac_bytes, _mac = _COOKED.unpack_from(frame)
    host = hosts.get(index, "")
    body = frame[_COOKED.size :]
    match protocol:
        case 0x0806 if host:  # ARP
            return _parse_arp(body, host, at_ns)
        case 0x0800 if host:  # IPv4
            return _parse_ipv4(body, host, at_ns)
        case _:
            return None


def _port_index(frame: bytes) -> int:
    return int(_COOKED.unpack_from(frame)[2]) if len(frame) >= _COOKED.size else 0


def _records(data: bytes, start: int) -> Iterator[tuple[int, bytes, int]]:
    offset = start
    while offset + _RECORD_HEADER.size <= len(data):
        seconds, nanoseconds, kept, _length = _RECORD_HEADER.unpack_from(data, offset)
        end = offset + _RECORD_HEADER.size + kept
        if end > len(data):
            return
        yield seconds * 1_000_000_000 + nanoseconds, data[offset + _RECORD_HEADER.size : end], end
        offset = end


def _parse_arp(body: bytes, host: str, at_ns: int) -> Sighting | None:
    if len(body) < _ARP_BYTES:
        return None
    sender, target = body[14:18], body[24:28]
    kind = Kind.GARP if sender == target else Kind.ARP
    return Sighting(at_ns, host, kind, socket.inet_ntoa(sender))


def _parse_ipv4(body: bytes, host: str, at_ns: int) -> Sighting | None:
    header = (body[0] & 0xF) * 4 if body else 0
    if len(body) < header + 1 or header < _IPV4_BYTES:
        return None
    source, payload = socket.inet_ntoa(body[12:16]), body[header:]
    match body[9]:
        case 112:
            return _parse_advert(payload, host, source, at_ns)
        case 6:
            return _parse_tcp(payload, host, source, at_ns)
        case _:
            return None


def _parse_advert(payload: bytes, host: str, source: str, at_ns: int) -> Sighting:
    trailer = payload[_CARP_BYTES:]
    has_trailer = trailer[:2] == _TRAILER_MAGIC and len(trailer) >= 48  # noqa: PLR2004 - up to the term
    role = (_ROLES[trailer[6]] if trailer[6] < len(_ROLES) else "?") if has_trailer else ""
    term = int.from_bytes(trailer[40:48]) if has_trailer else 0
    is_resignation = len(payload) >= _CARP_BYTES and payload[2] == payload[5] == 255  # noqa: PLR2004 - ucarp's resignation
    return Sighting(at_ns, host, Kind.ADVERT, source, role, term, is_resignation)


def _parse_tcp(payload: bytes, host: str, source: str, at_ns: int) -> Sighting | None:
    if len(payload) < 14:  # noqa: PLR2004 - up to the flags
        return None
    from_port, to_port = struct.unpack_from("!HH", payload)
    flags = payload[13] & (_SYN | _RST | _ACK)
    if flags & _RST:
        return Sighting(at_ns, host, Kind.RESET, source, port=from_port)
    if flags == _SYN | _ACK:
        return Sighting(at_ns, host, Kind.SYN_ACK, source, port=from_port)
    return Sighting(at_ns, host, Kind.SYN, source, port=to_port)
