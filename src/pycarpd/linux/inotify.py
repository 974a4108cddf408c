"""Waiting until something in a directory changes (inotify(7)), or until somebody wakes the one who waits.

A kernel or file system without inotify, and changes that it cannot see (those another host makes on a network file
system), only mean that every wait lasts until its time is up: whoever waits has to look then anyway.
"""

import ctypes
import os
import select
from pathlib import Path

_IN_NONBLOCK = 0o4000
_IN_CLOEXEC = 0o2000000
_IN_MODIFY = 0x2
_IN_MOVED = 0xC0
_IN_CREATE = 0x100
_IN_DELETE = 0x200
_IN_ONLYDIR = 0x01000000
_EVENTS_BYTES = 64 * 1024
_MS = 1000
_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """Waits for changes in *directory*; one thread waits, any may wake it."""

    def __init__(self, directory: Path) -> None:
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._inotify_fd = _watch(directory)

    @property
    def is_watching(self) -> bool:
        """Tell whether the kernel reports changes; otherwise every wait lasts its longest."""
        return self._inotify_fd >= 0

    def wait(self, at_least_s: float, at_most_s: float) -> None:
        """Return when something has changed, but not before *at_least_s*, and after *at_most_s* in any case.

        A wake-up ends it at once, also one from before the wait.
        """
        if self._is_woken(at_least_s) or at_most_s <= at_least_s:
            return
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        if self.is_watching:
            poller.register(self._inotify_fd, select.POLLIN)
        for fd, _event in poller.poll((at_most_s - at_least_s) * _MS):
            self._drain(fd)

    def wake(self) -> None:
        """End the wait that is going on, or else the next one."""
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Give the kernel's objects back; nobody may wait or wake any more."""
        os.close(self._wake_fd)
        if self.is_watching:
            os.close(self._inotify_fd)

    def _is_woken(self, within_s: float) -> bool:
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        is_woken = bool(poller.poll(within_s * _MS))
        if is_woken:
            self._drain(self._wake_fd)
        return is_woken

    @staticmethod
    def _drain(fd: int) -> None:
        """Take what is there: an eventfd's count, or as many of inotify's events as fit."""
        try:
            os.read(fd, _EVENTS_BYTES)
        except BlockingIOError:
            return


def _watch(directory: Path) -> int:
    """Return an inotify descriptor for *directory*, -1 where there is none to be had."""
    fd: int = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    if fd < 0:
        return -1
    mask = _IN_MODIFY | _IN_MOVED | _IN_CREATE | _IN_DELETE | _IN_ONLYDIR
    if _libc.inotify_add_watch(fd, os.fsencode(directory), mask) < 0:
        os.close(fd)
        return -1
    return fd
