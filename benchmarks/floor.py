"""What Python itself needs at a heartbeat's pace: a loop on the same wire that hears, verifies and says, and no more.

Three of them play the three nodes: one says a claim each interval, the others answer each claim with a report, and all
of them hear everything and verify it. Nothing is decoded, decided or remembered, so their shares of a core are the
least that a heartbeat of this shape in Python has on this machine: the same raw sockets in the same namespaces, the
kernel's work included, and the caches as cold as other programs leave them in ten milliseconds.
"""

import gc
import hmac
import os
import select
import socket
import sys
from collections.abc import Callable
from typing import Final

from netns.cluster import Cluster
from netns.commands import LaboratoryError, spawn
from netns.owner import Owner
from netns.topology import INTERFACE
from pycarpd.daemon.ports import GROUP
from pycarpd.linux.advert_socket import CARP_PROTOCOL, AdvertSocket
from pycarpd.linux.clock import DeadlineTimer, boottime_ns
from pycarpd.wire.mac import Schedule

MODULE: Final = "benchmarks.floor"
INTERVAL_NS: Final = 10_000_000
SILENCE_NS: Final = 3 * INTERVAL_NS
VHID: Final = 10
DATAGRAM_BYTES: Final = 276
"""A standby's report in a cluster of three."""
CLAIM, REPORT = b"\x01", b"\x02"
_MAC_BYTES: Final = 32
_READ_BYTES: Final = 4096
_ANCILLARY_BYTES: Final = 256
_SCHEDULE: Final = Schedule(bytes(_MAC_BYTES), "sha256")


def starter(cluster: Cluster, owner: Owner, python_path: str) -> Callable[[str, int], None]:
    """Return what starts a loop on a host, by its rank: the first of them claims."""

    def start(host: str, rank: int) -> None:
        kind = CLAIM if rank == 0 else REPORT
        words = ("env", f"PYTHONPATH={python_path}", sys.executable, "-m", MODULE)
        argv = cluster.topology.inside(host, *words, cluster.topology.hosts[host].address, str(kind[0]))
        owner.adopt(spawn(argv, cluster.daemons.log(host)))

    return start


def signed(kind: bytes, number: int) -> bytes:
    """Return a datagram as long as an advert, of this kind and for the group, with its MAC."""
    body = kind + bytes([VHID]) + number.to_bytes(DATAGRAM_BYTES - _MAC_BYTES - 2, "big")
    return body + _SCHEDULE.mac(body)


def loop(channel: socket.socket, own_kind: bytes) -> None:
    """Hear whatever is there and verify it; say a claim each interval, or a report after each claim. Never returns."""
    timer, waiter = DeadlineTimer(), select.epoll()
    for fileno in (timer.fileno(), channel.fileno()):
        waiter.register(fileno, select.EPOLLIN)
    number, due_ns = 0, boottime_ns()
    timer.arm(due_ns)
    while True:
        waiter.poll()
        has_heard_claim = heard_claim(channel)
        now_ns = boottime_ns()
        if own_kind == CLAIM and now_ns >= due_ns:
            due_ns += INTERVAL_NS
        elif own_kind == REPORT and (has_heard_claim or now_ns >= due_ns):
            due_ns = now_ns + SILENCE_NS
        else:
            continue
        timer.arm(due_ns)
        number += 1
        channel.sendto(signed(own_kind, number), (GROUP, 0))


def heard_claim(channel: socket.socket) -> bool:
    """Take everything that is there and verify it; tell whether a claim was among it."""
    found = False
    while True:
        try:
            packet, _, _, _ = channel.recvmsg(_READ_BYTES, _ANCILLARY_BYTES)
        except BlockingIOError:
            return found
        payload = packet[(packet[0] & 0x0F) * 4 :]
        if not hmac.compare_digest(_SCHEDULE.mac(payload[:-_MAC_BYTES]), payload[-_MAC_BYTES:]):
            raise LaboratoryError("a datagram of our own is not genuine: the figure would be of something else")
        found = found or payload[:1] == CLAIM


def main() -> None:
    """Run a loop on the host with this address, until it is killed."""
    address, kind = sys.argv[1:]
    opened = AdvertSocket(INTERFACE, address, GROUP, VHID)
    fault = opened.open()
    if fault is not None:
        raise LaboratoryError(str(fault))
    gc.collect()
    gc.freeze()
    gc.disable()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, CARP_PROTOCOL, os.dup(opened.fileno())) as channel:
        loop(channel, bytes([int(kind)]))


if __name__ == "__main__":
    main()
