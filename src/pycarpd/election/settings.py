"""The election's settings: frozen, validated by the configuration before they get here."""

from dataclasses import dataclass, field, replace
from typing import Self

from pycarpd.election.model import Arbiter, Member, TieBreak


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    """Everything the Elector may know about its configuration.

    ``priority`` 1..254, larger is better. ``advbase`` is what the CARP header says in whole seconds.
    """

    node_id: int
    members: tuple[Member, ...]
    interval_ns: int
    missed_adverts: int
    priority: int
    preempt: bool
    arbiter: Arbiter
    strict: bool
    tie_break: TieBreak
    advbase: int
    config_digest: int
    demotion_half_life_ns: int = 30_000_000_000
    hold_max_ns: int = 10_000_000_000
    late_wake_ns: int = 50_000_000
    start_wait_ns: int = 10_000_000_000
    """How long a node that has just started waits to hear from every other candidate before it promotes itself."""
    speculates: bool = False
    """Whether a standby loads mfsmaster on suspicion, before the lease has run out; see speculation.py."""
    told_interval_ns: int = 0
    """What this node's adverts promise where they may come later than the interval has it; 0: the interval itself."""

    majority: int = field(init=False, repr=False)
    """How many members, a node itself included, have to agree that it serves: one without an arbiter."""
    asks_arbiter: bool = field(init=False, repr=False)
    """Whether an arbiter outside the cluster gives the terms; the members' votes do not count then."""
    counts_votes: bool = field(init=False, repr=False)
    """Whether the members give the terms, by their votes."""
    patience_ns: int = field(init=False, repr=False)
    """For how long after an advert of this node the others are not to take it for lost: its lease, but for a hold."""
    rank: int = field(init=False, repr=False)
    """This node's place in the list of members, 0 for the first."""

    def __post_init__(self) -> None:
        """Derive what is asked for with every advert."""
        rank = next((i for i, m in enumerate(self.members) if m.node_id == self.node_id), len(self.members))
        derived = {
            "majority": 1 if self.arbiter is Arbiter.NONE else len(self.members) // 2 + 1,
            "asks_arbiter": self.arbiter is Arbiter.ETCD,
            "counts_votes": self.arbiter is Arbiter.MAJORITY,
            "patience_ns": self.missed_adverts * max(self.interval_ns, self.told_interval_ns),
            "rank": rank,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def reloaded(self, others: Self) -> Self:
        """Return these settings with the *others'* timing, priority and preemption."""
        return replace(
            self,
            interval_ns=others.interval_ns,
            missed_adverts=others.missed_adverts,
            priority=others.priority,
            preempt=others.preempt,
            speculates=others.speculates,
            told_interval_ns=others.told_interval_ns,
        )

    def more_patience_ns(self, interval_us: int) -> int:
        """Return how much longer than by this node's own interval one with that interval may be silent; bounded."""
        more_ns = self.missed_adverts * (interval_us * 1000 - self.interval_ns)
        return max(0, min(more_ns, self.hold_max_ns))

    def member(self, node_id: int) -> Member | None:
        """Return the member of that id, or None for a stranger."""
        return next((m for m in self.members if m.node_id == node_id), None)

    @property
    def me(self) -> Member:
        """Return this node's own entry; the configuration guarantees that there is one."""
        return self.members[self.rank]
