"""What Python itself needs at a heartbeat's pace: a loop that hears two adverts, verifies them and says one.

It decides nothing, reads no clock and no field, so its share of a core is the least that a heartbeat in Python has on
this machine, with the caches as cold as other programs leave them in ten milliseconds. The peers are this process; what
is measured is another, which ends with it.
"""

import hmac
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from netns.commands import LaboratoryError, bound_to_parent
from pycarpd.wire.mac import Schedule

INTERVAL_S: Final = 0.01
ADVERT_BYTES: Final = 276
"""A standby's report in a cluster of three."""
PEERS: Final = 2
_MAC_BYTES: Final = 32
_READ_BYTES: Final = 4096
_ENDS_WITHIN_S: Final = 10.0
_ANCILLARY_BYTES: Final = 256
_SCHEDULE: Final = Schedule(bytes(_MAC_BYTES), "sha256")
_REPOSITORY: Final = Path(__file__).parents[1]


def signed(number: int) -> bytes:
    """Return a datagram as long as an advert, with its MAC."""
    body = number.to_bytes(ADVERT_BYTES - _MAC_BYTES, "big")
    return body + _SCHEDULE.mac(body)


def loop(channel: socket.socket) -> None:
    """Hear whatever is there, verify it, and answer each round with one datagram, until the other end is closed."""
    channel.setblocking(False)
    waiter = select.epoll()
    waiter.register(channel.fileno(), select.EPOLLIN)
    number = 0
    while True:
        waiter.poll()
        while True:
            try:
                payload, _, _, _ = channel.recvmsg(_READ_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                break
            if not payload:
                return
            if not hmac.compare_digest(_SCHEDULE.mac(payload[:-_MAC_BYTES]), payload[-_MAC_BYTES:]):
                raise RuntimeError("a datagram of our own is not genuine: the figure would be of something else")
        number += 1
        channel.send(signed(number))


def run_beside(seconds: float, look: Callable[[int], float], tell: Callable[[float], None]) -> float:
    """Let the loop run for so long, and return what *look* found of its process over that time, end less beginning."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = bound_to_parent([sys.executable, "-m", "benchmarks.floor", str(theirs.fileno())])
    with subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=_REPOSITORY) as process, ours:
        theirs.close()
        _speak(ours, 1.0, lambda _: None)
        before = look(process.pid)
        _speak(ours, seconds, tell)
        found = look(process.pid) - before
        ours.close()
        if process.wait(_ENDS_WITHIN_S):
            raise LaboratoryError(f"the bare loop ended with status {process.returncode}: its figure is of no use")
    return found


def _speak(channel: socket.socket, seconds: float, tell: Callable[[float], None]) -> None:
    """Say what the peers say, in each interval, and take what is answered."""
    datagrams = [signed(number) for number in range(PEERS)]
    began = due = time.monotonic()
    while due - began < seconds:
        for datagram in datagrams:
            channel.send(datagram)
        due += INTERVAL_S
        time.sleep(max(0.0, due - time.monotonic()))
        for _ in range(PEERS):  # it may have been woken for each of them
            if select.select((channel,), (), (), 0)[0]:
                channel.recv(_READ_BYTES)
        tell(INTERVAL_S)


if __name__ == "__main__":
    loop(socket.socket(fileno=int(sys.argv[1])))
