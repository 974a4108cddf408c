"""Batches of nf_tables messages, each done as a whole or not at all."""

import errno
import socket
import weakref

from pycarpd.linux.faults import SystemFault
from pycarpd.linux.netlink import NLMSG_ERROR, fault_of, open_channel, split

NETLINK_NETFILTER = 12
_ANSWERS_MAX = 256
"""More than a batch has messages, and so answers."""
_ANSWER_BYTES_MAX = 4096


class Transactions:
    """Does one batch after the other over one socket; used by one thread at a time.

    The socket stays open in between: to close it takes as long as the kernel needs to free what the last batch has
    deleted, 7 to 25 ms (measured, kernel 6.18), and a takeover with three batches would wait for it three times.
    """

    def __init__(self) -> None:
        self._channel: socket.socket | None = None

    def transact(self, encoded: bytes, operation: str) -> SystemFault | None:
        """Have the kernel do one batch; it is done, or refused, when send() returns."""
        try:
            channel = self._channel or self._open()
            channel.send(encoded)
            return _answered(channel, operation)
        except OSError as error:
            self.close()
            return SystemFault.of(operation, error)

    def close(self) -> None:
        """Close the socket, if there is one; the next batch opens another."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _open(self) -> socket.socket:
        self._channel = open_channel(NETLINK_NETFILTER)
        weakref.finalize(self, self._channel.close)
        return self._channel


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
