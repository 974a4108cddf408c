"""The fence as the daemon uses it: installed before anything else, open exactly as long as the lease.

A fence that an earlier run has left open is kept: it is the one of a daemon that is being restarted beside its
mfsmaster. Where addresses were put by hand and no fence is there yet, it is installed only when this node takes them
over, so that a running file system is not disturbed before that.
"""

import logging
from collections.abc import Callable

from pycarpd.linux.fence import Fence
from pycarpd.linux.realtime import Degradation

Log = Callable[[int, str], None]


class FenceKeeper:
    """Keeps the fence in step with the lease; without nf_tables it does nothing, and ``degradation`` says so."""

    def __init__(self, interface: str, addresses: tuple[str, ...], log: Log) -> None:
        self._fence = Fence(interface, addresses)
        self._log = log
        self._said = ""
        self._until_ns = 0
        self.is_installed = False
        self.degradation: Degradation | None = self._fence.is_available()
        self.is_usable = self.degradation is None or self.degradation.code == "fence-without-egress"

    def prepare(self, *, is_address_present: bool) -> None:
        """Fence the addresses at the start, unless they serve somebody already."""
        if not self.is_usable:
            return
        if self._fence.is_open() is True:
            self.is_installed = True
        elif not is_address_present:
            self.install()

    def install(self) -> None:
        """Install the fence, closed; again after the interface was made anew."""
        if not self.is_usable:
            return
        fault = self._fence.install()
        # What is left unwatched then are frames made by hand; the host's own packets are fenced.
        self.is_installed = fault is None or fault.operation.startswith("watch")
        if fault is not None:
            self._say(logging.ERROR, f"fence not whole fault={fault}")

    def open_until(self, deadline_ns: int) -> None:
        """Let the addresses' traffic through until the lease ends."""
        if not self.is_usable:
            return
        if not self.is_installed:
            self.install()
        fault = self._fence.renew_until(deadline_ns)
        if fault is not None and fault.name == "ENOENT":
            self._say(logging.ERROR, "somebody has taken the fence away, installing it again")
            self.install()
            fault = self._fence.renew_until(deadline_ns)
        self._until_ns = deadline_ns if fault is None else 0
        if fault is not None:
            self._say(logging.ERROR, f"cannot open the fence fault={fault}")

    def close(self) -> None:
        """Let nothing through from now on."""
        self._until_ns = 0
        if self.is_usable and self.is_installed:
            fault = self._fence.close()
            if fault is not None and fault.name != "ENOENT":
                self._say(logging.ERROR, f"cannot close the fence fault={fault}")

    def remove(self) -> None:
        """Take the fence away: the daemon ends, and whoever puts the addresses next answers for them."""
        if self.is_usable and self.is_installed:
            fault = self._fence.remove()
            self.is_installed = False
            if fault is not None:
                self._say(logging.WARNING, f"cannot remove the fence fault={fault}")

    def is_open(self, now_ns: int) -> bool | None:
        """Tell whether traffic passes now as far as this process knows, None where there is no fence."""
        return now_ns < self._until_ns if self.is_usable else None

    def _say(self, level: int, text: str) -> None:
        """Log what is new; the same fault every advert would fill the log."""
        if text != self._said:
            self._log(level, text)
        self._said = text
