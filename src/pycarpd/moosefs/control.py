"""Starting and stopping mfsmaster and mfsmetalogger.

Exit status 0 of ``mfsmaster -a start`` proves nothing (MooseFS 3.0.117 and 4.59.2 return it when the daemon has
died while loading), so a start counts only when the lock is held afterwards; whether it serves the right file
system is for the probe to say. A clean stop of mfsmaster takes 4 s even when small, so it is killed; the
metalogger is asked, since its buffer holds up to a second of changes.
"""

import signal
import threading
from pathlib import Path

from pycarpd.linux.process import Completed, ProcessWatch, run
from pycarpd.moosefs.faults import ServiceCode, ServiceFault, Started
from pycarpd.moosefs.service import SYSTEMCTL_TIMEOUT_S, Service
from pycarpd.moosefs.systemd import Unit

_START_ATTEMPTS_MAX = 20
"""An orphaned background writer lets go of its lock within about 100 ms of mfsmaster's death."""
_LOCK_POLLS_MAX = 40
_RETRY_S = 0.025
_CLEAN_UP_TIMEOUT_S = 20.0
_SAID_MAX = 600
_BGWRITER_HELD = b"bgsaver lock exists"


def _said(completed: Completed) -> str:
    text = (completed.stdout + completed.stderr).decode(errors="replace").strip()
    return " / ".join(text[-_SAID_MAX:].splitlines()[-6:]) or "said nothing"


def _fault_of(completed: Completed) -> ServiceFault | None:
    if completed.fault is not None:
        return ServiceFault(ServiceCode.NOT_STARTED, str(completed.fault))
    if completed.timed_out:
        return ServiceFault(ServiceCode.TIMED_OUT, _said(completed))
    if completed.exit_status != 0:
        return ServiceFault(ServiceCode.REFUSED, f"exit status {completed.exit_status}: {_said(completed)}")
    return None


class Mfsmaster(Service):
    """The mfsmaster of one data directory."""

    def __init__(self, config_path: Path, data_path: Path, binary: str = "mfsmaster", unit: Unit | None = None) -> None:
        locks = (".mfsmaster.lock", ".bgwriter.lock")
        unit = unit or Unit("moosefs-master.service")
        super().__init__("mfsmaster", config_path, data_path, locks, unit)
        self._binary = binary

    def start(self, timeout_s: float, cancel: threading.Event) -> Started | ServiceFault:
        """Start with ``-a`` and return once it listens; *timeout_s* has to cover loading the metadata.

        On any fault, and when *cancel* is set meanwhile, nothing of it is left running.
        """
        holder = self.lock_holder()
        if holder is not None:
            return ServiceFault(ServiceCode.ALREADY_RUNNING, f"pid {holder} holds {self.data_path}")
        argv = [self._binary, "-c", str(self.config_path), "-a", "start"]
        result: Started | ServiceFault = ServiceFault(ServiceCode.CANCELLED, "before it was tried")
        for _ in range(_START_ATTEMPTS_MAX):
            completed = run(argv, timeout_s, cancel=cancel)
            if completed.is_success or _BGWRITER_HELD not in completed.stdout + completed.stderr:
                result = self._judge(completed)
                break
            if cancel.wait(_RETRY_S):
                break
        if isinstance(result, ServiceFault):
            self.kill_tree(_CLEAN_UP_TIMEOUT_S)
        return result

    def _judge(self, completed: Completed) -> Started | ServiceFault:
        if completed.cancelled:
            return ServiceFault(ServiceCode.CANCELLED, "cancelled while loading")
        fault = _fault_of(completed)
        if fault is not None:
            return fault
        pid = self.lock_holder()
        if pid is None:
            return ServiceFault(ServiceCode.DIED_LOADING, f"exit status 0, but gone: {_said(completed)}")
        return Started(pid)


class Mfsmetalogger(Service):
    """The mfsmetalogger of one data directory."""

    def __init__(
        self, config_path: Path, data_path: Path, binary: str = "mfsmetalogger", unit: Unit | None = None
    ) -> None:
        unit = unit or Unit("moosefs-metalogger.service")
        super().__init__("mfsmetalogger", config_path, data_path, (".mfsmetalogger.lock",), unit)
        self._binary = binary

    def start(self, timeout_s: float) -> Started | ServiceFault:
        """Start it, by its unit where systemd has one for this configuration; running already is success."""
        holder = self.lock_holder()
        if holder is not None:
            return Started(holder)
        fault = self._start(timeout_s)
        if fault is not None:
            return fault
        for _ in range(_LOCK_POLLS_MAX):
            pid = self.lock_holder()
            if pid is not None:
                return Started(pid)
            # Through its unit (Type=simple) the start returns before the lock is taken.
            threading.Event().wait(_RETRY_S)
        return ServiceFault(ServiceCode.DIED_LOADING, f"{self.program} does not hold its lock")

    def stop(self, timeout_s: float) -> ServiceFault | None:
        """Stop it so that its buffer is written (SIGTERM, 6-11 ms); not running is success.

        One that does not end within *timeout_s* is killed, which may cost up to a second of changes.
        """
        if self._unit.is_active():
            fault = self._unit.stop(SYSTEMCTL_TIMEOUT_S)
            if fault is not None:
                return fault
        pid = self.lock_holder()
        if pid is None:
            return None
        if _terminate(pid, timeout_s) and not self.is_running():
            return None
        return self.kill_tree(timeout_s)

    def _start(self, timeout_s: float) -> ServiceFault | None:
        is_units_own = self.config_path == Path("/etc/mfs/mfsmetalogger.cfg")
        if is_units_own and self._unit.is_loaded():
            return self._unit.start(timeout_s)
        return _fault_of(run([self._binary, "-c", str(self.config_path), "start"], timeout_s))


def _terminate(pid: int, timeout_s: float) -> bool:
    """SIGTERM *pid* and wait; True when it has ended."""
    watch = ProcessWatch.open(pid)
    if watch is None:
        return True
    with watch:
        return not watch.signal(signal.SIGTERM) or watch.wait(timeout_s)
