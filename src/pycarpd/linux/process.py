"""Processes: started with a bound, watched by pidfd, and killed to the last descendant.

A pid alone names nobody: it may belong to somebody else by the time it is used. Here a process is its pid
together with its start time (field 22 of /proc/PID/stat), and signals go through a pidfd that was checked
against that pair. Nothing waits by polling; a pidfd becomes readable when its process has ended.
"""

import ctypes
import fcntl
import os
import select
import signal
import struct
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from pycarpd.invariant import invariant
from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.faults import SystemFault

_NS_PER_S = 1_000_000_000
_FREEZE_ROUNDS_MAX = 10
"""How often a tree is searched for newcomers; a frozen parent forks no more, so two rounds are usual."""
_PR_SET_PDEATHSIG = 1
_FLOCK = struct.Struct("hhqqi4x")
"""struct flock with 64-bit offsets: type, whence, start, length, pid."""
_CANCEL_SLICE_S = 0.02
"""A threading.Event cannot be put into a poll set, so a cancellable wait looks at it this often."""
_READ_MAX = 65536
_DRAIN_READS_MAX = 16
"""Reads of one pipe in a row, so that a program that never stops talking cannot hold up its deadline."""
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Who a pid was when somebody looked: start time in clock ticks after boot, parent, group, session."""

    pid: int
    start_ticks: int
    parent: int
    group: int
    session: int


@dataclass(frozen=True, slots=True)
class KillResult:
    """The pids that have ended, and those that had not by the deadline (in uninterruptible sleep)."""

    killed: tuple[int, ...]
    survivors: tuple[int, ...]

    @property
    def is_complete(self) -> bool:
        """True when nobody of the tree is left."""
        return not self.survivors


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the living process *pid*; None when there is none, or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        # ENOENT or ESRCH: the process is gone, which is the answer and not a fault.
        return None
    # The command name may hold spaces and parentheses; the fields begin after its last parenthesis.
    fields = stat.rpartition(b")")[2].split()
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return ProcessIdentity(pid, int(fields[19]), int(fields[1]), int(fields[2]), int(fields[3]))


def wait_pidfd(descriptor: int, timeout_s: float) -> bool:
    """Wait until the pidfd's process has ended, at most *timeout_s* seconds; True when it has."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(max(0, timeout_s) * 1000))


class ProcessWatch:
    """A process held by pidfd: readable (epoll) once it has ended, and safe to signal whatever pids do."""

    def __init__(self, identity: ProcessIdentity, descriptor: int) -> None:
        self.identity = identity
        self._fd = descriptor

    @classmethod
    def open(cls, pid: int, start_ticks: int | None = None) -> Self | None:
        """Hold process *pid*; None when it has ended, or was not started at *start_ticks*.

        Raises OSError only where this process has no file descriptor left.
        """
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        identity = identify(pid)
        # While the held process lives its pid cannot be given away, so the identity read in between is its own.
        if (
            identity is None
            or wait_pidfd(descriptor, 0)
            or (start_ticks is not None and identity.start_ticks != start_ticks)
        ):
            os.close(descriptor)
            return None
        return cls(identity, descriptor)

    @property
    def pid(self) -> int:
        """Return the held process's pid."""
        return self.identity.pid

    def fileno(self) -> int:
        """Return the pidfd to wait on."""
        return self._fd

    def is_alive(self) -> bool:
        """Say whether the process has not ended yet."""
        return not wait_pidfd(self._fd, 0)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end, at most *timeout_s* seconds; True when it has come."""
        return wait_pidfd(self._fd, timeout_s)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False when the process has ended. Raises PermissionError when it is not ours to end."""
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return False
        return True

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


