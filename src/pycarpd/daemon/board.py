"""The worker's board: the newest news from everywhere, and the status, history and metrics made from it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, cast

from pycarpd.control.metrics import Metrics
from pycarpd.control.reports import Report, Severity, degradation
from pycarpd.control.status import (
    DrillStatus,
    FreshnessStatus,
    LatenessStatus,
    MemberStatus,
    QuorumStatus,
    RoleName,
    Status,
    Transition,
    VipStatus,
)
from pycarpd.daemon.lateness import BUCKETS_US
from pycarpd.daemon.messages import (
    LATENESS_SUM_US,
    QUEUE_OVERFLOW,
    SEND_FAILURES,
    PeerNews,
    StatusNews,
    TransitionNews,
)
from pycarpd.election.model import Freshness, Role
from pycarpd.linux.clock import realtime_ns
from pycarpd.settings import DaemonSettings

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
LATE_FACTOR = 3
MemberState = Literal["heard", "late", "lost", "never heard"]
ACCEPTED = frozenset({"accepted", "unproven"})
HINTS = {
    "the interface is down": "bring the interface up; the node rejoins by itself",
    "the worker process is not running": "the supervisor starts it again; see the log for why it ended",
    "another node uses this node's name": "give each node its own [node] name and restart the wrong one",
}


def role_name(role: Role) -> RoleName:
    """Return the role as the API spells it."""
    return cast("RoleName", role.name)


def iso_now() -> str:
    """Return the wall clock's time in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(realtime_ns() / NS_PER_S, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Board:
    """What is known; the worker's event loop alone reads and writes it."""

    settings: DaemonSettings
    news: StatusNews | None = None
    last_transition: Transition | None = None
    opened_by: str | None = None
    """Why this node opened its newest term."""
    plan_faults: tuple[Report, ...] = ()
    standby_reports: tuple[Report, ...] = ()
    drill: DrillStatus | None = None
    promotions: int = 0
    promotions_failed: int = 0
    damaged_lines: int = 0
    more_reports: Callable[[], tuple[Report, ...]] = tuple
    """What an arbiter outside the cluster gives cause to report."""
    phases: dict[str, int] = field(default_factory=dict)

    def status(self) -> Status:
        """Return everything this node knows."""
        settings, news = self.settings, self.news
        own = FreshnessStatus(why_not="the heartbeat has not reported yet")
        if news is not None:
            own = freshness_status(news.freshness, promotable=not news.why_not, why_not=news.why_not)
        members = len(settings.election.members)
        return Status(
            time=iso_now(),
            node=settings.node_name,
            role=role_name(news.role if news else Role.INIT),
            term=news.term if news else 0,
            master=news.master or None if news else None,
            vhid=settings.vhid,
            interface=settings.interface,
            profile=settings.profile,
            priority=settings.election.priority,
            demotion=news.demotion if news else 0,
            vip=VipStatus(
                addresses=settings.virtual_addresses,
                held=bool(news and news.vip_held),
                fence_open=news.fence_open if news else None,
            ),
            lease_remaining_ms=news.lease_remaining_ms if news and news.lease_remaining_ms else None,
            quorum=self._quorum(members, news.live_members if news else 1),
            can_split=news.can_split if news else True,
            paused=bool(news and news.is_paused),
            freshness=own,
            members=self._members(own),
            last_transition=self.last_transition,
            lateness=_lateness(news.lateness_us) if news else None,
            drill=self.drill,
            reports=self._reports(),
        )

    def metrics(self) -> Metrics:
        """Return the counters since the heartbeat started."""
        news = self.news
        if news is None:
            return Metrics()
        counted = dict(news.counters)
        overflows, unsent, late_us = (counted.pop(each, 0) for each in (QUEUE_OVERFLOW, SEND_FAILURES, LATENESS_SUM_US))
        return Metrics(
            adverts_sent=news.adverts_sent,
            adverts_received=sum(n for name, n in counted.items() if name in ACCEPTED),
            adverts_rejected={name: n for name, n in counted.items() if name not in ACCEPTED},
            receive_overflows=overflows,
            send_failures=unsent,
            promotions=self.promotions,
            promotions_failed=self.promotions_failed,
            lateness_us=tuple(zip((*BUCKETS_US, None), news.lateness_us, strict=True)),
            lateness_sum_us=late_us,
        )

    def _quorum(self, members: int, heard: int) -> QuorumStatus:
        """Return whether a majority is in reach or, where etcd is the arbiter, whether that answers."""
        if self.settings.etcd is not None:
            return QuorumStatus(has=not self.more_reports(), heard=heard, needed=1)
        return _quorum(members, heard)

    def _members(self, own: FreshnessStatus) -> tuple[MemberStatus, ...]:
        news, settings = self.news, self.settings
        peers = {p.name: p for p in news.peers} if news else {}
        rows = []
        for member in settings.election.members:
            if member.name == settings.node_name:
                rows.append(self._own_row(own))
            elif member.name in peers:
                rows.append(self._peer_row(peers[member.name]))
        return tuple(rows)

    def _own_row(self, own: FreshnessStatus) -> MemberStatus:
        news, settings = self.news, self.settings
        return MemberStatus(
            name=settings.node_name,
            address=settings.own_address,
            state="self",
            role=role_name(news.role if news else Role.INIT),
            term=news.term if news else 0,
            priority=settings.election.priority,
            demotion=news.demotion if news else 0,
            is_witness=settings.election.me.is_witness,
            paused=bool(news and news.is_paused),
            last_heard_ms=0,
            freshness=own,
        )

    def _peer_row(self, peer: PeerNews) -> MemberStatus:
        why_not = "" if peer.is_promotable else "see the status of that node"
        return MemberStatus(
            name=peer.name,
            address=peer.address,
            state=self._state(peer),
            role=role_name(peer.role) if peer.role is not None else None,
            term=peer.term if peer.role is not None else None,
            priority=peer.priority if peer.role is not None else None,
            demotion=peer.demotion,
            is_witness=peer.is_witness,
            paused=peer.is_paused,
            last_heard_ms=peer.heard_ms,
            freshness=freshness_status(peer.freshness, promotable=peer.is_promotable, why_not=why_not),
        )

    def _state(self, peer: PeerNews) -> MemberState:
        if peer.heard_ms is None:
            return "never heard"
        election = self.settings.election
        silence_ms = election.interval_ns * (election.missed_adverts + 1) // NS_PER_MS + peer.patience_ms
        if peer.heard_ms <= silence_ms:
            return "heard"
        return "late" if peer.heard_ms <= LATE_FACTOR * silence_ms else "lost"

    def _reports(self) -> tuple[Report, ...]:
        news = self.news
        if news is None:
            return ()
        found = [degradation(*each) for each in news.degradations]
        found += [degradation("fault", text, HINTS.get(text, "see the log")) for text in news.faults]
        found += self.more_reports()
        for peer in news.peers:
            if not peer.has_same_config:
                found.append(_mismatch(peer.name))
            if not peer.has_same_exports:
                found.append(_other_exports(peer.name))
            if peer.heard_ms is not None and not peer.hears_me and self._state(peer) == "heard":
                found.append(_one_way(peer.name))
        return (*found, *self.standby_reports, *self.plan_faults)


