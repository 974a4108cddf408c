"""The only place in the daemon that reads a clock, and the timer that wakes it.

CLOCK_BOOTTIME counts a suspend, so that a lease cannot survive a night's sleep, and no step of the wall
clock moves it. Python 3.11 has no timerfd; the three calls are made through ctypes.
"""

import ctypes
import os
import struct
import time
from types import TracebackType
from typing import Self

from pycarpd.invariant import invariant

_TFD_TIMER_ABSTIME = 1
_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_NS_PER_S = 1_000_000_000
_UNDISTURBED_NS = 5_000
"""Three reads of the clocks take about a microsecond when nobody interrupts them."""


class _TimeSpec(ctypes.Structure):
    """struct timespec of the C library."""

    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    """struct itimerspec: no interval, one expiry."""

    _fields_ = (("it_interval", _TimeSpec), ("it_value", _TimeSpec))


_libc = ctypes.CDLL(None, use_errno=True)


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME in nanoseconds: monotonic, counts suspend, the core's only time."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def realtime_ns() -> int:
    """Return CLOCK_REALTIME in nanoseconds: for people and for kernel stamps, never for a deadline."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def realtime_offset_ns() -> int:
    """Return CLOCK_REALTIME - CLOCK_BOOTTIME, at most the time between two reads too large.

    Too large is the safe side: a kernel stamp converted with it looks older than it is, never younger.
    The best of three tries is taken when the scheduler stepped in between the reads.
    """
    best_width = best_offset = -1
    read = time.clock_gettime_ns  # asked for each datagram: the calls of this module's own cost more than the clocks
    for _ in range(3):
        before = read(time.CLOCK_BOOTTIME)
        wall = read(time.CLOCK_REALTIME)
        width = read(time.CLOCK_BOOTTIME) - before
        if best_width < 0 or width < best_width:
            best_width, best_offset = width, wall - before
        if width < _UNDISTURBED_NS:
            break
    return best_offset


class DeadlineTimer:
    """A timerfd on CLOCK_BOOTTIME: readable from the armed deadline on, to be put into an epoll set.

    Deadlines are absolute, so a late loop never drifts. Raises OSError where the kernel has no file
    descriptor left for it.
    """

    def __init__(self) -> None:
        self._fd = _checked(_libc.timerfd_create(time.CLOCK_BOOTTIME, _TFD_NONBLOCK_CLOEXEC), "timerfd_create")
        self._spec = _TimerSpec()
        self._value = self._spec.it_value
        self._argument = ctypes.byref(self._spec)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._fd

    def arm(self, deadline_ns: int) -> None:
        """Expire once at *deadline_ns* of CLOCK_BOOTTIME; at once when that has passed already."""
        # Zero would disarm the timer; any past instant means "now" to the kernel.
        self._set(max(deadline_ns, 1))

    def disarm(self) -> None:
        """Forget the deadline, and an expiry that was not acknowledged."""
        self._set(0)

    def acknowledge(self) -> int:
        """Return how often the timer expired since it was last asked: 0 or 1; not readable afterwards."""
        try:
            return int(struct.unpack("=Q", os.read(self._fd, 8))[0])
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Give the descriptor back; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set(self, value_ns: int) -> None:
        invariant(self._fd >= 0, "a closed DeadlineTimer was armed")
        self._value.tv_sec, self._value.tv_nsec = divmod(value_ns, _NS_PER_S)
        _checked(_libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, self._argument, None), "timerfd_settime")


def _checked(result: int, call: str) -> int:
    """Return *result*, or raise the OSError that the C library left in errno."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
