"""What makes a Python process punctual: locked memory, a real-time priority, no garbage collection.

Each verb either works or returns a Degradation, to be logged and shown in the status; none of them is
fatal, and none fails silently. Meant for the single-threaded heartbeat process, once it has imported all it needs.
"""

import ctypes
import gc
import os
import resource
import signal
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

_MCL_CURRENT = 1
_MCL_FUTURE = 2
_MCL_ONFAULT = 4
_NICE_BEST = -20
_RUNAWAY_US = 500_000
"""CPU time without a single wait after which a process has no business at a real-time priority."""
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Degradation:
    """A wish the host did not grant: a stable code, what that means, and what the operator can do."""

    code: str
    detail: str
    remedy: str


def lock_memory() -> Degradation | None:
    """Keep every page, present and future, in memory once it has been touched (mlockall(2), MCL_ONFAULT)."""
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        return None
    return Degradation(
        "memory-not-locked",
        f"a swapped-out page may delay an advert (mlockall: {os.strerror(ctypes.get_errno())})",
        "grant CAP_IPC_LOCK, or set LimitMEMLOCK=infinity in the unit",
    )


def use_realtime(priority: int) -> Degradation | None:
    """Run this process by SCHED_FIFO at *priority* (1..99), its children not; or else at the best nice value.

    A loop that has not waited for half a second of CPU time, be it a bug or a flood of packets, loses its real-time
    priority (SIGXCPU by RLIMIT_RTTIME, so the signal must be left to this room) and goes on at the best nice value;
    lost_realtime() tells. To be called in the main thread.
    """
    try:
        signal.signal(signal.SIGXCPU, _give_realtime_up)
        resource.setrlimit(resource.RLIMIT_RTTIME, _guard())
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except (OSError, ValueError) as refusal:
        return _use_nice(str(refusal))
    return None


def come_first() -> Degradation | None:
    """Run the calling thread at the best nice value, threads and processes that it starts at the normal one.

    For work that the election waits for beside processes that only compute; it is no real-time priority.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, _NICE_BEST)
    except OSError as refusal:
        return Degradation(
            "no-priority",
            f"a busy host may delay votes and takeovers: no nice value of {_NICE_BEST} ({refusal})",
            "grant CAP_SYS_NICE",
        )
    return None


def come_before_all() -> Degradation | None:
    """Run the calling thread, and it alone, by SCHED_FIFO at the lowest priority, or else at the best nice value.

    For one that waits for the disk after each few lines of work: nothing guards against one that never waits.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        return come_first()
    return None


def has_realtime() -> bool:
    """Say whether this process has a real-time priority now."""
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO


def lost_realtime() -> Degradation | None:
    """Return what to say of a real-time priority that this process had and has lost, None if it has lost none."""
    return _lost[-1] if _lost else None


def freeze_garbage_collector() -> Degradation | None:
    """Collect once, then never again: what exists now is permanent, and the loop makes no cycles."""
    gc.collect()
    gc.freeze()
    gc.disable()
    if gc.get_freeze_count() > 0 and not gc.isenabled():
        return None
    return Degradation(
        "garbage-collector-not-frozen",
        "a collection may delay an advert by tens of milliseconds",
        "run pycarpd with CPython",
    )


_lost: deque[Degradation] = deque(maxlen=1)


def _guard() -> tuple[int, int]:
    """Return the soft and hard RLIMIT_RTTIME, which never loosen a limit that is tighter already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    return _RUNAWAY_US if soft == resource.RLIM_INFINITY else min(soft, _RUNAWAY_US), hard


def _give_realtime_up(_number: int, _frame: FrameType | None) -> None:
    """Let the others run: what hogs a processor is not punctual anyway, but alive it can still be asked why."""
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    _lost.append(
        Degradation(
            "no-realtime",
            "SCHED_FIFO was taken away: this process did not wait once in half a second of computing",
            "find out what kept it busy, such as a flood of datagrams, and restart pycarpd",
        )
    )
    # A nice value that is refused leaves the normal one, which has_realtime() does not claim to be more.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE_BEST)


def _use_nice(refusal: str) -> Degradation:
    """Take the best nice value instead of a real-time priority, and say what came of it."""
    remedy = "grant CAP_SYS_NICE or LimitRTPRIO, and check the cgroup's real-time budget (cpu.rt_runtime_us)"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE_BEST)
    except OSError as error:
        return Degradation(
            "no-priority", f"a busy host may delay adverts: neither SCHED_FIFO ({refusal}) nor nice ({error})", remedy
        )
    return Degradation(
        "no-realtime", f"adverts are sent at nice {_NICE_BEST} instead of SCHED_FIFO ({refusal})", remedy
    )
