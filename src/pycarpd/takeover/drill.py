"""A drill: this host's files restored in a scratch directory, to know beforehand that a takeover would serve them.

The proved chain is laid out in ``DATA_PATH/pycarpd/drill`` (the base a hard link, the tail a copy). ``mfsmaster
restore`` makes whole metadata of it without opening a socket, and that is compared with the proof, section by section.

``mfsmaster restore`` ends by SIGTERM whatever holds the lock of its DATA_PATH (3.0.117 and 4.59, main.c). It can never
be the running mfsmaster's: the directory is made anew by mkdir, below DATA_PATH and not a link; the configuration is
written here and read back before it is used; and a drill whose scratch lock somebody holds is refused.
"""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.process import Completed, lock_holder, run
from pycarpd.moosefs.chain import Chain, ChainRefusal, prove, write_layout
from pycarpd.moosefs.config import MfsConfig, read_mfs_config
from pycarpd.moosefs.metadata import MetadataFault, walk
from pycarpd.takeover.context import TakeoverSettings
from pycarpd.takeover.datafiles import Kept, make_scratch
from pycarpd.takeover.step import StepFault

RESTORED = "metadata.mfs"
CONFIG = "drill.cfg"
LOCK = ".mfsmaster.lock"
NICE_LEVEL = 19
_CONFIG_TEXT = """\
WORKING_USER = {user}
WORKING_GROUP = {group}
DATA_PATH = {scratch}
EXPORTS_FILENAME = {scratch}/mfsexports.cfg
TOPOLOGY_FILENAME = {scratch}/mfstopology.cfg
SYSLOG_IDENT = pycarpd-drill
NICE_LEVEL = {nice}
LOCK_MEMORY = 0
"""
_BARE_MEMORY_BYTES = 768 << 20
"""What a mfsmaster takes before it has loaded anything, with room to spare (some 0.5 GB seen on 3.0.117)."""
_MEMORY_PER_BYTE = 8
"""In memory an inode takes several times what it takes in the file."""
_SPARE_SHARE = 20
"""A drill leaves a twentieth of the memory and of the disk to everybody else."""
_TIMEOUT_BASE_S = 120
_RESTORED_BYTES_PER_S = 500_000
"""At the lowest priority, on a busy host, with the result written out: slower by far than a start."""
_LOOK_S = 0.1
_SAID_MAX = 500
_ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True)
class Drilled:
    """A drill that came to its end: the version restored, how long each part took, and mfsmaster's peak memory."""

    version: int
    metaid: int
    inode_count: int
    phases_ms: tuple[tuple[str, int], ...]
    memory_bytes: int

    @property
    def duration_ms(self) -> int:
        """Return how long it took in all."""
        return sum(ms for _, ms in self.phases_ms)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a drill was not tried: it would have taken from this host what it needs for more important things."""

    reason: str


@dataclass(slots=True)
class Rehearsal:
    """One drill on one host; ``tell`` hears the name of each phase as it begins."""

    settings: TakeoverSettings
    expected_metaid: int | None
    cancel: threading.Event
    tell: Callable[[str], None]
    binary: str = "mfsmaster"
    phase: str = ""
    phase_began_ns: int = 0
    memory_bytes: int = 0

    def run(self) -> Drilled | Skipped | StepFault:
        """Rehearse now; takes minutes where the metadata is large. The scratch directory is gone afterwards."""
        phases: list[tuple[str, int]] = []
        scratch = Kept(self.settings.data_path).drill
        try:
            return self._run(scratch, phases)
        except OSError as error:
            return StepFault("DRILL_FAILED", f"{error.filename or scratch}: {error.strerror or error}")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _run(self, scratch: Path, phases: list[tuple[str, int]]) -> Drilled | Skipped | StepFault:
        chain = self._lay_out(scratch, phases)
        if not isinstance(chain, Chain):
            return chain
        config = write_config(scratch, self.settings)
        if isinstance(config, StepFault):
            return config
        self._begin("restore", phases)
        fault = self._restore(config, scratch, timeout_s=_timeout_s(chain))
        if fault is not None:
            return fault
        self._begin("check", phases)
        return self._judge(scratch, chain, phases)

    def _begin(self, phase: str, phases: list[tuple[str, int]]) -> None:
        now_ns = boottime_ns()
        if self.phase:
            phases.append((self.phase, (now_ns - self.phase_began_ns) // 1_000_000))
        self.phase, self.phase_began_ns = phase, now_ns
        if phase:
            self.tell(phase)

    def _lay_out(self, scratch: Path, phases: list[tuple[str, int]]) -> Chain | Skipped | StepFault:
        """Prove the files and put the chain into a new scratch directory; a rotation in between is tried again."""
        fault = StepFault("DRILL_FAILED", "the files change faster than they can be laid out")
        self._begin("prove", phases)
        for _ in range(_ATTEMPTS_MAX):
            chain = prove(self.settings.data_path, expected_metaid=self.expected_metaid)
            if isinstance(chain, ChainRefusal):
                return StepFault(chain.code.value, chain.detail)
            lack = what_is_lacking(chain, self.settings.data_path)
            if lack:
                return Skipped(lack)
            if self.cancel.is_set():
                return _cancelled()
            make_scratch(scratch, self.settings.uid, self.settings.gid)
            try:
                write_layout(chain, scratch, owner=(self.settings.uid, self.settings.gid))
            except OSError as error:
                fault = StepFault("DRILL_FAILED", f"{error.filename or scratch}: {error.strerror or error}")
                continue
            return chain
        return fault

    def _restore(self, config: Path, scratch: Path, timeout_s: float) -> StepFault | None:
        holder = lock_holder(scratch / LOCK)
        if holder is not None:
            return StepFault("DRILL_FAILED", f"pid {holder} holds the scratch directory's lock")
        argv = [*_gently(), self.binary, "-c", str(config), "restore"]
        over = threading.Event()
        watcher = threading.Thread(target=self._watch_memory, args=(scratch / LOCK, over), name="drill-memory")
        watcher.start()
        try:
            # mfsmaster looks for emergency files in HOME; those of this host are not part of the rehearsal.
            environment = {**os.environ, "HOME": str(scratch)}
            completed = run(argv, timeout_s, cancel=self.cancel, environment=environment)
        finally:
            over.set()
            watcher.join()
        return _fault_of(completed, timeout_s)

    def _watch_memory(self, lock: Path, over: threading.Event) -> None:
        while not over.wait(_LOOK_S):
            holder = lock_holder(lock)
            if holder is None or holder <= 1:
                continue
            try:
                self.memory_bytes = max(self.memory_bytes, psutil.Process(holder).memory_info().rss)
            except psutil.Error:
                continue

    def _judge(self, scratch: Path, chain: Chain, phases: list[tuple[str, int]]) -> Drilled | StepFault:
        """Compare what was restored with the proof: exit status 0 says nothing."""
        found = walk(scratch / RESTORED)
        if isinstance(found, MetadataFault):
            return StepFault("DRILL_DAMAGED", f"the restored metadata is not whole: {found.detail}")
        restored = (found.header.metaid, found.header.version)
        if restored != (chain.metaid, chain.version):
            text = f"metaid {restored[0]:016x} version {restored[1]} was restored"
            return StepFault("DRILL_DIFFERS", f"{text}, the files prove {chain.metaid:016x} version {chain.version}")
        self._begin("", phases)
        return Drilled(chain.version, chain.metaid, found.inode_count, tuple(phases), self.memory_bytes)


def what_is_lacking(chain: Chain, data_path: Path) -> str:
    """Return why a drill of that chain would hurt this host, empty if it would not."""
    base_bytes = chain.base.stat().st_size
    tail_bytes = sum(piece.end_offset - piece.offset for piece in chain.tail)
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(data_path)
    needed = _BARE_MEMORY_BYTES + _MEMORY_PER_BYTE * base_bytes
    if memory.available - needed < memory.total // _SPARE_SHARE:
        return f"it needs {needed >> 20} MiB of memory, {memory.available >> 20} MiB are available"
    needed = 2 * base_bytes + 2 * tail_bytes
    if disk.free - needed < disk.total // _SPARE_SHARE:
        return f"it needs {needed >> 20} MiB of disk, {disk.free >> 20} MiB are free"
    return ""


def write_config(scratch: Path, settings: TakeoverSettings) -> Path | StepFault:
    """Write the drill's own mfsmaster.cfg and return it, once it is proved to lead to the scratch directory alone."""
    master = read_mfs_config(settings.master_config)
    if not isinstance(master, MfsConfig):
        return StepFault("DRILL_FAILED", f"{settings.master_config}: {master[0].detail}")
    for name in ("mfsexports.cfg", "mfstopology.cfg"):
        (scratch / name).write_text("", encoding="ascii")
    path = scratch / CONFIG
    text = _CONFIG_TEXT.format(user=master.working_user, group=master.working_group, scratch=scratch, nice=NICE_LEVEL)
    path.write_text(text, encoding="utf-8")
    written = read_mfs_config(path)
    if not isinstance(written, MfsConfig) or not is_apart(written.data_path, settings.data_path):
        return StepFault("DRILL_FAILED", f"{path} does not lead to the scratch directory alone")
    return path


