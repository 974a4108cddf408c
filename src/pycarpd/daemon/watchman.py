"""Noticing within milliseconds that a serving mfsmaster has died: its pidfd in the event loop."""

import asyncio
from collections.abc import Callable

from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.process import ProcessWatch
from pycarpd.moosefs.control import Mfsmaster

RESTART_AGAIN_AFTER_NS = 300 * 1_000_000_000
"""A mfsmaster that dies twice within this time has something that a third start on this host will not mend."""


class Watchman:
    """Watches one mfsmaster at a time and remembers when it last had to be restarted."""

    def __init__(self, mfsmaster: Mfsmaster, on_gone: Callable[[str], None]) -> None:
        self._mfsmaster = mfsmaster
        self._on_gone = on_gone
        self._watch: ProcessWatch | None = None
        self._restarted_ns: int | None = None

    def watch(self) -> None:
        """Watch the mfsmaster that runs now; one that does not run is gone already."""
        self.rest()
        pid = self._mfsmaster.lock_holder()
        self._watch = ProcessWatch.open(pid) if pid is not None else None
        if self._watch is None:
            self._on_gone("is not running")
            return
        asyncio.get_running_loop().add_reader(self._watch.fileno(), self._gone)

    def rest(self) -> None:
        """Watch nothing."""
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None

    def may_restart(self) -> bool:
        """Tell whether a restart in place may be tried, and count it as tried if so."""
        now_ns = boottime_ns()
        if self._restarted_ns is not None and now_ns - self._restarted_ns < RESTART_AGAIN_AFTER_NS:
            return False
        self._restarted_ns = now_ns
        return True

    def _gone(self) -> None:
        self.rest()
        self._on_gone("died")
