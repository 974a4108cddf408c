"""A witness that is on no host: writes down address and link changes of every host, as netlink tells them.

Run as ``python -m netns.watch LOG NAMESPACE=HOST...``. It opens its sockets inside the namespaces and goes
back, so a crash of a host does not kill it. Each line of the log is a JSON object: ``at_ns`` (CLOCK_BOOTTIME),
host, what (address-added, address-removed, link-up, link-down, link-gone), detail. Source: rtnetlink(7).
"""

import ctypes
import json
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from netns.commands import boottime_ns

_CLONE_NEWNET: Final = 0x40000000
_RTMGRP_LINK: Final = 0x1
_RTMGRP_IPV4_IFADDR: Final = 0x10
_RTM_DELLINK: Final = 17
_RTM_NEWADDR: Final = 20
_RTM_DELADDR: Final = 21
_IFA_LOCAL: Final = 2
_IFLA_IFNAME: Final = 3
_IFF_UP_AND_LOWER_UP: Final = 0x1 | 0x10000
_HEADER: Final = struct.Struct("=IHHII")
_RECEIVE_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a host's address or link."""

    at_ns: int
    host: str
    what: str
    detail: str


def read_changes(log: Path) -> list[Change]:
    """Return the changes written down so far; a line that is being written is left for the next time."""
    if not log.exists():
        return []
    complete = log.read_text().rpartition("\n")[0]
    return [Change(**json.loads(line)) for line in complete.splitlines()]


def parse(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield (what, detail) for each rtnetlink message in a datagram that is of interest."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _flags, _sequence, _pid = _HEADER.unpack_from(data, offset)
        body = data[offset + _HEADER.size : offset + length]
        match kind:
            case 20 | 21:  # RTM_NEWADDR, RTM_DELADDR
                address = _attributes(body[8:]).get(_IFA_LOCAL, b"")
                if len(address) == 4:  # noqa: PLR2004 - the length of an IPv4 address
                    yield ("address-added" if kind == _RTM_NEWADDR else "address-removed"), socket.inet_ntoa(address)
            case 16 | 17:  # RTM_NEWLINK, RTM_DELLINK
                name = _attributes(body[16:]).get(_IFLA_IFNAME, b"").rstrip(b"\0").decode()
                yield _link_word(kind, body), name
            case _:
                pass
        offset += (length + 3) & ~3 or _HEADER.size


def _link_word(kind: int, body: bytes) -> str:
    if kind == _RTM_DELLINK:
        return "link-gone"
    (flags,) = struct.unpack_from("=I", body, 8)
    return "link-up" if flags & _IFF_UP_AND_LOWER_UP == _IFF_UP_AND_LOWER_UP else "link-down"


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:  # noqa: PLR2004 - the length of an attribute's own header
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _socket_inside(namespace: str) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {namespace}")
        inside = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        inside.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR))
        if libc.setns(home, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns back")
    finally:
        os.close(home)
        os.close(there)
    return inside


def main(arguments: list[str]) -> None:
    """Watch until killed."""
    log_path, *pairs = arguments
    poller = select.poll()
    sockets: dict[int, tuple[socket.socket, str]] = {}
    for pair in pairs:
        namespace, _, host = pair.partition("=")
        inside = _socket_inside(namespace)
        sockets[inside.fileno()] = (inside, host)
        poller.register(inside, select.POLLIN)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    known: dict[tuple[str, str], str] = {}
    while True:
        for number, _event in poller.poll():
            inside, host = sockets[number]
            data = inside.recv(_RECEIVE_BYTES)
            now_ns = boottime_ns()
            for what, detail in parse(data):
                # An address whose lifetime is renewed, or a link of which something else changed, is no news.
                if known.get((host, detail)) != what:
                    known[host, detail] = what
                    os.write(log, (json.dumps(asdict(Change(now_ns, host, what, detail))) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
