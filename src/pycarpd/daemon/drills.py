"""When this host drills, and what its last drill has proved.

One host at a time, without a word more on the wire: each advert carries the age of its host's last drill, so all know
who is due. The one whose drill is oldest goes first, the first in the list of members among equals; the others wait
until its age is news, or for a bounded time, since a host that cannot drill must not keep the others from it. What was
proved is kept on disk: a restarted daemon need not rehearse at once.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from pycarpd.control.reports import Report, report
from pycarpd.control.status import DrillStatus
from pycarpd.daemon.board import iso_now
from pycarpd.election.model import Freshness, Role
from pycarpd.linux.clock import boottime_ns, realtime_ns
from pycarpd.linux.files import write_durably
from pycarpd.takeover.context import TakeoverSettings
from pycarpd.takeover.drill import Drilled, Rehearsal, Skipped
from pycarpd.takeover.step import StepFault

logger = logging.getLogger(__name__)

DRILL_FILE = "drill.json"
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
SETTLE_S = 60
"""A standby follows its master for a while before it looks whether it could replace it."""
RETRY_S = 600
WAIT_FOR_TURN_S = 900
OVERDUE_INTERVALS = 3
CANCELLED = "DRILL_CANCELLED"
NEVER_S = 1 << 40
"""Older than any drill."""

Result = Drilled | Skipped | StepFault


@dataclass(frozen=True, slots=True)
class Turn:
    """A standby's claim to drill: how old its last drill is (None: never), and its place in the list of members."""

    age_s: int | None
    rank: int

    @property
    def key(self) -> tuple[int, int]:
        """Return what puts the oldest drill first."""
        return (-NEVER_S if self.age_s is None else -self.age_s, self.rank)

    def is_due(self, interval_s: int) -> bool:
        """Tell whether its last drill is an interval ago."""
        return self.age_s is None or self.age_s >= interval_s


def is_first(own: Turn, others: tuple[Turn, ...], interval_s: int) -> bool:
    """Tell whether nobody else who is due comes before this host."""
    return all(own.key < other.key for other in others if other.is_due(interval_s))


