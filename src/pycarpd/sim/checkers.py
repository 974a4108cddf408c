"""The rules S1 to S13, checked after every event on what is true in the simulated world, not on what a node believes.

What is true of disks, kernels and mfsmasters needs no memory and stands here as functions; what has to be followed over
time (votes, promises, terms) stands in ledger.py. With the arbiter "none" two masters can exist on two sides of a cut,
so S2, S3 and S5 are asked of a majority's clusters alone.
"""

from collections.abc import Callable

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election import timing
from pycarpd.election.model import Arbiter, Cause, Flags, Role
from pycarpd.election.settings import ElectionSettings
from pycarpd.sim.agenda import NS_PER_S
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.host import PlanFate
from pycarpd.sim.node import SimNode

Effects = tuple[fx.Effect, ...]
Check = Callable[[SimNode, ev.Event, Effects], None]


def require(condition: bool, rule: str, node: SimNode) -> None:
    """Fail with *rule* unless the condition holds."""
    if not condition:
        raise CheckFailedError(f"{rule}: {node.name} {node.snapshot}")


def has_majority_rules(node: SimNode) -> bool:
    """Tell whether votes count in the node's cluster."""
    return node.settings.arbiter is Arbiter.MAJORITY


def has_leases(node: SimNode) -> bool:
    """Tell whether a master in the node's cluster serves under a lease, the members' or an arbiter's."""
    return node.settings.arbiter is not Arbiter.NONE


