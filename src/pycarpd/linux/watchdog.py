"""The machine's watchdog timer: once armed, it resets the machine unless it is fed in time.

Opening the device starts the timer, every write feeds it, and a ``V`` written last (magic close) stops it; a device
that is closed without it, by the end of a process for instance, goes on counting. A driver that cannot be stopped
(nowayout) says so by having no magic close. Sources: Linux, Documentation/watchdog/watchdog-api.rst and
include/uapi/linux/watchdog.h.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from typing import Final

from pycarpd.linux.faults import SystemFault

_GET_SUPPORT: Final = 0x80285700
_SET_TIMEOUT: Final = 0xC0045706
_GET_TIMEOUT: Final = 0x80045707
_INFO: Final = struct.Struct("=II32s")
_SECONDS: Final = struct.Struct("=i")
_MAGIC_CLOSE: Final = 0x0100
_NOT_OFFERED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTTY})

Ioctl = Callable[[int, int, bytes], bytes]


def _ioctl(descriptor: int, request: int, argument: bytes) -> bytes:
    return fcntl.ioctl(descriptor, request, argument)


class Watchdog:
    """An armed watchdog; ``timeout_s`` after its last feeding it resets the machine, by its driver's own word."""

    def __init__(self, descriptor: int, identity: str, timeout_s: int, *, can_stop: bool) -> None:
        self._descriptor = descriptor
        self.identity = identity
        self.timeout_s = timeout_s
        self.can_stop = can_stop

    @classmethod
    def arm(cls, path: str, timeout_s: int, ioctl: Ioctl = _ioctl) -> "Watchdog | SystemFault":
        """Open the device and ask for a timeout; a device that is no watchdog is left, stopped, and a fault.

        A driver whose timeout is fixed keeps its own.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            return SystemFault.of(f"open {path}", error)
        try:
            options, _firmware, identity = _INFO.unpack(ioctl(descriptor, _GET_SUPPORT, bytes(_INFO.size)))
            seconds = _timeout_s(descriptor, timeout_s, ioctl)
        except OSError as error:
            _stop(descriptor)
            return SystemFault.of(f"ask {path}", error)
        name = identity.rstrip(b"\0").decode(errors="replace")
        return cls(descriptor, name, seconds, can_stop=bool(options & _MAGIC_CLOSE))

    def feed(self) -> SystemFault | None:
        """Begin the time anew."""
        try:
            os.write(self._descriptor, b"\0")
        except OSError as error:
            return SystemFault.of("feed the watchdog", error)
        return None

    def stop(self) -> SystemFault | None:
        """Stop the timer and close the device; a fault too where the driver cannot be stopped and goes on counting."""
        fault = _stop(self._descriptor)
        if fault is None and not self.can_stop:
            return SystemFault.numbered("stop the watchdog", errno.EOPNOTSUPP, "its driver cannot be stopped")
        return fault


def _timeout_s(descriptor: int, wanted_s: int, ioctl: Ioctl) -> int:
    try:
        return int(_SECONDS.unpack(ioctl(descriptor, _SET_TIMEOUT, _SECONDS.pack(wanted_s)))[0])
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
    return int(_SECONDS.unpack(ioctl(descriptor, _GET_TIMEOUT, bytes(_SECONDS.size)))[0])


def _stop(descriptor: int) -> SystemFault | None:
    try:
        os.write(descriptor, b"V")
    except OSError as error:
        return SystemFault.of("stop the watchdog", error)
    finally:
        os.close(descriptor)
    return None
