"""One batch of nf_tables messages on a socket of its own, done as a whole or not at all."""

import errno
import socket

from pycarpd.linux.faults import SystemFault
from pycarpd.linux.netlink import NLMSG_ERROR, fault_of, open_channel, split

NETLINK_NETFILTER = 12
_ANSWERS_MAX = 256
"""More than a batch has messages, and so answers."""
_ANSWER_BYTES_MAX = 4096


def transact(encoded: bytes, operation: str) -> SystemFault | None:
    """Have the kernel do one batch; it is done, or refused, when send() returns."""
    try:
        with open_channel(NETLINK_NETFILTER) as channel:
            channel.send(encoded)
            return _answered(channel, operation)
    except OSError as error:
        return SystemFault.of(operation, error)


def _answered(channel: socket.socket, operation: str) -> SystemFault | None:
    verdicts: list[SystemFault | None] = []
    while len(verdicts) < _ANSWERS_MAX:
        try:
            answer = channel.recv(_ANSWER_BYTES_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
        verdicts += [fault_of(each, operation) for each in split(answer) if each.kind == NLMSG_ERROR]
    if not verdicts:
        return SystemFault.numbered(operation, errno.EPROTO, "the kernel did not answer")
    return next((fault for fault in verdicts if fault is not None), None)
