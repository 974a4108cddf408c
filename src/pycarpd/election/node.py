"""A node's state and the small moves everything else is made of: send, persist, change role, arm a deadline.

This is the Elector's memory, not its judgement; see elector.py for what the election decides.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from pycarpd.election import claims, timing
from pycarpd.election.effects import AttachVip, DetachVip, Effect, Persist, ReleaseTerm, RenewLease, Send, Transition
from pycarpd.election.model import Advert, Cause, Flags, Freshness, Handover, Persistent, Role, flags_of
from pycarpd.election.peers import PeerTable
from pycarpd.election.settings import ElectionSettings
from pycarpd.election.settled import Settled
from pycarpd.election.standby import Standby
from pycarpd.election.succession import Handing, told_in
from pycarpd.election.suspicion import Suspicion
from pycarpd.election.transitions import TRANSITIONS
from pycarpd.invariant import invariant

SENT_MAX = 256
"""How many of its own adverts a node remembers; a lease covers fewer."""
RANKS_PER_INTERVAL = 8
"""Eight equal candidates begin within one advert interval."""
BLIND_EXTENSIONS_MAX = 20
"""How often in a row a node that lost adverts waits for the next ones: a flood delays a failover, and no more."""
SERVED_VERSIONS_MAX = 32
"""How many of the versions that it has served a master remembers; it looks twice a second."""
OLD_NEWS = "its files make room for those of a new master"
HANDOVER_REPEAT_NS = 50_000_000
RESIGN_REPEATS = 3
"""A resignation is said three times, since a multicast may be lost."""
FLAGS_TOLD = tuple(flag for flag in Flags if flag is not Flags.HAS_FILES)  # which is told beside the advert


@dataclass(frozen=True, slots=True)
class Identity:
    """This run of this node: a boot epoch that never repeats and a random nonce."""

    epoch: int
    nonce: int


class Fault(Enum):
    """What keeps a node out of the election."""

    LINK = "the interface is down"
    WORKER = "the worker process is not running"
    NAME = "another node uses this node's name"


class SentAdvert(NamedTuple):
    """One of this node's own adverts; ``lease_ns`` is what it asked for, 0 for a report."""

    sequence: int
    sent_ns: int
    lease_ns: int


