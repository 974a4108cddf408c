"""The rules, checked against what is true in the simulated world and not against what a node believes.

With the arbiter "none" two masters can exist on two sides of a cut, so what is asked of that moment is only what such
a cluster can keep: no term is claimed before it is on disk, terms only grow, the address is only where a MASTER is, and
it goes before anything slow. What is asked after the faults are mended stands in world.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election import timing
from pycarpd.election.model import Flags, Role
from pycarpd.election.settings import ElectionSettings
from pycarpd.sim.agenda import NS_PER_S
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.node import SimNode

Effects = tuple[fx.Effect, ...]


def require(condition: bool, rule: str, node: SimNode) -> None:
    """Fail with *rule* unless the condition holds."""
    if not condition:
        raise CheckFailedError(f"{rule}: {node.name} {node.snapshot}")


def claims_are_on_disk(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Refuse a claim whose term was not on disk before it was sent (S1)."""
    for effect in effects:
        if isinstance(effect, fx.Send) and effect.advert.role.claims:
            require(effect.advert.term <= node.host.disk.term, "a claimed term is on disk", node)


def address_only_with_a_master(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Allow the address only to a MASTER, and to one that was found serving and asks to be confirmed."""
    del effects
    snapshot = node.snapshot
    allowed = (Role.MASTER, Role.INIT)
    if snapshot is not None and snapshot.role not in allowed and not snapshot.adopts:
        require(node.host.vip_until_ns == 0, "only a MASTER has the address", node)


def address_goes_first(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Let the address go before anything else when a node ceases to be MASTER (S9)."""
    left = [e for e in effects if isinstance(e, fx.Transition) and e.was is Role.MASTER]
    if not left:
        return
    detached = next((i for i, e in enumerate(effects) if isinstance(e, fx.DetachVip)), len(effects))
    slow = (fx.StartDemotion, fx.StartPromotion, fx.Persist)
    first_slow = next((i for i, e in enumerate(effects) if isinstance(e, slow)), len(effects))
    require(detached < min(first_slow, effects.index(left[0])), "the address goes first", node)


def candidates_could_serve(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Let only a node with proved files open a term, and no witness (S6, S7)."""
    for effect in effects:
        if isinstance(effect, fx.Transition) and (effect.was, effect.role) == (Role.BACKUP, Role.PROMOTING):
            snapshot = node.snapshot
            is_able = snapshot is not None and not snapshot.why_not and not node.member.is_witness
            require(is_able, "a candidate is promotable", node)


def claims_are_not_resigned(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Refuse an advert that claims and resigns in one."""
    for effect in effects:
        if isinstance(effect, fx.Send) and effect.advert.role.claims:
            require(Flags.RESIGNED not in effect.advert.flags, "a claim is no resignation", node)


RULES: tuple[Callable[[SimNode, ev.Event, Effects], None], ...] = (
    claims_are_on_disk,
    address_only_with_a_master,
    address_goes_first,
    candidates_could_serve,
    claims_are_not_resigned,
)


@dataclass(slots=True)
class LeaseKeeper:
    """A MASTER that was silent for longer than its lease says nothing as MASTER before it was SUSPENDED (S3, S10)."""

    last_ns: dict[str, int] = field(default_factory=dict)

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Follow the times of a MASTER's adverts; one that begins to serve begins anew."""
        del event
        for effect in effects:
            match effect:
                case fx.Transition(role=Role.MASTER):
                    self.last_ns.pop(node.name, None)
                case fx.Send(advert=advert) if advert.role is Role.MASTER:
                    last_ns = self.last_ns.get(node.name, node.now_ns)
                    silence_ns = node.settings.missed_adverts * node.settings.interval_ns
                    require(node.now_ns - last_ns < silence_ns, "a lapsed lease is not renewed", node)
                    self.last_ns[node.name] = node.now_ns
                case _:
                    pass


@dataclass(slots=True)
class TermKeeper:
    """A node's term never decreases, not even by a crash, once it was on disk."""

    newest: dict[str, int] = field(default_factory=dict)

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Follow the terms on disk."""
        del event, effects
        term = node.host.disk.term
        require(term >= self.newest.get(node.name, 0), "terms only grow", node)
        self.newest[node.name] = term


def settling_bound_ns(settings: ElectionSettings, demotion: int, plan_max_ns: int) -> int:
    """Return how long a mended cluster may take to have one MASTER.

    A start's wait; twice a master-down interval of the most handicapped node with a fresher one let go first; and a
    hold, a promotion and a demotion each.
    """
    skew_ns = timing.skew_ns(settings.interval_ns, 1, demotion)
    silence_ns = settings.missed_adverts * settings.interval_ns
    rounds_ns = 2 * (2 * silence_ns + skew_ns)
    return settings.start_wait_ns + settings.hold_max_ns + rounds_ns + 3 * plan_max_ns + NS_PER_S