def transition(news: TransitionNews, phases: dict[str, int], opened_by: str | None = None) -> Transition:
    """Return a change of role as an entry of the history."""
    return Transition.model_validate(
        {
            "time": iso_now(),
            "term": news.term,
            "from": role_name(news.was),
            "to": role_name(news.role),
            "cause": news.cause.value,
            "opened_by": opened_by,
            "phases": dict(phases),
        }
    )


def freshness_status(freshness: Freshness | None, *, promotable: bool, why_not: str) -> FreshnessStatus:
    """Return a host's freshness as the API has it."""
    if freshness is None:
        return FreshnessStatus(promotable=promotable, why_not=why_not or None)
    return FreshnessStatus(
        metaid=f"{freshness.metaid:016x}",
        lineage=freshness.lineage,
        version=freshness.version,
        proved_version=freshness.proved_version or None,
        drill_age_s=freshness.drill_age_s,
        age_ms=freshness.age_ms,
        promotable=promotable,
        why_not=why_not or None,
    )


def plan_report(code: str, text: str, hint: str) -> Report:
    """Return a report of a plan's fault."""
    return Report(code, Severity.WARNING, text, hint=hint)


def _mismatch(name: str) -> Report:
    text = f"{name} has another [cluster] table (members, addresses, vhid or arbiter)"
    return Report("config-mismatch", Severity.ERROR, text, key=name, hint="make [cluster] equal on all nodes")


def _other_exports(name: str) -> Report:
    text = f"mfsexports.cfg differs on {name}"
    hint = "make it equal on all metadata hosts, or a takeover changes who may mount what"
    return Report("exports-mismatch", Severity.WARNING, text, key=name, hint=hint)


def _one_way(name: str) -> Report:
    text = f"{name} is heard but does not hear this node"
    hint = "look for a one-way fault: filters, IGMP snooping, a port that drops multicast"
    return Report("one-way", Severity.WARNING, text, key=name, hint=hint)


def _quorum(members: int, heard: int) -> QuorumStatus:
    needed = members // 2 + 1
    return QuorumStatus(has=heard >= needed, heard=heard, needed=needed)


def _lateness(counts: tuple[int, ...]) -> LatenessStatus:
    """Return percentiles as the upper bound of their bucket; the open bucket counts as ten times the last bound."""
    bounds = (*BUCKETS_US, BUCKETS_US[-1] * 10)
    total = sum(counts)

    def percentile(share: float) -> int:
        seen = 0
        for bound, count in zip(bounds, counts, strict=True):
            seen += count
            if count and seen >= share * total:
                return bound
        return 0

    return LatenessStatus(wakes=total, p50_us=percentile(0.5), p99_us=percentile(0.99), max_us=percentile(1.0))
