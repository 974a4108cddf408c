"""Who a laboratory belongs to, and how it goes away: whatever happened, nothing of it may stay behind.

A laboratory is a prefix (``pc<pid>`` or ``pc<pid>x<n>``) that begins the name of every namespace, one
directory, and one record under /run/pycarpd-lab that names both together with the owning process. Everything
can be found again from the record alone, so any later run clears away what a killed owner has left.
"""

import atexit
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

from netns.commands import LaboratoryError, end, eventually, must, run, start_ticks

RECORDS: Final = Path("/run/pycarpd-lab")
NAMESPACES: Final = Path("/run/netns")
NETNS_ETC: Final = Path("/etc/netns")
CGROUPS: Final = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
"""Where version 2 of the control groups is mounted, beside version 1 or alone."""
HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_KILL_WITHIN_S: Final = 10.0
_serial = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down about a laboratory: enough to use it from elsewhere and to clear it away.

    ``is_standing`` marks one that was put up to stay; tests and demonstrations are not to be taken down by mistake.
    ``huge_pages`` is the kernel's policy to go back to, empty where the laboratory leaves it as it is.
    """

    prefix: str
    directory: str
    pid: int
    pid_start: int
    hosts: tuple[str, ...] = ()
    options: dict[str, Any] | None = None
    is_standing: bool = False
    huge_pages: str = ""

    @property
    def path(self) -> Path:
        """Return where this record lies."""
        return RECORDS / f"{self.prefix}.json"

    @property
    def is_owned(self) -> bool:
        """True while the very process that made the laboratory lives."""
        return start_ticks(self.pid) == self.pid_start

    def write(self) -> None:
        """Write the record, whole or not at all."""
        RECORDS.mkdir(exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.rename(self.path)


def records() -> list[Record]:
    """Return every laboratory written down on this machine, oldest first."""
    found = []
    for path in sorted(RECORDS.glob("*.json"), key=lambda p: p.stat().st_mtime):
        fields = json.loads(path.read_text())
        fields["hosts"] = tuple(fields["hosts"])
        found.append(Record(**fields))
    return found


def reap() -> list[str]:
    """Clear away the laboratories of owners that are gone; return their prefixes."""
    gone = [record for record in records() if not record.is_owned]
    for record in gone:
        dismantle(record)
    return [record.prefix for record in gone]


def namespaces(prefix: str) -> list[str]:
    """Return the names of the laboratory's namespaces that exist now."""
    listed = must("ip", "netns", "list").splitlines()
    return [name for name in (line.split()[0] for line in listed if line) if name.startswith(f"{prefix}-")]


def pids_in(name: str) -> list[int]:
    """Return the processes in a namespace, smallest number first.

    Without a program's help: what the laboratory computes after a crash it takes from the hosts that are to notice it.
    """
    wanted = _identity(NAMESPACES / name)
    numbered = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return sorted(pid for pid in numbered if wanted is not None and _identity(Path(f"/proc/{pid}/ns/net")) == wanted)


def _identity(namespace: Path) -> tuple[int, int] | None:
    """Return what tells a namespace from others, None for that of a process which has ended meanwhile."""
    try:
        found = namespace.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def kill_namespace(name: str) -> None:
    """SIGKILL every process in a namespace until none is left; raises LaboratoryError after ten seconds."""

    def is_empty() -> bool:
        pids = pids_in(name)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    eventually(is_empty, _KILL_WITHIN_S, f"no process left in {name}", every_s=0.01)


def mounts_below(directory: Path) -> list[str]:
    """Return the mount points below *directory*, innermost first, without touching any of them."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return sorted((p for p in points if p.startswith(f"{directory}/")), key=len, reverse=True)


def dismantle(record: Record, *, keep_files: bool = False) -> None:
    """Remove every trace of a laboratory, going on past what resists; raises LaboratoryError about the rest."""
    faults: list[str] = []
    directory = Path(record.directory)
    for name in namespaces(record.prefix):
        try:
            kill_namespace(name)
        except LaboratoryError as error:
            faults.append(str(error))
    for point in mounts_below(directory):
        _note(faults, "umount", "-l", point)
    for name in namespaces(record.prefix):
        _note(faults, "ip", "netns", "delete", name)
    for entry in NETNS_ETC.glob(f"{record.prefix}-*"):
        shutil.rmtree(entry, ignore_errors=True)  # another laboratory may be clearing the same one away
    for group in (found for root in CGROUPS for found in root.glob(f"{record.prefix}-*")):
        _note(faults, "rmdir", str(group))
    _go_back_to_policy(record)
    if mounts_below(directory):
        faults.append(f"still mounted, so {directory} stays: {mounts_below(directory)}")
    elif not keep_files and directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
    if faults:
        raise LaboratoryError(f"{record.prefix} could not be cleared away: " + "; ".join(faults))
    record.path.unlink(missing_ok=True)


def huge_page_policy() -> str:
    """Return the kernel's policy on huge pages; "never" where it has none."""
    return HUGE_PAGES.read_text().partition("[")[2].partition("]")[0] if HUGE_PAGES.exists() else "never"


def _go_back_to_policy(record: Record) -> None:
    if record.huge_pages:
        HUGE_PAGES.write_text(record.huge_pages)


def _note(faults: list[str], *argv: str) -> None:
    completed = run(*argv)
    if not completed.succeeded:
        faults.append(completed.describe())


class Owner:
    """The one object that a laboratory lives and dies with; a context manager, released at exit as well."""

    def __init__(self, *, keep_files: bool = False, handle_signals: bool = False, is_standing: bool = False) -> None:
        serial = next(_serial)
        prefix = f"pc{os.getpid()}" if serial == 1 else f"pc{os.getpid()}x{serial}"
        directory = Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
        # MooseFS's daemons drop to their own user and must be able to walk down to their files.
        directory.chmod(0o755)
        started = start_ticks(os.getpid())
        if started is None:
            raise LaboratoryError("/proc does not know this process; is it mounted?")
        self.record = Record(prefix, str(directory), os.getpid(), started, is_standing=is_standing)
        self.keep_files = keep_files
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._is_released = False
        self.record.write()
        atexit.register(self.release)
        if handle_signals:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, _leave)

    @property
    def prefix(self) -> str:
        """Return what the names of all namespaces begin with."""
        return self.record.prefix

    @property
    def directory(self) -> Path:
        """Return the directory that holds everything."""
        return Path(self.record.directory)

    def describe(self, hosts: tuple[str, ...], options: dict[str, Any]) -> None:
        """Write down what the laboratory consists of, so that another process can use it."""
        self.record = replace(self.record, hosts=hosts, options=options)
        self.record.write()

    def use_huge_pages(self) -> None:
        """Give huge pages to every program of this machine until the laboratory goes away, where the kernel lets it."""
        if os.access(HUGE_PAGES, os.W_OK) and not self.record.huge_pages:
            self.record = replace(self.record, huge_pages=huge_page_policy())
            self.record.write()
            HUGE_PAGES.write_text("always")

    def adopt(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Take on a process that was started for the laboratory, to end it with the laboratory."""
        self._helpers.append(process)
        return process

    def release(self) -> None:
        """Take everything down, once; raises LaboratoryError when something is left behind."""
        if self._is_released or os.getpid() != self.record.pid:
            return
        self._is_released = True
        atexit.unregister(self.release)
        for process in self._helpers:
            process.kill()
        dismantle(self.record, keep_files=self.keep_files)
        for process in self._helpers:
            end(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _leave(number: int, _frame: FrameType | None) -> None:
    # A second signal must not cut the clearing away short.
    for ignored in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    raise SystemExit(128 + number)
