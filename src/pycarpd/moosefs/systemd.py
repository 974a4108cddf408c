"""A program's systemd unit, as far as systemd must not fight back when the program is stopped or killed.

On a host without systemd, or where the unit is not loaded, nothing is active and nothing is asked of systemctl.
"""

from pathlib import Path

from pycarpd.linux.process import run
from pycarpd.moosefs.faults import ServiceCode, ServiceFault

_RUNTIME = Path("/run/systemd/system")
_ASK_TIMEOUT_S = 5.0
_BUSY_STATES = frozenset({"active", "activating", "reloading", "deactivating"})


class Unit:
    """One systemd unit by its name, for example ``moosefs-metalogger.service``."""

    def __init__(self, name: str, runtime: Path = _RUNTIME) -> None:
        self.name = name
        self._runtime = runtime

    def is_active(self) -> bool:
        """Tell whether systemd runs the unit now or is about to (an automatic restart counts)."""
        return self._property("ActiveState") in _BUSY_STATES

    def is_loaded(self) -> bool:
        """Tell whether this host has the unit."""
        return self._property("LoadState") == "loaded"

    def start(self, timeout_s: float) -> ServiceFault | None:
        """Start the unit; returns when systemd says so, which for Type=simple proves nothing."""
        return self._systemctl("start", timeout_s=timeout_s)

    def stop(self, timeout_s: float) -> ServiceFault | None:
        """Stop the unit by its own rules and wait for it."""
        return self._systemctl("stop", timeout_s=timeout_s)

    def kill(self, timeout_s: float) -> ServiceFault | None:
        """SIGKILL every process of the unit's control group, then stop it so that nothing restarts it."""
        fault = self._systemctl("kill", "--kill-whom=all", "-s", "KILL", timeout_s=timeout_s)
        return self.stop(timeout_s) or fault

    def _property(self, name: str) -> str:
        if not self._runtime.is_dir():
            return ""
        completed = run(["systemctl", "show", "--property", name, "--value", self.name], _ASK_TIMEOUT_S)
        return completed.stdout.decode(errors="replace").strip() if completed.is_success else ""

    def _systemctl(self, *arguments: str, timeout_s: float) -> ServiceFault | None:
        completed = run(["systemctl", *arguments, self.name], timeout_s)
        if completed.is_success:
            return None
        said = completed.stderr.decode(errors="replace").strip()[-500:] or "no answer in time"
        return ServiceFault(ServiceCode.SYSTEMD, f"systemctl {arguments[0]} {self.name}: {said}")
