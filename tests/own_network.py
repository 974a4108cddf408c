"""A network of the test's own: an anonymous namespace that ends with the last process in it."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = "192.0.2.1"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[str]:
    """Move this thread, and what it starts, into a new namespace; yields the one address there is in it."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            for arguments in (("link", "set", "lo", "up"), ("address", "add", f"{ADDRESS}/32", "dev", "lo")):
                subprocess.run(("ip", *arguments), check=True, timeout=10)
            yield ADDRESS
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET))
    finally:
        os.close(home)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
