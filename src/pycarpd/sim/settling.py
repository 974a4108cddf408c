"""Held against a candidate: it serves only once it is known who has the last changes, and gives way to who has them."""

from dataclasses import dataclass, field

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election import freshness
from pycarpd.election.model import Cause, Flags, Freshness, Role
from pycarpd.election.settling import SETTLE_MAX_NS
from pycarpd.sim.checkers import Effects, require
from pycarpd.sim.node import SimNode


@dataclass(slots=True)
class _Life:
    """What one life of a node has heard of its peers, and what it has done since it served or followed a master last.

    Of a peer that has begun anew nothing counts before its adverts are proven, nor what it said in its life before.
    """

    heard: dict[int, ev.AdvertHeard] = field(default_factory=dict)
    claimed_ns: int | None = None
    is_named: bool = False
    has_given_way: bool = False


@dataclass(slots=True)
class SettlingKeeper:
    """Follows each life of a node where votes are counted (S6)."""

    lives: dict[tuple[str, int], _Life] = field(default_factory=dict)

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Hold a candidate that begins to serve against what the standbys that it hears have said."""
        if not node.settings.counts_votes or node.is_among_older:
            return
        life = self.lives.setdefault((node.name, node.host.epoch), _Life())
        if isinstance(event, ev.AdvertHeard):
            _note(life, event, node)
        for effect in effects:
            match effect:
                case fx.Transition(was=Role.BACKUP, role=Role.PROMOTING):
                    life.claimed_ns = node.now_ns
                case fx.Transition(cause=Cause.PROMOTION_READY):
                    _hold(life, node)
                    life.claimed_ns, life.has_given_way = None, False
                case fx.Transition(cause=Cause.BEHIND_STANDBY):
                    life.has_given_way, life.claimed_ns = True, None
                case fx.Transition():
                    life.claimed_ns = None
                case _:
                    pass


def _note(life: _Life, event: ev.AdvertHeard, node: SimNode) -> None:
    advert = event.advert
    newest = life.heard.get(advert.node_id)
    if newest is not None and (advert.epoch, advert.sequence) < (newest.advert.epoch, newest.advert.sequence):
        return
    life.heard[advert.node_id] = event
    if not event.is_proven:
        return
    if advert.role is Role.MASTER:
        life.has_given_way = life.is_named = False
    elif Flags.RESIGNED in advert.flags:
        life.is_named = advert.handover is not None and advert.handover.node_id == node.settings.node_id


def _hold(life: _Life, node: SimNode) -> None:
    own, kept = node.host.data.own, node.host.disk.lineage
    if life.claimed_ns is None or life.is_named or own is None:
        return
    served = Freshness(kept.metaid, own.version, lineage=kept.term)
    waited_ns = node.now_ns - life.claimed_ns
    silence_ns = node.settings.missed_adverts * node.settings.interval_ns
    for advert, received_ns in ((e.advert, e.received_ns) for e in life.heard.values() if e.is_proven):
        is_able = Flags.PROMOTABLE in advert.flags and not advert.flags & (Flags.PAUSED | Flags.RESIGNED)
        is_silent = node.now_ns - received_ns > silence_ns + node.settings.more_patience_ns(advert.interval_us)
        if is_silent or not is_able or advert.role is not Role.BACKUP or advert.freshness is None:
            continue
        has_settled = Flags.SETTLED in advert.flags
        require(has_settled or waited_ns >= SETTLE_MAX_NS, f"S6: serves before {advert.node_id:x} has settled", node)
        hears = any(ack.node_id == node.settings.node_id for ack in advert.acks)
        if has_settled and hears and not advert.demotion and not life.has_given_way:
            is_ahead = freshness.is_newer(advert.freshness, served)
            require(not is_ahead, f"S6: serves {own} although {advert.node_id:x} has {advert.freshness}", node)
