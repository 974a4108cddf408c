"""Held against a restart in place: nobody serves on from less than what a standby has told that it has (S6)."""

from dataclasses import dataclass, field

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Advert, Cause, Flags, Role
from pycarpd.sim.checkers import Effects, require
from pycarpd.sim.node import SimNode

Heard = dict[int, tuple[int, Advert]]


@dataclass(slots=True)
class RestartKeeper:
    """Follows what each life of a node has heard of its peers: the newest advert of each, and when it came."""

    heard: dict[tuple[str, int], Heard] = field(default_factory=dict)
    restarting: set[str] = field(default_factory=set)

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Hold a MASTER that has restarted its mfsmaster against its standbys' newest adverts."""
        heard = self.heard.setdefault((node.name, node.host.epoch), {})
        if isinstance(event, ev.AdvertHeard) and event.is_proven:
            _note(heard, event)
        for effect in effects:
            match effect:
                case fx.Transition(cause=Cause.MFSMASTER_LOST):
                    self.restarting.add(node.name)
                case fx.Transition(cause=Cause.PROMOTION_READY) if node.name in self.restarting:
                    _hold(node, heard)
                    self.restarting.discard(node.name)
                case fx.Transition():
                    self.restarting.discard(node.name)
                case _:
                    pass


def _note(heard: Heard, event: ev.AdvertHeard) -> None:
    advert = event.advert
    newest = heard.get(advert.node_id)
    if newest is None or (newest[1].epoch, newest[1].sequence) <= (advert.epoch, advert.sequence):
        heard[advert.node_id] = (event.received_ns, advert)


def _hold(node: SimNode, heard: Heard) -> None:
    own, kept = node.host.data.own, node.host.disk.lineage
    if node.is_among_older:
        return
    silence_ns = node.settings.missed_adverts * node.settings.interval_ns
    for received_ns, advert in heard.values():
        theirs = advert.freshness
        is_candidate = Flags.PROMOTABLE in advert.flags and advert.role is Role.BACKUP and not advert.demotion
        is_silent = node.now_ns - received_ns > silence_ns + node.settings.more_patience_ns(advert.interval_us)
        if own is None or theirs is None or not is_candidate or is_silent:
            continue
        if (theirs.metaid, theirs.lineage) == (kept.metaid, kept.term) and Flags.PAUSED not in advert.flags:
            is_ahead = theirs.version > own.version
            require(not is_ahead, f"S6: restarts {own} although {advert.node_id:x} has {theirs}", node)
