"""Two hosts with IPv4 and IPv6 between them, of which a has the VIPs, and ways to see whether those answer."""

import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pycarpd.linux.checksum import internet_checksum
from pycarpd.linux.fence import Fence
from tests.netns.linux_fixtures import Lab, pair, wait_readable

VIP = "192.0.2.100"
VIP6 = "2001:db8::100"
BOTH = (VIP, VIP6)
PREFIX = {VIP: "/24", VIP6: "/64"}
OPEN_MS = 60_000
PINGS = 4
PING_WAIT_S = 0.15


@contextmanager
def hosts() -> Iterator[Lab]:
    """Build the two hosts."""
    with pair() as lab:
        for label, host in (("a", 1), ("b", 2)):
            lab.ip(label, "addr", "add", f"2001:db8::{host}/64", "dev", "eth0", "nodad")
        attach(lab, "a")
        yield lab


def attach(lab: Lab, label: str) -> None:
    for vip in BOTH:
        lab.ip(label, "addr", "add", vip + PREFIX[vip], "dev", "eth0", *(("nodad",) if vip == VIP6 else ()))


def detach(lab: Lab, label: str) -> None:
    for vip in BOTH:
        lab.ip(label, "addr", "del", vip + PREFIX[vip], "dev", "eth0")


@contextmanager
def fenced(lab: Lab, label: str = "a", vips: tuple[str, ...] = BOTH) -> Iterator[Fence]:
    """Put up the fence of one host, closed, and take it away; what happens between may enter any namespace."""
    fence = Fence("eth0", vips)
    with lab.inside(label):
        assert fence.install() is None
    try:
        yield fence
    finally:
        with lab.inside(label):
            fence.remove()


def nft(lab: Lab, label: str, *arguments: str) -> str:
    command = ("ip", "netns", "exec", lab.name(label), "nft", *arguments)
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20).stdout


def answers(lab: Lab, label: str, address: str) -> bool:
    """Say whether *address* answers one of a few pings from the host, by neighbour tables that know nothing yet."""
    lab.ip(label, "neigh", "flush", "dev", "eth0")
    with lab.inside(label), pinging(address) as channel:
        for number in range(PINGS):
            request = struct.pack(">BBHHH", 128 if ":" in address else 8, 0, 0, os.getpid() & 0xFFFF, number)
            checksum = 0 if ":" in address else internet_checksum(request)
            try:
                channel.sendto(request[:2] + checksum.to_bytes(2, "big") + request[4:], (address, 0))
            except PermissionError:
                # The host's own closed fence, if it would have to speak from the address itself.
                return False
            deadline = time.monotonic() + PING_WAIT_S
            while wait_readable(channel.fileno(), max(0.0, deadline - time.monotonic())):
                # A raw IPv4 socket hears the IP header as well, an IPv6 one does not.
                heard = channel.recv(2000)[0 if ":" in address else 20 :]
                if heard[0] in (0, 129) and heard[4:8] == request[4:8]:
                    return True
    return False


def pinging(address: str) -> socket.socket:
    if ":" in address:
        return socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
