"""Batches for nf_tables go over one socket that stays open, and over a new one after a fault."""

import errno
import struct

import pytest

from pycarpd.linux import transaction
from pycarpd.linux.netlink import NLMSG_ERROR
from pycarpd.linux.transaction import NETLINK_NETFILTER, Transactions

DONE = struct.pack("=IHHIIi16x", 36, NLMSG_ERROR, 0, 1, 0, 0)
REFUSED = struct.pack("=IHHIIi16x", 36, NLMSG_ERROR, 0, 1, 0, -errno.ENOENT)


class Kernel:
    """Sockets to a kernel that answers each batch as the batch says."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []

    def open(self, family: int) -> "Channel":
        assert family == NETLINK_NETFILTER
        self.channels.append(Channel())
        return self.channels[-1]


class Channel:
    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.is_closed = False
        self.is_silent = False

    def send(self, encoded: bytes) -> None:
        if encoded == b"broken":
            raise OSError(errno.ENOBUFS, "no buffer")
        self.answers.append(encoded)

    def recv(self, _size: int, _flags: int) -> bytes:
        if self.is_silent or not self.answers:
            raise BlockingIOError
        return self.answers.pop()

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(transaction, "open_channel", kernel.open)
    return kernel


def test_one_socket_does_for_all_batches(kernel: Kernel) -> None:
    transactions = Transactions()
    assert transactions.transact(DONE, "try") is None
    assert transactions.transact(DONE, "try") is None
    fault = transactions.transact(REFUSED, "try")
    assert fault is not None
    assert fault.errno == errno.ENOENT
    (channel,) = kernel.channels
    assert not channel.is_closed
    transactions.close()
    assert channel.is_closed


def test_a_socket_that_fails_is_replaced(kernel: Kernel) -> None:
    transactions = Transactions()
    fault = transactions.transact(b"broken", "try")
    assert fault is not None
    assert fault.errno == errno.ENOBUFS
    assert transactions.transact(DONE, "try") is None
    assert [channel.is_closed for channel in kernel.channels] == [True, False]


def test_a_socket_that_nobody_uses_any_more_is_closed(kernel: Kernel) -> None:
    assert Transactions().transact(DONE, "try") is None
    assert kernel.channels[0].is_closed


def test_no_answer_is_a_fault(kernel: Kernel) -> None:
    transactions = Transactions()
    assert transactions.transact(DONE, "try") is None
    kernel.channels[0].is_silent = True
    fault = transactions.transact(DONE, "try")
    assert fault is not None
    assert fault.errno == errno.EPROTO
