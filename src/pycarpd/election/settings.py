"""The election's settings: frozen, validated by the configuration before they get here."""

from dataclasses import dataclass

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

    @property
    def majority(self) -> int:
        """Return how many members, a node itself included, have to agree that it serves: one without an arbiter."""
        return 1 if self.arbiter is Arbiter.NONE else len(self.members) // 2 + 1

    @property
    def asks_arbiter(self) -> bool:
        """Tell whether an arbiter outside the cluster gives the terms; the members' votes do not count then."""
        return self.arbiter is Arbiter.ETCD

    def member(self, node_id: int) -> Member | None:
        """Return the member of that id, or None for a stranger."""
        return next((m for m in self.members if m.node_id == node_id), None)

    @property
    def rank(self) -> int:
        """Return this node's place in the list of members, 0 for the first."""
        return next(i for i, m in enumerate(self.members) if m.node_id == self.node_id)

    @property
    def me(self) -> Member:
        """Return this node's own entry; the configuration guarantees that there is one."""
        return next(m for m in self.members if m.node_id == self.node_id)