def is_apart(scratch: Path, data_path: Path) -> bool:
    """Tell whether a drill in *scratch* cannot meet the mfsmaster of *data_path*: another directory, another lock."""
    if not scratch.is_dir() or scratch.is_symlink() or scratch.samefile(data_path):
        return False
    lock, running = scratch / LOCK, data_path / LOCK
    return not (os.path.lexists(lock) and (lock.is_symlink() or (running.exists() and lock.samefile(running))))


def _timeout_s(chain: Chain) -> float:
    size = chain.base.stat().st_size + sum(piece.end_offset - piece.offset for piece in chain.tail)
    return float(_TIMEOUT_BASE_S + size // _RESTORED_BYTES_PER_S)


def _gently() -> list[str]:
    """Return the words before a command that make it wait for everybody else, on one CPU that is not the first."""
    words: list[str] = []
    if shutil.which("chrt"):
        words += ["chrt", "--idle", "0"]
    if shutil.which("ionice"):
        words += ["ionice", "-c", "3"]
    cpus = sorted(os.sched_getaffinity(0))
    if shutil.which("taskset") and len(cpus) > 1:
        words += ["taskset", "-c", str(cpus[-1])]
    return words


def _cancelled() -> StepFault:
    return StepFault("DRILL_CANCELLED", "something more important came up")


def _fault_of(completed: Completed, timeout_s: float) -> StepFault | None:
    if completed.is_success:
        return None
    if completed.cancelled:
        return _cancelled()
    said = (completed.stdout + completed.stderr).decode(errors="replace").strip()[-_SAID_MAX:]
    if completed.timed_out:
        return StepFault("DRILL_TIMED_OUT", f"not restored within {timeout_s:.0f} s: {said}")
    how = completed.fault or f"exit status {completed.exit_status}"
    return StepFault("DRILL_FAILED", f"mfsmaster restore: {how}: {' / '.join(said.splitlines()[-4:])}")
