"""How controlling a MooseFS program can fail, as values."""

from dataclasses import dataclass
from enum import Enum


class ServiceCode(Enum):
    """Stable codes; reports and history show the value."""

    ALREADY_RUNNING = "ALREADY_RUNNING"
    NOT_STARTED = "PROGRAM_NOT_STARTED"
    REFUSED = "START_REFUSED"
    DIED_LOADING = "DIED_WHILE_LOADING"
    TIMED_OUT = "START_TIMED_OUT"
    CANCELLED = "START_CANCELLED"
    NOT_STOPPED = "NOT_STOPPED"
    NOT_KILLED = "NOT_KILLED"
    SYSTEMD = "SYSTEMCTL_FAILED"


@dataclass(frozen=True, slots=True)
class ServiceFault:
    """Why a program could not be started or stopped; ``detail`` is for the operator."""

    code: ServiceCode
    detail: str


@dataclass(frozen=True, slots=True)
class Started:
    """The program runs and its main process has this pid."""

    pid: int
