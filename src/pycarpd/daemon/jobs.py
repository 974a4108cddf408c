"""What the election may want of the worker's plan desk, and who hears what becomes of it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pycarpd.control.reports import Report
from pycarpd.daemon.board import plan_report
from pycarpd.daemon.messages import DemoteRequest, PromoteRequest
from pycarpd.election.model import Freshness, PeerConnection
from pycarpd.takeover.demote import DEMOTE
from pycarpd.takeover.events import Outcome
from pycarpd.takeover.executor import StepProgress
from pycarpd.takeover.promote import PROMOTE
from pycarpd.takeover.switchover import HOLD, LEVEL

logger = logging.getLogger(__name__)


def _unheard(_term: int) -> None:
    """Answer a wish that nobody hears."""


class Kind(Enum):
    """What is asked of the host."""

    PROMOTE = PROMOTE
    DEMOTE = DEMOTE
    HOLD = HOLD
    LEVEL = LEVEL
    SPECULATE = "speculate"
    """A PROMOTE plan that waits for its term."""

    @property
    def plan(self) -> str:
        """Return the name of the plan that it needs."""
        return PROMOTE if self is Kind.SPECULATE else self.value

    @property
    def is_handovers(self) -> bool:
        """Tell whether it is one of a switchover's halves, which only lead up to the other plans."""
        return self in (Kind.HOLD, Kind.LEVEL)


@dataclass(frozen=True, slots=True)
class Job:
    """One wish of the election; ``successor`` is the name of the node that serves now, or empty.

    ``is_foreign``: a standby's metalogger files are archived too, since they hold what the successor never had.
    ``inherits``: the old master has handed over. For the others see takeover.context.Request.
    """

    kind: Kind
    term: int
    connections: tuple[PeerConnection, ...] = ()
    successor: str = ""
    is_foreign: bool = False
    inherits: bool = False
    successor_version: int | None = None
    master_version: int | None = None
    minimum_version: int = 0
    is_address_held: bool = False

    @classmethod
    def of_demotion(cls, asked: DemoteRequest) -> "Job":
        """Return the demotion that the heartbeat has asked for."""
        return cls(
            Kind.DEMOTE,
            asked.term,
            successor=asked.successor,
            is_foreign=asked.is_foreign,
            successor_version=asked.successor_version,
            master_version=asked.master_version,
        )

    @classmethod
    def of_promotion(cls, asked: PromoteRequest) -> "Job":
        """Return the promotion that the heartbeat has asked for."""
        return cls(
            Kind.PROMOTE,
            asked.term,
            connections=asked.connections,
            inherits=asked.inherits,
            minimum_version=asked.minimum_version,
            is_address_held=asked.is_address_held,
        )


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of plans, in the event loop: ``ended`` (job, is_ok), ``progress``, ``finished``.

    ``proved`` is told what the files of a promotion prove, as soon as that is known.
    """

    ask_address: Callable[[int, int], None]
    ended: Callable[[Job, bool], None]
    progress: Callable[[Job, StepProgress], None]
    finished: Callable[[Job, Outcome], None]
    want_address: Callable[[int], None] = _unheard
    proved: Callable[[Freshness], None] = lambda _freshness: None


@dataclass(frozen=True, slots=True)
class HandoverListener:
    """Who hears of a switchover's halves, in the event loop: ``told`` (job, version), ``confirmed``, ``finished``."""

    told: Callable[[Job, int], None]
    confirmed: Callable[[Job], None]
    finished: Callable[[Job, Outcome], None]


PLAN_FAILED_HINTS = {
    Kind.PROMOTE: "mend the cause; the node tries again by itself",
    Kind.DEMOTE: "mend the cause, then restart pycarpd here: until then this host may hold files of an older master",
}


def faults_of(job: Job, outcome: Outcome) -> list[Report]:
    """Return what an operator has to know of a plan's end, and log its failure.

    That a suspicion was in vain is no fault, nor that another node is to serve; what could not be taken back then is
    told by the standby.
    """
    if job.kind is Kind.SPECULATE:
        why = outcome.fault.detail if outcome.fault is not None else ""
        logger.info('what was loaded on suspicion is taken back undone=%s why="%s"', outcome.undone, why)
        return []
    faults = [
        plan_report("plan-degraded", f"{job.kind.value}: {step}: {fault.detail}", "see the log")
        for step, fault in outcome.degraded
    ]
    if outcome.ok or outcome.fault is None:
        return faults
    if outcome.is_called_off:
        logger.warning("%s was called off step=%s why=%r", job.kind.value, outcome.failed_step, outcome.fault.detail)
    else:
        text = f"{job.kind.value} failed at {outcome.failed_step}: {outcome.fault.detail}"
        faults.append(plan_report("plan-failed", text, PLAN_FAILED_HINTS[job.kind]))
        logger.error("plan failed code=%s undone=%s %s", outcome.fault.code, outcome.undone, text)
    return faults