def lock_holder(path: Path) -> int | None:
    """Return the pid that holds a POSIX lock on *path* (F_GETLK), None when nobody does or there is no file.

    A holder without a pid in this pid namespace reads as 0, an open-file-description lock as -1. This
    process's own locks are not seen. Raises OSError when the file is there but cannot be asked.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, query))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)


def process_tree(root: int | ProcessIdentity) -> tuple[ProcessIdentity, ...]:
    """Return *root* (when alive), its descendants, and what is left of the process groups they lead.

    A child that outlived its parent is found by its group, or by its session when the leader is in the tree. One that
    left the group, the session and the parent before anybody looked cannot be told from a stranger.
    """
    identity = identify(root) if isinstance(root, int) else root
    if identity is None:
        return ()
    members = {found.pid: found for found in _descendants(identity)}
    groups = {identity.group, *(member.group for member in members.values())}
    sessions = {member.session for member in members.values() if member.session in members}
    kin_groups = {group for group in groups if group in members or identify(group) is None} - {os.getpgrp()}
    for other in filter(None, map(identify, psutil.pids())):
        if other.group in kin_groups or other.session in sessions:
            members.setdefault(other.pid, other)
    members.pop(os.getpid(), None)
    return tuple(members.values())


def kill_tree(root: int | ProcessIdentity, timeout_s: float) -> KillResult:
    """End *root* and its whole tree by SIGKILL, and verify that all have ended within *timeout_s* seconds.

    The tree is stopped before it is killed, so that nobody forks while it is being searched. An identity
    (rather than a bare pid) also reaches the orphans of a root that has ended already. Raises PermissionError when
    the processes are not ours to end.
    """
    pid = root if isinstance(root, int) else root.pid
    invariant(pid > 1 and pid != os.getpid(), f"kill_tree was asked to end pid {pid}")
    deadline_ns = boottime_ns() + int(timeout_s * _NS_PER_S)
    watches: dict[int, ProcessWatch] = {}
    try:
        _freeze(root, watches)
        for watch in watches.values():
            watch.signal(signal.SIGKILL)
        survivors = tuple(w.pid for w in watches.values() if not w.wait(_left_s(deadline_ns)))
        killed = tuple(member for member in watches if member not in survivors)
    finally:
        for watch in watches.values():
            watch.close()
    return KillResult(killed, survivors)


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended.

    ``exit_status`` is negative for a death by signal, and None when the command could not be started (``fault`` says
    why) or was still there after SIGKILL. Output beyond the bound was read and dropped (``is_truncated``).
    """

    argv: tuple[str, ...]
    exit_status: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    cancelled: bool = False
    is_truncated: bool = False
    fault: SystemFault | None = None

    @property
    def is_success(self) -> bool:
        """True for exit status 0 in time; what the program did is the caller's to verify."""
        return self.exit_status == 0 and not self.timed_out and not self.cancelled