@dataclass(slots=True)
class Node:
    """Everything one node knows and has planned. Deadlines are absolute; None means not armed."""

    settings: ElectionSettings
    identity: Identity
    persistent: Persistent
    peers: PeerTable
    durable: Persistent = field(default_factory=Persistent)
    served_at_start: int = 0
    role: Role = Role.INIT
    started_ns: int = 0
    waited_until_ns: int = 0
    faults: set[Fault] = field(default_factory=set)
    freshness: Freshness | None = None
    why_not: str = "its files have not been looked at yet"
    has_old_news: bool = False
    claimed_term: int = 0
    master_id: int = 0
    claim_heard_ns: int = 0
    standby: Standby = field(default_factory=Standby)
    suspicion: Suspicion = field(default_factory=Suspicion)
    settled: Settled = field(default_factory=Settled)
    quiet: Freshness | None = None
    """What lay here when nobody served, and when that was looked at."""
    quiet_ns: int = 0
    promoted: Freshness | None = None
    """The files that this node's claim is made with."""
    served_versions: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SERVED_VERSIONS_MAX))
    name_claims: int = 0
    sequence: int = 0
    lease_until_ns: int = 0
    resigned_term: int = 0
    resign_repeats: int = 0
    demotion_at_change: int = 0
    demotion_changed_ns: int = 0
    is_sending_failing: bool = False
    has_asked: bool = False
    asks_again_ns: int = 0
    is_paused: bool = False
    is_stopping: bool = False
    has_begun: bool = True
    """Whether more may run here than on a standby; a candidate that no plan was begun for is one still."""
    is_plan_started: bool = False
    is_plan_over: bool = False
    is_aborting: bool = False
    has_link: bool | None = None
    adopts: bool = False
    promotion_cause: Cause = Cause.MASTER_DOWN
    is_master_lost: bool = False
    has_deferred: bool = False
    has_woken_late: bool = False
    has_waited_turn: bool = False
    extensions: int = 0
    plain_until_ns: int = 0
    has_lost_adverts: bool = False
    blind_extensions: int = 0
    advert_due_ns: int | None = None
    master_deadline_ns: int | None = None
    listen_deadline_ns: int | None = None
    name_deadline_ns: int | None = None
    election_deadline_ns: int | None = None
    follow_until_ns: int = 0
    has_told_no_master: bool = False
    opens_term: bool = False
    promise_until_ns: int = 0
    promised_to: int = 0
    is_ready: bool = False
    ready_version: int = 0
    """What the mfsmaster that is ready answers with, 0 where the plan did not say."""
    wants_address_for: int = 0
    has_early_address: bool = False
    hold_ns: int = 0
    wish: int = 0
    """The number of the newest asking of the arbiter; then the least term asked for, 0 for none, and the one given."""
    asked_term: int = 0
    grant_term: int = 0
    grant_until_ns: int = 0
    handing: Handing | None = None
    leaving: Cause | None = None
    """Why the role is to be given away, by a handover if possible."""
    successor: Handover | None = None
    """Who goes first after this node's resignation, and what was handed over."""
    hands_over_again_ns: int = 0
    inherits: bool = False
    """Whether the master that was lost has named this node its successor."""
    sent: deque[SentAdvert] = field(default_factory=lambda: deque(maxlen=SENT_MAX))
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start from the state on disk: what was read from it is durable."""
        self.durable = self.persistent
        self.is_paused = self.persistent.is_paused
        self.served_at_start = self.persistent.served_term

    def emit(self, effect: Effect) -> None:
        """Add an effect to the answer to the present event."""
        self.effects.append(effect)

    def give_up_address(self) -> None:
        """Have the address taken away first of all that the present event calls for; nothing of it gives it back."""
        self.effects = [DetachVip(), *(e for e in self.effects if not isinstance(e, AttachVip | RenewLease))]
        self.has_early_address = False

    def lease_deadline_ns(self) -> int | None:
        """Return when the address has to go unless the lease is renewed, None while it is not here."""
        return self.lease_until_ns or None if self.role is Role.MASTER or self.has_early_address else None

    def move(self, cause: Cause, now_ns: int) -> None:
        """Change the role as the table says; a change that is not in the table is a bug."""
        target = TRANSITIONS.get((self.role, cause))
        invariant(target is not None, f"no transition from {self.role.name} by {cause.name}")
        if target is not None:
            self.emit(Transition(self.role, target, cause, self.claimed_term or self.persistent.term, now_ns))
            self.role = target

    def demotion(self, now_ns: int) -> int:
        """Return the demotion counter as it has decayed until now."""
        age_ns = now_ns - self.demotion_changed_ns
        left = timing.decayed_demotion(self.demotion_at_change, age_ns, self.settings.demotion_half_life_ns)
        return max(left, timing.DEMOTION_FULL) if self.is_sending_failing else left

    def raise_demotion(self, now_ns: int) -> None:
        """Count one failure of this node."""
        left = self.demotion(now_ns)
        self.demotion_at_change = min(timing.DEMOTION_MAX, left + timing.DEMOTION_FULL)
        self.demotion_changed_ns = now_ns

    def skew_ns(self, now_ns: int) -> int:
        """Return this node's own skew at the moment.

        Where votes count, equal candidates must not begin at one time, or each has only its own: their order in the
        configuration sets them apart.
        """
        interval_ns = self.settings.interval_ns
        rank_ns = interval_ns * self.settings.rank // RANKS_PER_INTERVAL if self.settings.majority > 1 else 0
        return timing.skew_ns(interval_ns, self.settings.priority, self.demotion(now_ns)) + rank_ns

    def silence_ns(self) -> int:
        """Return the shortest silence after which some other node may have taken over."""
        return self.settings.missed_adverts * self.settings.interval_ns

    def master_down_ns(self, now_ns: int, peer_interval_ns: int | None = None) -> int:
        """Return the master-down interval against a master of that interval.

        A master not known yet may be a ucarp host in a mixed group: those count in whole seconds.
        """
        if peer_interval_ns is None:
            peer_interval_ns = 0 if self.settings.strict else self.settings.advbase * timing.NS_PER_S
        return timing.master_down_interval_ns(
            self.settings.interval_ns, peer_interval_ns, self.settings.missed_adverts, self.skew_ns(now_ns)
        )

    def was_blind(self) -> bool:
        """Tell whether adverts may have been lost since a master was last heard: silence says nothing then.

        Asking forgets it, and after BLIND_EXTENSIONS_MAX times in a row the answer is no, or nobody would take over.
        """
        if not self.has_lost_adverts or self.blind_extensions >= BLIND_EXTENSIONS_MAX:
            return False
        self.has_lost_adverts = False
        self.blind_extensions += 1
        return True

    def hears_plain(self, now_ns: int) -> bool:
        """Tell whether a ucarp host has claimed the virtual address so lately that it may serve still."""
        return now_ns < self.plain_until_ns

    def standing(self, now_ns: int) -> claims.Standing:
        """Return what this node brings to a comparison of trailers."""
        return claims.Standing((self.demotion(now_ns), 255 - self.settings.priority), self.settings.me.address)

    def plain_standing(self, now_ns: int) -> claims.Standing:
        """Return what this node brings to a comparison of CARP headers."""
        skew = timing.advskew(self.settings.priority, self.demotion(now_ns))
        return claims.plain_standing(self.settings.advbase, skew, self.settings.me.address)

    def persist(self, **changes: Any) -> None:
        """Change what must survive a restart, and have it written if that is news."""
        wanted = replace(self.persistent, **changes)
        if wanted != self.persistent:
            invariant(wanted.term >= self.persistent.term, "terms only grow")
            self.persistent = wanted
            self.effects = [e for e in self.effects if not isinstance(e, Persist)]  # one write an answer is enough
            self.emit(Persist(wanted))

    def send(self, now_ns: int) -> None:
        """Send an advert (or, in a role that claims nothing, a report) and plan the next one."""
        if self.has_link is not True:
            self.advert_due_ns = now_ns + self.settings.interval_ns
            return
        invariant(not self.role.claims or self.claimed_term <= self.durable.term, "a claimed term is on disk first")
        self.sequence += 1
        lease_ns = self._wanted_lease_ns(now_ns)
        self.sent.append(SentAdvert(self.sequence, now_ns, lease_ns))
        advert = self._advert(now_ns, lease_ns // timing.NS_PER_MS)
        self.has_asked = self.has_asked or Flags.WANTS_MASTER in advert.flags
        self.emit(Send(advert))
        self.advert_due_ns = now_ns + self.settings.interval_ns
        if advert.handover is not None:  # clients wait for it
            self.advert_due_ns = now_ns + min(self.settings.interval_ns, HANDOVER_REPEAT_NS)
        if self.role is Role.MASTER and self.settings.majority == 1:
            self.lease_until_ns = now_ns + self.settings.patience_ns + self.hold_ns
            self.emit(RenewLease(self.lease_until_ns))

    def _wanted_lease_ns(self, now_ns: int) -> int:
        """Return the lease that the next advert asks for: whole milliseconds, never more than voters grant.

        A SUSPENDED node asks only while it hears a majority: one that cannot hear their answers must not bind them.
        """
        if self.settings.majority == 1:
            return self.hold_ns if self.role is Role.MASTER else 0
        is_asking = self.role is Role.SUSPENDED and not self.settings.asks_arbiter and self.hears_majority(now_ns)
        if not (self.role.claims or is_asking):
            return 0
        lease_ns = min(self.settings.patience_ns + self.hold_ns, self.settings.hold_max_ns)
        return lease_ns // timing.NS_PER_MS * timing.NS_PER_MS

    def hears_majority(self, now_ns: int) -> bool:
        """Tell whether a majority, this node included, was heard as lately as a lease lasts."""
        return len(self.peers.live(now_ns, self.silence_ns())) + 1 >= self.settings.majority

    def release_term(self, *, is_free: bool) -> None:
        """Ask the arbiter no more, and give back what it gave; what it may still say of that is not heard."""
        self.wish += 1
        self.asked_term = self.grant_term = self.grant_until_ns = 0
        self.emit(ReleaseTerm(is_free))

    def say_resigned(self, now_ns: int) -> None:
        """Tell everybody, in one burst, that this node serves its term no more: it may be gone a moment later."""
        if self.grant_term:
            self.release_term(is_free=True)
        self.resigned_term = self.claimed_term
        self.resign_repeats = RESIGN_REPEATS
        for _ in range(RESIGN_REPEATS):
            self.send(now_ns)

    def _advert(self, now_ns: int, hold_ms: int) -> Advert:
        demotion = self.demotion(now_ns)
        is_resigning = self.resign_repeats > 0
        if is_resigning:
            self.resign_repeats -= 1
        term = self.resigned_term if is_resigning else self.persistent.term
        is_holding = self.role.claims or self.role is Role.SUSPENDED
        vote_term, vote_for = self._told_vote()
        return Advert(
            node_id=self.settings.node_id,
            epoch=self.identity.epoch,
            sequence=self.sequence,
            nonce=self.identity.nonce,
            role=self.role,
            term=self.claimed_term if is_holding else term,
            served_term=self.persistent.served_term,
            interval_us=max(self.settings.interval_ns, self.settings.told_interval_ns) // 1000,
            hold_ms=hold_ms,
            priority=self.settings.priority,
            demotion=demotion,
            flags=self._flags(now_ns, is_resigning=is_resigning),
            freshness=self.freshness,
            vote_term=vote_term,
            vote_for=vote_for,
            config_digest=self.settings.config_digest,
            acks=self.peers.acks(),
            handover=self.successor if is_resigning else told_in(self.role, self.handing),
            branch=self.persistent.lineage.branch if self.role is Role.MASTER else None,
            older=self.persistent.lineage.older if self.role is Role.MASTER else (),
            advbase=self.settings.advbase,
            advskew=timing.advskew(self.settings.priority, demotion),
        )

    def _told_vote(self) -> tuple[int, int]:
        """Return the vote to be told: one on disk that is not about to be another, or it would be counted on."""
        return self.durable.vote if self.durable.vote == self.persistent.vote else (0, 0)

    def _flags(self, now_ns: int, *, is_resigning: bool) -> Flags:
        is_so = (  # in the order of FLAGS_TOLD
            not self.objection,
            self.is_paused,
            self.settings.me.is_witness,
            is_resigning,
            self.wants_master(now_ns),
            self.settings.majority == 1,
            self.has_no_master(now_ns),
            self.opens_term,
            self.settled.is_settled,
            self.settings.counts_votes and self.promise_until_ns <= self.follow_until_ns,
        )
        return flags_of(sum([flag for flag, is_said in zip(FLAGS_TOLD, is_so, strict=True) if is_said]))

    def is_bound(self, now_ns: int) -> bool:
        """Tell whether this node has promised its vote to somebody for longer than until now."""
        return self.settings.majority > 1 and now_ns < self.promise_until_ns

    def has_no_master(self, now_ns: int) -> bool:
        """Tell whether this node would welcome an election: the answer to a pre-vote, said in each report."""
        return self.role is Role.BACKUP and not self.is_bound(now_ns) and now_ns >= self.follow_until_ns

    def wants_master(self, now_ns: int) -> bool:
        """Tell whether this node asks a worse master to hand over (preempt).

        Not while its demotion counter decays: what is known of the master's is older than its own, so two nodes that
        recover at the same time would each find itself the better one. Not when a fresher node would come before it,
        and not soon again after the handover went to somebody else: each attempt is an outage.
        """
        master = self.peers.get(self.master_id)
        if not self.settings.preempt or self.role is not Role.BACKUP or master is None:
            return False
        if self.demotion(now_ns) or now_ns < self.asks_again_ns or not self.may_promote(now_ns):
            return False
        if self.peers.fresher_candidate(self.freshness, 0, now_ns, self.master_down_ns(now_ns)) is not None:
            return False
        if master.advert is None or master.advert.role is not Role.MASTER:
            return False
        theirs = claims.standing_of(master.advert, master.member.address)
        return self.standing(now_ns).is_better_than(theirs, self.settings.tie_break)

    @property
    def objection(self) -> str:
        """Return what speaks against promoting this host, empty for nothing."""
        return self.why_not or (OLD_NEWS if self.has_old_news else "")

    def may_promote(self, now_ns: int) -> bool:
        """Tell whether this node could open a term now, were there no master."""
        has_waited = now_ns - self.started_ns >= self.settings.start_wait_ns
        return self.could_serve and (has_waited or self.peers.have_all_reported())

    @property
    def could_serve(self) -> bool:
        """Tell whether nothing about this node itself keeps it from serving."""
        is_free = not self.faults and not self.is_paused and not self.is_stopping
        return is_free and not self.objection and not self.settings.me.is_witness

    def start_wait_ns(self) -> int | None:
        """Return when a node that lost its master while still waiting for all to report may go on."""
        is_waiting = self.role is Role.BACKUP and self.is_master_lost and self.master_deadline_ns is None
        if not is_waiting or self.peers.have_all_reported():
            return None
        until_ns = self.started_ns + self.settings.start_wait_ns
        return until_ns if self.waited_until_ns < until_ns else None