def sent_state_is_on_disk(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Refuse a term that is claimed, or a vote that is told, before it is on disk (S1)."""
    for effect in effects:
        if isinstance(effect, fx.Send):
            advert, disk = effect.advert, node.host.disk
            if advert.role.claims:
                require(advert.term <= disk.term, "S1: a claimed term is on disk", node)
            if advert.vote_term:
                is_kept = (advert.vote_term, advert.vote_for) == (disk.vote_term, disk.vote_for)
                require(is_kept or advert.vote_term < disk.vote_term, "S1: a vote that is told is on disk", node)


def address_only_with_a_master(node: SimNode, _event: ev.Event, _effects: Effects) -> None:
    """Allow the address only to a MASTER, to a candidate under a lease, and to one found serving and asking (S4)."""
    if node.host.kernel.vip_until_ns == 0 or node.role in (Role.MASTER, Role.INIT, None):
        return
    snapshot = node.snapshot
    if snapshot is None or snapshot.adopts:
        return
    is_candidates = node.role is Role.PROMOTING and has_leases(node)
    require(is_candidates, "S4: only a MASTER has the address, or a candidate with a majority", node)
    require(not node.host.serves, "S7: nobody reaches the mfsmaster of a candidate", node)


def address_goes_first(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Let the address go before anything else when a node ceases to be MASTER (S9)."""
    left = [e for e in effects if isinstance(e, fx.Transition) and e.was is Role.MASTER]
    if not left:
        return
    detached = next((i for i, e in enumerate(effects) if isinstance(e, fx.DetachVip)), len(effects))
    slow = (fx.StartDemotion, fx.StartPromotion, fx.Persist, fx.Send)
    first_slow = next((i for i, e in enumerate(effects) if isinstance(e, slow)), len(effects))
    require(detached < min(first_slow, effects.index(left[0])), "S9: the address goes first", node)


def candidates_could_serve(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Let only a node with proved files open a term, and no witness (S6, S7)."""
    for effect in effects:
        if isinstance(effect, fx.Transition) and (effect.was, effect.role) == (Role.BACKUP, Role.PROMOTING):
            snapshot = node.snapshot
            is_able = snapshot is not None and not snapshot.why_not and snapshot.freshness is not None
            require(is_able and not node.member.is_witness, "S6: a candidate is promotable", node)


def claims_are_not_resigned(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Refuse an advert that claims and resigns in one, and one that hides that the cluster can split (S13)."""
    for effect in effects:
        if isinstance(effect, fx.Send):
            advert = effect.advert
            if advert.role.claims:
                require(Flags.RESIGNED not in advert.flags, "S5: a claim is no resignation", node)
            says_so = Flags.CAN_SPLIT in advert.flags
            require(says_so is not has_leases(node), "S13: a cluster that can split says so", node)


def snapshots_say_what_can_split(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Ask every status after a change of role whether it says that the cluster can split (S13)."""
    if any(isinstance(effect, fx.Transition) for effect in effects):
        snapshot = node.snapshot
        if snapshot is not None:
            require(snapshot.can_split is not has_leases(node), "S13: every status says what can split", node)


def resignation_means_stopped(node: SimNode, event: ev.Event, effects: Effects) -> None:
    """Let a node resign only without the address, and after an orderly demotion only without mfsmaster (S5, S9)."""
    for effect in effects:
        if isinstance(effect, fx.Send) and Flags.RESIGNED in effect.advert.flags:
            require(not node.host.is_reachable, "S5: who resigns has given the address up", node)
            is_orderly = any(isinstance(e, fx.Transition) and Role.DEMOTING in (e.was, e.role) for e in effects)
            was_served = effect.advert.term <= node.host.disk.served_term
            if is_orderly and was_served and not isinstance(event, ev.WorkerLost):
                require(not node.host.has_mfsmaster, "S5: mfsmaster is stopped before the resignation", node)


def served_files_were_proved(node: SimNode, _event: ev.Event, effects: Effects) -> None:
    """Take the address only for a mfsmaster whose files are one whole chain and whose version was expected (S7)."""
    for effect in effects:
        if isinstance(effect, fx.Transition) and effect.cause is Cause.PROMOTION_READY:
            host = node.host
            own = host.data.own
            require(node.is_asked, "S7: a promotion asks for the address", node)
            require(own is not None and own.is_whole, "S7: a proved chain is served", node)
            require(own is not None and own.version == host.expected_version, "S7: the expected version", node)


def files_are_old_or_new(node: SimNode, event: ev.Event, _effects: Effects) -> None:
    """Find either the old files or the new ones whenever a worker has taken back what was half done (S11)."""
    if isinstance(event, ev.WorkerReady):
        data = node.host.data
        is_torn = data.best is None and data.staging is not None and node.host.fate is not PlanFate.CANNOT_BE_UNDONE
        require(not is_torn, "S11: neither the old files nor the new ones are there", node)


def unproven_changes_nothing(node: SimNode, event: ev.Event, effects: Effects) -> None:
    """Let an advert that is not proven fresh change nothing but deadlines (S12)."""
    if isinstance(event, ev.AdvertHeard) and not event.is_proven:
        lapses = (Cause.LEASE_LOST, Cause.LATE_WAKE)
        if any(isinstance(e, fx.Transition) and e.cause in lapses for e in effects):
            return  # the lease had run out before the advert came; with it ends what an operator had asked for
        harmless = (fx.Send, fx.DetachVip, fx.CancelSpeculation)  # its time may be over at this moment
        left = [e for e in effects if not isinstance(e, harmless)]
        require(not left, "S12: what is not proven fresh changes nothing", node)


RULES: tuple[Check, ...] = (
    sent_state_is_on_disk,
    address_only_with_a_master,
    address_goes_first,
    candidates_could_serve,
    claims_are_not_resigned,
    snapshots_say_what_can_split,
    resignation_means_stopped,
    served_files_were_proved,
    files_are_old_or_new,
    unproven_changes_nothing,
)


def settling_bound_ns(settings: ElectionSettings, demotion: int, plan_max_ns: int) -> int:
    """Return how long a mended cluster may take to have one MASTER.

    A start's wait; twice a master-down interval of the most handicapped node with a fresher one let go first; and a
    hold, a promotion and a demotion each.
    """
    skew_ns = timing.skew_ns(settings.interval_ns, 1, demotion)
    silence_ns = settings.patience_ns
    rounds_ns = 2 * (2 * silence_ns + skew_ns)
    return settings.start_wait_ns + settings.hold_max_ns + rounds_ns + 3 * plan_max_ns + NS_PER_S
