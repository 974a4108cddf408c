"""Running other programs: every run is bounded, every exit status is looked at, nothing waits for a hung mount.

Output goes to unnamed files rather than pipes: a daemon that keeps its parent's standard output would hold a pipe
open for ever, and a process that hangs in FUSE cannot be waited for even after SIGKILL.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeVar

T = TypeVar("T")

_GIVE_UP_S: Final = 0.5
_POLL_S: Final = 0.05
TIMED_OUT: Final = 124
"""The exit status given to a run that was cut off, as timeout(1) gives it."""

_stuck: Final[list[subprocess.Popen[bytes]]] = []
"""Killed processes that have not ended yet; looked after with each further run."""


class LaboratoryError(Exception):
    """Something in the laboratory did not do what it must; the text says what, for a person."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended; ``status`` is TIMED_OUT when it was killed for its time."""

    argv: tuple[str, ...]
    status: int
    output: str
    errors: str

    @property
    def succeeded(self) -> bool:
        """True when the program itself reported success."""
        return self.status == 0

    def describe(self) -> str:
        """Say in one line what was run and how it ended."""
        said = (self.errors or self.output).strip().replace("\n", " | ")
        return f"`{' '.join(self.argv)}` ended with {self.status}: {said[-600:]}"


def run(*argv: str, timeout_s: float = 10.0, stdin: str = "", env: dict[str, str] | None = None) -> Completed:
    """Run a program to its end or for *timeout_s*, and say how it ended; raises nothing but OSError."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        process = subprocess.Popen(argv, stdin=given, stdout=output, stderr=errors, env=env)
        status = _wait(process, timeout_s)
        return Completed(argv, status, _read(output), _read(errors))


def must(*argv: str, timeout_s: float = 10.0, stdin: str = "") -> str:
    """Run a program that has to succeed and return what it printed; raises LaboratoryError."""
    completed = run(*argv, timeout_s=timeout_s, stdin=stdin)
    if not completed.succeeded:
        raise LaboratoryError(completed.describe())
    return completed.output


def spawn(argv: Sequence[str], log: Path, *, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a program that goes on, in a session of its own, its output appended to *log*."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=cwd
        )


def bound_to_parent(argv: Sequence[str]) -> list[str]:
    """Return *argv* made to die with the process that starts it, however that one ends."""
    return ["setpriv", "--pdeathsig", "KILL", *argv]


def end(process: subprocess.Popen[bytes], *, gently_s: float = 0.0) -> None:
    """End a process of ours: SIGTERM with *gently_s* to obey, then SIGKILL; never waits for one that is stuck."""
    if gently_s and process.poll() is None:
        process.terminate()
        _wait(process, gently_s)
    if process.poll() is None:
        process.kill()
    _wait(process, _GIVE_UP_S)


def eventually(predicate: Callable[[], T | None], within_s: float, what: str, *, every_s: float = _POLL_S) -> T:
    """Return the first truthy value of *predicate*, asked again and again.

    Raises LaboratoryError after *within_s*.
    """
    deadline = time.monotonic() + within_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise LaboratoryError(f"not within {within_s:g} s: {what}")
        time.sleep(every_s)


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME, the clock that all events of the laboratory are put in order by."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def realtime_offset_ns() -> int:
    """Return what must be added to CLOCK_BOOTTIME to get CLOCK_REALTIME, good to a few microseconds."""
    before = boottime_ns()
    wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
    return wall - (before + boottime_ns()) // 2


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot (proc(5), stat field 22); None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(")")[2].split()[19])


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    _stuck[:] = [one for one in _stuck if one.poll() is None]
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
    try:
        process.wait(_GIVE_UP_S)
    except subprocess.TimeoutExpired:
        # In the kernel, in FUSE as a rule: it ends when its mount does.
        _stuck.append(process)
    return TIMED_OUT


def _read(stream: IO[bytes]) -> str:
    # A child may still hold the same file and move the shared offset, so the position is given with each read.
    return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0).decode(errors="replace")
