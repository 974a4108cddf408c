"""The watchdog as the daemon uses it: armed while this node may serve, fed while it may be trusted to.

The last belt behind the fence and the address's lifetime: a host on which the heartbeat stands still, or holds an
address without a lease, is reset by its own hardware. It is armed before a promotion touches anything, fed from the
heartbeat's loop at most once a second, and stopped when the node is BACKUP again or ends cleanly. A heartbeat that died
while it was armed leaves a mark in the run directory; the one that follows takes the watchdog over and stops it, since
it serves nobody yet.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from pycarpd.linux.faults import SystemFault
from pycarpd.linux.realtime import Degradation
from pycarpd.linux.watchdog import Watchdog

OFF, AUTOMATIC, REQUIRED = "off", "automatic", "required"
TIMEOUT_S = 10
FEED_EVERY_NS = 1_000_000_000
MARK = "watchdog-armed"

Log = Callable[[int, str], None]
Arm = Callable[[str, int], Watchdog | SystemFault]


class Deadman:
    """Keeps the watchdog in step with the role; ``mode`` is off, automatic (used where there is one) or required."""

    def __init__(self, mode: str, device: str, run_dir: str, log: Log, arm: Arm = Watchdog.arm) -> None:
        self._mode = mode
        self._device = device
        self._mark = Path(run_dir) / MARK
        self._log = log
        self._arm = arm
        self._watchdog: Watchdog | None = None
        self._fed_ns = 0
        self.degradation: Degradation | None = None

    @property
    def is_armed(self) -> bool:
        """Tell whether the machine is reset unless it is fed."""
        return self._watchdog is not None

    @property
    def why_not(self) -> str:
        """Return why this node may not serve, empty if it may as far as the watchdog is concerned."""
        if self._mode != REQUIRED or self.is_armed or Path(self._device).is_char_device():
            return ""
        return f"its watchdog is required, and {self._device} is no device"

    def take_over(self) -> None:
        """Stop a watchdog that an earlier heartbeat has left armed."""
        if self._mode != OFF and self._mark.exists() and self.arm():
            self._log(logging.WARNING, "an earlier heartbeat has left the watchdog armed")
            self.disarm()

    def arm(self) -> bool:
        """Arm it unless it is armed; False where it is required and cannot be."""
        if self._mode == OFF or self._watchdog is not None:
            return True
        armed = self._arm(self._device, TIMEOUT_S)
        if isinstance(armed, SystemFault):
            self._degrade(armed)
            return self._mode != REQUIRED
        self._watchdog, self.degradation = armed, None
        self._write_mark()
        self._log(logging.INFO, f'watchdog armed identity="{armed.identity}" timeout_s={armed.timeout_s}')
        return True

    def feed(self, now_ns: int, *, is_safe: bool) -> None:
        """Feed it, unless this node holds an address without a lease."""
        if self._watchdog is None or not is_safe or now_ns - self._fed_ns < FEED_EVERY_NS:
            return
        self._fed_ns = now_ns
        fault = self._watchdog.feed()
        if fault is not None:
            self._degrade(fault)

    def disarm(self) -> None:
        """Stop it: this node serves nobody any more."""
        if self._watchdog is None:
            return
        fault = self._watchdog.stop()
        self._watchdog = None
        if fault is not None:
            self._degrade(fault)
        self._mark.unlink(missing_ok=True)

    def _write_mark(self) -> None:
        try:
            self._mark.touch()
        except OSError as error:
            self._log(logging.WARNING, f"the watchdog is armed without a mark: {error}")

    def _degrade(self, fault: SystemFault) -> None:
        text = f"no watchdog stands behind the fence: {fault}"
        is_new = self.degradation is None or self.degradation.detail != text
        self.degradation = Degradation("watchdog-unusable", text, 'load its driver, or set [node] watchdog = "off"')
        if is_new:
            self._log(logging.ERROR, text)
