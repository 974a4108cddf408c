"""Small network namespaces for the tests of the linux room, and a child process that may enter them.

pytest itself never changes its namespace: what has to happen inside one runs in a forked child, which may enter
several in turn; a socket stays in the namespace in which it was made.
"""

import ctypes
import itertools
import os
import pickle
import select
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def ip(*arguments: str) -> str:
    """Run ip(8) and return what it printed."""
    done = subprocess.run(("ip", *arguments), check=False, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class Lab:
    """Namespaces named by a letter each; links between them are veth pairs."""

    def __init__(self, *labels: str) -> None:
        self._prefix = f"pcl{os.getpid()}x{next(_numbers)}"
        self._labels = labels

    def name(self, label: str) -> str:
        """Return the kernel's name of the namespace."""
        return f"{self._prefix}{label}"

    def build(self) -> None:
        for label in self._labels:
            ip("netns", "add", self.name(label))
            self.ip(label, "link", "set", "lo", "up")

    def clear(self) -> None:
        for label in self._labels:
            subprocess.run(("ip", "netns", "del", self.name(label)), check=False, capture_output=True, timeout=20)

    def ip(self, label: str, *arguments: str) -> str:
        """Run ip(8) inside a namespace."""
        return ip("-netns", self.name(label), *arguments)

    def connect(self, one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
        """Join two namespaces by a veth pair; each end is (label, interface, address)."""
        ip(
            *("link", "add", one[1], "netns", self.name(one[0]), "type", "veth"),
            *("peer", "name", other[1], "netns", self.name(other[0])),
        )
        for label, interface, cidr in (one, other):
            self.ip(label, "addr", "add", cidr, "dev", interface, "nodad")
            self.ip(label, "link", "set", interface, "up")

    @contextmanager
    def inside(self, label: str) -> Iterator[None]:
        """Enter a namespace; only in the forked child."""
        back = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name(label)}", os.O_RDONLY)
        try:
            assert _libc.setns(there, _CLONE_NEWNET) == 0
            yield
        finally:
            assert _libc.setns(back, _CLONE_NEWNET) == 0
            os.close(there)
            os.close(back)


@contextmanager
def laboratory(*labels: str) -> Iterator[Lab]:
    """Build namespaces, and take them away whatever happens."""
    lab = Lab(*labels)
    try:
        lab.build()
        yield lab
    finally:
        lab.clear()


@contextmanager
def pair() -> Iterator[Lab]:
    """Two hosts a and b, 192.0.2.1 and 192.0.2.2, each with eth0."""
    with laboratory("a", "b") as lab:
        lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24"))
        yield lab


def in_child(function: Callable[[], T], timeout_s: float = 60) -> T:
    """Return what *function* returns in a forked child; its failure becomes this test's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(function, writing)
    os.close(writing)
    try:
        data = _read_all(reading, time.monotonic() + timeout_s)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
    failure, result = pickle.loads(data)  # noqa: S301 -- our own child wrote it
    assert failure is None, failure
    value: T = result
    return value


def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> bool:
    """Say whether *condition* becomes true within a generous time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def wait_readable(descriptor: int, timeout_s: float = 10) -> bool:
    """Wait until *descriptor* can be read."""
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def _answer(function: Callable[[], T], writing: int) -> None:
    """Run *function*, send its outcome to the parent and end, without pytest's own endings."""
    try:
        message = pickle.dumps((None, function()))
    except BaseException:  # noqa: BLE001 -- the parent raises it again
        message = pickle.dumps((traceback.format_exc(), None))
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(message)
    os._exit(0)


def _read_all(reading: int, deadline: float) -> bytes:
    """Read until the child has closed its end."""
    data = bytearray()
    while True:
        assert wait_readable(reading, max(0.0, deadline - time.monotonic())), "the child did not answer in time"
        piece = os.read(reading, 65536)
        if not piece:
            return bytes(data)
        data += piece