def run(
    argv: Sequence[str],
    timeout_s: float,
    *,
    cancel: threading.Event | None = None,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    output_max: int = 1 << 20,
    kill_grace_s: float = 2.0,
) -> Completed:
    """Run *argv* without a shell in a session of its own, and say how it ended; never raises OSError.

    On timeout or cancellation its process group gets SIGTERM, and SIGKILL *kill_grace_s* seconds later. It is
    over when the process itself has ended: a daemon that it left behind may hold the pipes open and lives on.
    """
    try:
        with open(os.memfd_create("stdin"), "w+b") as source:  # noqa: PTH123 -- a descriptor has no path
            source.write(stdin)
            source.seek(0)
            child = subprocess.Popen(
                list(argv),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
    except OSError as error:
        return Completed(tuple(argv), None, b"", b"", fault=SystemFault.of(f"start {argv[0]}", error))
    return _Supervision(child, output_max).until_ended(tuple(argv), timeout_s, cancel, kill_grace_s)


@dataclass(slots=True)
class _Supervision:
    """A running command: its pipes are drained while its pidfd is waited for."""

    child: subprocess.Popen[bytes]
    output_max: int
    output: dict[int, bytearray] = field(default_factory=dict)
    is_truncated: bool = False

    def until_ended(
        self, argv: tuple[str, ...], timeout_s: float, cancel: threading.Event | None, kill_grace_s: float
    ) -> Completed:
        """Wait for the end, by force after *timeout_s* seconds or when *cancel* is set."""
        invariant(self.child.stdout is not None and self.child.stderr is not None, "the pipes are there")
        pipes = [pipe for pipe in (self.child.stdout, self.child.stderr) if pipe is not None]
        self.output = {pipe.fileno(): bytearray() for pipe in pipes}
        for pipe in pipes:
            os.set_blocking(pipe.fileno(), False)
        pidfd = os.pidfd_open(self.child.pid)
        try:
            has_ended = self._wait(pidfd, timeout_s, cancel)
            cancelled = not has_ended and cancel is not None and cancel.is_set()
            timed_out = not has_ended and not cancelled
            has_ended = has_ended or self._end_by_force(pidfd, kill_grace_s)
            stdout, stderr = (bytes(self.output[pipe.fileno()]) for pipe in pipes)
        finally:
            os.close(pidfd)
            for pipe in pipes:
                pipe.close()
        status = self.child.wait() if has_ended else None
        return Completed(argv, status, stdout, stderr, timed_out, cancelled, self.is_truncated)

    def _end_by_force(self, pidfd: int, kill_grace_s: float) -> bool:
        """Send SIGTERM, then SIGKILL, to the group; False when even that does not end the child."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            # The child is not reaped yet, so its group cannot have become somebody else's.
            with suppress(ProcessLookupError):
                os.killpg(self.child.pid, number)
            if self._wait(pidfd, kill_grace_s, None):
                break
        else:
            return False
        # Whoever of the group ignored SIGTERM must not outlive the child that did not.
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        return True

    def _wait(self, pidfd: int, timeout_s: float, cancel: threading.Event | None) -> bool:
        """Drain the pipes until the child has ended; False at the deadline or when *cancel* is set."""
        deadline_ns = boottime_ns() + int(timeout_s * _NS_PER_S)
        poller = select.poll()
        for descriptor in (pidfd, *self.output):
            poller.register(descriptor, select.POLLIN)
        while True:
            left_s = _left_s(deadline_ns)
            slice_s = left_s if cancel is None else min(left_s, _CANCEL_SLICE_S)
            ready = [descriptor for descriptor, _ in poller.poll(slice_s * 1000)]
            for descriptor in ready:
                if descriptor != pidfd and not self._drain(descriptor):
                    poller.unregister(descriptor)
            if pidfd in ready:
                for descriptor in self.output:
                    self._drain(descriptor)
                return True
            if left_s == 0 or (cancel is not None and cancel.is_set()):
                return False

    def _drain(self, descriptor: int) -> bool:
        """Read what a pipe holds now, bounded by its capacity; False at its end."""
        kept = self.output[descriptor]
        for _ in range(_DRAIN_READS_MAX):
            try:
                data = os.read(descriptor, _READ_MAX)
            except BlockingIOError:
                return True
            if not data:
                return False
            room = self.output_max - len(kept)
            kept += data[:room]
            self.is_truncated = self.is_truncated or len(data) > room
        return True


def set_parent_death_signal(parent: int | None = None, number: signal.Signals = signal.SIGKILL) -> bool:
    """Ask the kernel to send this process *number* when the thread that forked it ends; False when it refuses.

    Give the *parent*'s pid as the child was told it: False too when that parent has ended before the request, which the
    kernel does not report by itself. Cleared by a set-user-id exec (prctl(2), PR_SET_PDEATHSIG).
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        return False
    return parent is None or os.getppid() == parent


def _descendants(root: ProcessIdentity) -> Iterable[ProcessIdentity]:
    """Yield *root* and everybody below it, unless the pid has become somebody else's."""
    now = identify(root.pid)
    if now is None or now.start_ticks != root.start_ticks:
        return
    yield now
    try:
        children = psutil.Process(root.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    yield from filter(None, (identify(child.pid) for child in children))


def _freeze(root: int | ProcessIdentity, watches: dict[int, ProcessWatch]) -> None:
    """Stop every process of the tree, searching again until nobody new is found; adds them to *watches*."""
    target = identify(root) if isinstance(root, int) else root
    if target is None:
        return
    for _ in range(_FREEZE_ROUNDS_MAX):
        fresh = [member for member in process_tree(target) if member.pid not in watches]
        if not fresh:
            return
        for member in fresh:
            watch = ProcessWatch.open(member.pid, member.start_ticks)
            if watch is not None:
                watches[member.pid] = watch
                watch.signal(signal.SIGSTOP)


def _left_s(deadline_ns: int) -> float:
    """Return the seconds until *deadline_ns*, never negative."""
    return max(0, deadline_ns - boottime_ns()) / _NS_PER_S
