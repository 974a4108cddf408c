"""What mfsmaster and mfsmetalogger have in common: a lock file, a data directory, and a tree of processes.

A MooseFS daemon is found in three ways, because none is enough alone: by the pid that holds its lock file (not
yet taken in the first milliseconds, gone at once when it dies), by the lock of its background writer (an orphan
that outlives it), and by name and working directory (everything else, such as a metadata saver that keeps every
client's socket open after mfsmaster was killed).
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from pycarpd.linux.process import ProcessWatch, lock_holder
from pycarpd.moosefs.faults import ServiceCode, ServiceFault
from pycarpd.moosefs.systemd import Unit

_KILL_ROUNDS_MAX = 40
_COMM_LENGTH_MAX = 15
SYSTEMCTL_TIMEOUT_S = 10.0


class Service:
    """One MooseFS program of this host: its binary, configuration, data directory and lock files."""

    def __init__(self, program: str, config_path: Path, data_path: Path, locks: tuple[str, ...], unit: Unit) -> None:
        self.program = program
        self.config_path = config_path
        self.data_path = data_path
        self._locks = locks
        self._unit = unit

    def lock_holder(self) -> int | None:
        """Return the pid of the running daemon, or None; the lock file is asked with F_GETLK, never taken."""
        return lock_holder(self.data_path / self._locks[0])

    def is_running(self) -> bool:
        """Tell whether the daemon holds its lock."""
        return self.lock_holder() is not None

    def processes(self) -> frozenset[int]:
        """Return the pids of every live process that belongs to this program and data directory."""
        holders = (lock_holder(self.data_path / name) for name in self._locks)
        # A holder in another pid namespace reads as 0 or less; there is nobody to signal then.
        return frozenset(pid for pid in holders if pid is not None and pid > 1) | frozenset(self._scan())

    def kill_tree(self, timeout_s: float) -> ServiceFault | None:
        """SIGKILL every process of the program and return when none is left; nothing running is success.

        Where systemd runs the unit, systemd is told first, so that it does not start it again.
        """
        unit_fault = self._unit.kill(SYSTEMCTL_TIMEOUT_S) if self._unit.is_active() else None
        for _ in range(_KILL_ROUNDS_MAX):
            left = self.processes()
            if not left and not self.is_running():
                return unit_fault
            self._kill_and_wait(left, timeout_s / _KILL_ROUNDS_MAX)
        pids = ", ".join(map(str, sorted(left))) or "the lock's holder, in another pid namespace"
        return ServiceFault(ServiceCode.NOT_KILLED, f"{self.program}: still there after SIGKILL: {pids}")

    def _kill_and_wait(self, pids: frozenset[int], timeout_s: float) -> None:
        """SIGKILL each process that is still ours, then wait for their ends, at most *timeout_s* for each."""
        with contextlib.ExitStack() as held:
            watches = [held.enter_context(watch) for pid in pids if (watch := ProcessWatch.open(pid)) is not None]
            for watch in watches:
                # Looked at again under the pidfd: the pid may have become somebody else's since the search.
                if self._is_ours(Path(f"/proc/{watch.pid}")):
                    watch.signal(signal.SIGKILL)
            for watch in watches:
                watch.wait(timeout_s)

    def _scan(self) -> Iterator[int]:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and self._is_ours(Path(entry.path)):
                yield int(entry.name)

    def _is_ours(self, process: Path) -> bool:
        """Tell whether a process runs this program on this data; a zombie has no directory and is nobody's."""
        comm = self.program.encode()[:_COMM_LENGTH_MAX] + b"\n"
        try:
            if (process / "comm").read_bytes() != comm:
                return False
            with contextlib.suppress(FileNotFoundError):
                if (process / "cwd").samefile(self.data_path):
                    return True
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False
        return os.fsencode(self.config_path) in arguments
