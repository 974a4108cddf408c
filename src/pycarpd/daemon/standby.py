"""What a standby does besides following its master: it judges whether it may take over, and stays able to.

* At the moment the master is lost its metalogger is stopped, by SIGTERM: what is in its buffer, up to a second of
  changes, is on disk and told before anybody serves (election/settling.py), and a metalogger that does not run cannot
  meet an older master (it would delete its own changelogs). It is started again beside a master whose metadata is not
  older than this host's.
* A host whose files have fallen behind while there was a master to follow says so, and goes on saying so when that
  master is lost: only a metalogger that has caught up with a master ends it.
* A metalogger whose files have a gap is made to download anew; see downloads.py.
* What an earlier plan could not take back is tried again, and keeps the host from promoting until it is done.
* Now and then it rehearses; see drills.py.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from pycarpd.control.reports import Report, report
from pycarpd.daemon.board import Board
from pycarpd.daemon.disk import Disk
from pycarpd.daemon.downloads import Downloads
from pycarpd.daemon.drills import Drills, Turn
from pycarpd.daemon.host import Host
from pycarpd.daemon.jobs import Job, Kind
from pycarpd.daemon.messages import PeerNews, StatusNews
from pycarpd.daemon.patient import NO_METALOGGER, Findings
from pycarpd.election.model import Role
from pycarpd.linux.clock import boottime_ns, realtime_ns
from pycarpd.takeover.events import Outcome
from pycarpd.takeover.following import KEPT_AWAY
from pycarpd.takeover.preserve import preserve_files
from pycarpd.takeover.prune import label
from pycarpd.takeover.step import StepFault

logger = logging.getLogger(__name__)

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
FLUSH_TIMEOUT_S = 2.0
GRACE_NS = 5 * NS_PER_S
"""So long a metalogger may be missing beside a master: it is being started, or the master was lost a moment ago."""
BEHIND_NS = 10 * NS_PER_S
CAUGHT_UP_NS = 2 * NS_PER_S
"""A metalogger writes what it has received once a second, and the master tells its version twice a second."""
TOLD_MAX = 64
METALOGGER_EVERY_NS = 15 * NS_PER_S
METALOGGER_SOON_NS = 2 * NS_PER_S
UNDO_EVERY_NS = 30 * NS_PER_S
HEARD_WITHIN_MS = 10_000


@dataclass(frozen=True, slots=True)
class Needs:
    """What a standby works with; ``operate`` asks for a plan, ``look_now`` has the files looked at at once."""

    host: Host
    board: Board
    disk: Disk
    drills: Drills
    is_busy: Callable[[], bool]
    operate: Callable[[Job], None]
    look_now: Callable[[], None]


class Standby:
    """One host's standing as a standby; use from one event loop only."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._downloads = Downloads(needs.host, needs.disk)
        self._told: deque[tuple[int, int]] = deque(maxlen=TOLD_MAX)
        self._told_by = ""
        self._master_since_ns: int | None = None
        self._stopped_ns = boottime_ns()
        self._behind = ""
        self._unfinished = ""
        self._kept_away = ""
        self._plan_due_ns = 0

    @property
    def drills(self) -> Drills:
        """Return this host's drills."""
        return self._needs.drills

    def lose_master(self, term: int) -> None:
        """Have the metalogger write what it has, and keep the files of this moment (S8)."""
        self._needs.drills.cancel()
        self._told.clear()
        self._master_since_ns = None
        if self._needs.is_busy():
            return  # a plan that runs has preserved the files as its first step, or has no files to lose
        self._stopped_ns = boottime_ns()
        data_path = self._needs.host.takeover.data_path

        def preserve() -> None:
            kept = preserve_files(data_path, label(realtime_ns(), term), self._flush)
            if isinstance(kept, StepFault):
                logger.error("cannot preserve files code=%s detail=%s", kept.code, kept.detail)

        self._needs.disk.copy("preserve files", preserve)

    def _flush(self) -> None:
        """Stop the metalogger; called in a thread, between the links and the copies."""
        fault = self._needs.host.metalogger.stop(FLUSH_TIMEOUT_S)
        if fault is not None:
            logger.warning("metalogger not stopped code=%s detail=%s", fault.code.value, fault.detail)
        self._needs.look_now()  # who is freshest is decided in a moment, by what is known then

    def judge(self, found: Findings, role: Role) -> Findings:
        """Return what the look at a standby's files means for a takeover."""
        stamped = replace(found, freshness=self._needs.drills.stamp(found.freshness))
        if role in (Role.MASTER, Role.SUSPENDED) or found.freshness is None:
            return stamped
        self._compare(found)
        why_not = "" if found.why_not == NO_METALOGGER else found.why_not
        kept_away = self._kept_away if found.lacks_metalogger and self._master() is not None else ""
        return replace(stamped, why_not=self._unfinished or why_not or kept_away or self._behind)

    def _compare(self, found: Findings) -> None:
        """Hold the files against what the master has told of its own."""
        now_ns, master = boottime_ns(), self._master()
        if master is None or found.freshness is None:
            self._master_since_ns = None
            return
        if self._master_since_ns is None or self._told_by != master.name:
            self._master_since_ns, self._told_by = now_ns, master.name
            self._told.clear()
        if master.freshness is not None and master.freshness.metaid == found.freshness.metaid:
            self._told.append((now_ns, master.freshness.version))
        if found.lacks_metalogger:
            if now_ns - max(self._master_since_ns, self._stopped_ns) >= GRACE_NS:
                self._behind = NO_METALOGGER
            return
        version = found.freshness.version
        missing = max((told for at_ns, told in self._told if now_ns - at_ns >= BEHIND_NS), default=0) - version
        caught_up = [told for at_ns, told in self._told if now_ns - at_ns >= CAUGHT_UP_NS]
        if missing > 0:
            self._behind = f"its files are {missing} changes behind the master's"
        elif caught_up and version >= caught_up[-1]:
            self._behind = ""

    def _master(self) -> PeerNews | None:
        news = self._needs.board.news
        if news is None or news.role is not Role.BACKUP:
            return None
        return next((peer for peer in news.peers if peer.name == news.master and peer.role is Role.MASTER), None)

    def look_after(self, found: Findings, role: Role) -> None:
        """See to it that the metalogger runs, that an open undo is tried again, and that drills are held."""
        news = self._needs.board.news
        if role is not Role.BACKUP or news is None:
            return
        is_busy = self._needs.is_busy()
        if not is_busy and self._is_plan_due(found):
            logger.warning("making this host a standby again why=%s", self._unfinished or NO_METALOGGER)
            self._needs.operate(Job(Kind.DEMOTE, news.term))
            is_busy = True
        self._downloads.tick(found, has_master=not is_busy and self._master() is not None)
        is_free = not is_busy and found.freshness is not None and not found.lacks_metalogger and bool(news.master)
        ranks = self._ranks()
        self._needs.drills.tick(_turns(news, ranks), ranks[self._needs.board.settings.node_name], is_free=is_free)

    def _is_plan_due(self, found: Findings) -> bool:
        """Tell whether the DEMOTE plan, which starts the metalogger and takes back what is left, is to run now."""
        now_ns = boottime_ns()
        if now_ns < self._plan_due_ns or not (found.lacks_metalogger or self._unfinished):
            return False
        has_master = self._master() is not None
        if not (has_master or self._unfinished or not self._needs.board.settings.election.strict):
            return False  # there is nobody to follow; a ucarp host that serves is not known by name
        if has_master and found.lacks_metalogger and now_ns - self._stopped_ns < METALOGGER_SOON_NS:
            return False  # that master may be the one that was just lost
        every_ns = METALOGGER_SOON_NS if has_master and not self._unfinished else METALOGGER_EVERY_NS
        self._plan_due_ns = now_ns + (UNDO_EVERY_NS if self._unfinished else every_ns)
        return True

    def on_plan_ended(self, outcome: Outcome) -> None:
        """Remember what keeps this host from promoting: an undo that is not complete, a metalogger kept away."""
        self._kept_away = next((fault.detail for _, fault in outcome.degraded if fault.code in KEPT_AWAY), "")
        faults = [f"{step}: {fault.detail}" for step, fault in outcome.undo_faults]
        self._unfinished = f"an earlier plan could not be taken back: {'; '.join(faults)}" if faults else ""

    def reports(self, role: Role) -> tuple[Report, ...]:
        """Return what an operator should know."""
        undo = (report("undo-failed", self._unfinished),) if self._unfinished else ()
        return (*undo, *self._needs.drills.reports(role))

    def drill(self, role: Role) -> tuple[Report, ...]:
        """Begin a drill because an operator wants one, or say why not."""
        if role is not Role.BACKUP or self._needs.is_busy():
            return (report("drill-not-standby", f"this node is {role.name}"),)
        if self._needs.drills.is_running:
            return (report("drill-running", "a drill is under way"),)
        self._needs.drills.begin()
        return (report("command-accepted", "the drill has begun", key="drill"),)

    def _ranks(self) -> dict[str, int]:
        return {member.name: rank for rank, member in enumerate(self._needs.board.settings.election.members)}


def _turns(news: StatusNews, ranks: dict[str, int]) -> tuple[Turn, ...]:
    """Return the claims of the other standbys that are heard of."""
    return tuple(
        Turn(peer.freshness.drill_age_s, ranks[peer.name])
        for peer in news.peers
        if peer.role is Role.BACKUP
        and peer.freshness is not None
        and peer.heard_ms is not None
        and peer.heard_ms <= HEARD_WITHIN_MS
    )