class Drills:
    """This host's drills; use from one event loop only. ``interval_s`` is asked each time: a reload may change it."""

    def __init__(
        self,
        takeover: TakeoverSettings,
        state_dir: Path,
        expected_metaid: Callable[[], int | None],
        interval_s: Callable[[], int],
    ) -> None:
        self._takeover = takeover
        self._path = state_dir / DRILL_FILE
        self._expected_metaid = expected_metaid
        self._interval_s = interval_s
        self._last = _read(self._path)
        self._number = 0
        self._rehearsal: Rehearsal | None = None
        self._began_ns = 0
        self._free_since_ns: int | None = None
        self._due_since_ns: int | None = None
        self._not_before_ns = 0

    @property
    def is_running(self) -> bool:
        """Tell whether a drill is under way."""
        return self._rehearsal is not None

    def tick(self, others: tuple[Turn, ...], rank: int, *, is_free: bool) -> None:
        """Begin a drill if it is time; *is_free*: this host follows a master and has nothing else to do."""
        now_ns = boottime_ns()
        if not is_free or self._rehearsal is not None:
            self._free_since_ns = None
            return
        if self._free_since_ns is None:
            self._free_since_ns = now_ns
        interval_s, own = self._interval_s(), Turn(self.age_s(), rank)
        if not interval_s or not own.is_due(interval_s):
            self._due_since_ns = None
            return
        if self._due_since_ns is None:
            self._due_since_ns = now_ns
        has_settled = now_ns - self._free_since_ns >= SETTLE_S * NS_PER_S and now_ns >= self._not_before_ns
        has_waited = now_ns - self._due_since_ns >= WAIT_FOR_TURN_S * NS_PER_S
        if has_settled and (has_waited or is_first(own, others, interval_s)):
            self.begin()

    def begin(self) -> None:
        """Begin a drill now; only when none is under way."""
        loop = asyncio.get_running_loop()
        rehearsal = Rehearsal(self._takeover, self._expected_metaid(), threading.Event(), _log_phase)
        self._rehearsal, self._began_ns = rehearsal, boottime_ns()
        self._number += 1

        def work() -> None:
            result = rehearsal.run()
            loop.call_soon_threadsafe(self._ended, result)

        threading.Thread(target=work, name="drill", daemon=True).start()

    def cancel(self) -> None:
        """End a drill under way: something more important has come up."""
        if self._rehearsal is not None:
            self._rehearsal.cancel.set()

    def age_s(self) -> int | None:
        """Return how long ago the last drill ended that succeeded or failed, None if there was none."""
        if self._last.at is None or self._last.outcome == "never":
            return None
        ended_s = datetime.fromisoformat(self._last.at).timestamp()
        return max(0, realtime_ns() // NS_PER_S - int(ended_s))

    def stamp(self, freshness: Freshness | None) -> Freshness | None:
        """Add what the last drill has proved of that file system; one that has failed has proved nothing."""
        if freshness is None or self._last.metaid != f"{freshness.metaid:016x}":
            return freshness
        version = self._last.version if self._last.outcome != "failed" else None
        return replace(freshness, proved_version=version or 0, drill_age_s=self.age_s())

    def status(self) -> DrillStatus:
        """Return the last drill, and the one under way."""
        update: dict[str, object] = {"interval_s": self._interval_s(), "number": self._number}
        rehearsal = self._rehearsal
        if rehearsal is not None:
            update["phase"] = rehearsal.phase or "begin"
            update["elapsed_ms"] = (boottime_ns() - self._began_ns) // NS_PER_MS
            update["memory_bytes"] = rehearsal.memory_bytes or None
        return self._last.model_copy(update=update)

    def reports(self, role: Role) -> tuple[Report, ...]:
        """Return what an operator should know of the drills."""
        last, interval_s = self._last, self._interval_s()
        if last.outcome == "failed":
            return (report("drill-failed", f"{last.why} ({last.at})", value=last.code),)
        if last.outcome == "skipped":
            return (report("drill-skipped", last.why or ""),)
        age_s = self.age_s()
        if role is Role.BACKUP and interval_s and age_s is not None and age_s > OVERDUE_INTERVALS * interval_s:
            return (report("drill-overdue", f"the last drill was {age_s} s ago, the interval is {interval_s} s"),)
        return ()

    def _ended(self, result: Result) -> None:
        self._rehearsal = None
        self._due_since_ns = None
        self._not_before_ns = boottime_ns() + min(self._interval_s() or RETRY_S, RETRY_S) * NS_PER_S
        if isinstance(result, StepFault) and result.code == CANCELLED:
            logger.info("drill cancelled")
            return
        self._last = _outcome(result, self._last).model_copy(update={"outcome_number": self._number})
        level = logging.INFO if self._last.outcome == "ok" else logging.ERROR
        logger.log(
            level, "drill outcome=%s version=%s ms=%s why=%s",
            self._last.outcome, self._last.version, self._last.duration_ms, self._last.why,
        )  # fmt: skip
        try:
            write_durably(self._path, self._last.model_dump_json().encode() + b"\n")
        except OSError as error:
            logger.warning("cannot keep the drill's outcome error=%s", error)


def _log_phase(phase: str) -> None:
    logger.info("drill phase=%s", phase)


def _outcome(result: Result, before: DrillStatus) -> DrillStatus:
    match result:
        case Drilled():
            return DrillStatus(
                interval_s=0,
                outcome="ok",
                at=iso_now(),
                metaid=f"{result.metaid:016x}",
                version=result.version,
                inode_count=result.inode_count,
                duration_ms=result.duration_ms,
                phases=dict(result.phases_ms),
                memory_bytes=result.memory_bytes,
            )
        case Skipped(reason):
            # Nothing was tried: what an earlier drill has proved stays proved, and as old as it is.
            at = before.at if before.outcome == "ok" else None
            return before.model_copy(update={"outcome": "skipped", "why": reason, "code": None, "at": at})
        case StepFault(code, detail):
            return before.model_copy(update={"outcome": "failed", "at": iso_now(), "code": code, "why": detail})


def _read(path: Path) -> DrillStatus:
    try:
        return DrillStatus.model_validate_json(path.read_bytes()).model_copy(update={"outcome_number": 0})
    except FileNotFoundError:
        return DrillStatus(interval_s=0)
    except (OSError, ValidationError) as error:
        logger.warning("the last drill's outcome is forgotten path=%s error=%s", path, error)
        return DrillStatus(interval_s=0)
