"""The heartbeat wakes for what it waits for, and is told what that was."""

import os
import socket
from collections.abc import Iterator

import pytest

from pycarpd.daemon.waiting import Waiter
from pycarpd.linux.clock import boottime_ns

MS = 1_000_000
FAR_NS = 3_600_000 * MS


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_only_what_can_be_read_is_ready(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waiter = Waiter()
    waiter.watch((ours.fileno(), theirs.fileno()))
    theirs.send(b"x")
    waiter.wait(boottime_ns() + FAR_NS)
    assert waiter.ready == {ours.fileno()}
    waiter.wait(boottime_ns() + FAR_NS)  # as long as nobody has read it
    assert waiter.ready == {ours.fileno()}


def test_a_deadline_ends_the_wait_each_time_it_is_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    waiter = Waiter()
    waiter.watch((pair[0].fileno(),))
    for _ in range(3):
        deadline_ns = boottime_ns() + 5 * MS
        waiter.wait(deadline_ns)
        assert boottime_ns() >= deadline_ns
        waiter.wait(deadline_ns)  # one that has passed is now
    assert pair[0].fileno() not in waiter.ready


def test_a_deadline_that_has_ended_a_wait_does_not_end_the_next(pair: tuple[socket.socket, socket.socket]) -> None:
    waiter = Waiter()
    waiter.watch((pair[0].fileno(),))
    waiter.wait(boottime_ns() - MS)
    pair[1].send(b"x")
    waiter.wait(boottime_ns() + FAR_NS)
    assert waiter.ready == {pair[0].fileno()}


def test_the_same_deadline_is_kept_while_others_end_the_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waiter = Waiter()
    waiter.watch((ours.fileno(),))
    deadline_ns = boottime_ns() + 50 * MS
    theirs.send(b"x")
    waiter.wait(deadline_ns)
    assert waiter.ready == {ours.fileno()}
    assert ours.recv(1) == b"x"
    waiter.wait(deadline_ns)
    assert boottime_ns() >= deadline_ns
    assert ours.fileno() not in waiter.ready


def test_a_number_that_stands_for_another_socket_is_watched_anew(pair: tuple[socket.socket, socket.socket]) -> None:
    waiter = Waiter()
    others = socket.socketpair()
    number = os.dup(pair[0].fileno())
    with others[0], others[1]:
        waiter.watch((number,))
        os.dup2(others[0].fileno(), number)  # closes it, and opens another file under its number
        waiter.watch((number,))
        others[1].send(b"x")
        waiter.wait(boottime_ns() + FAR_NS)
        assert waiter.ready == {number}
        assert os.read(number, 1) == b"x"
        pair[1].send(b"x")
        waiter.wait(boottime_ns() + 5 * MS)
        assert number not in waiter.ready
        os.close(number)
