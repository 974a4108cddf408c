"""Rare branches of the election, seen from outside: what was voted for, what was refused, what was asked for."""

from collections.abc import Callable

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.freshness import is_newer
from pycarpd.election.model import Role
from pycarpd.sim.agenda import NS_PER_MS
from pycarpd.sim.checkers import Effects, has_majority_rules
from pycarpd.sim.node import SimNode


class VoteMarks:
    """Counts what becomes of the claims that voters hear."""

    def __init__(self, mark: Callable[[str], None]) -> None:
        self._mark = mark

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Look at one decision."""
        for effect in effects:
            if isinstance(effect, fx.StartDemotion) and effect.is_foreign:
                self._mark("a standby's files were no part of the master's lineage")
        if isinstance(event, ev.StandbyMade):
            self._mark("a standby was made anew" if event.has_archived else "a standby was left as it is")
            if not event.is_ok:
                self._mark("a standby could not be made one")
        if not has_majority_rules(node):
            return
        for effect in effects:
            if isinstance(effect, fx.Send) and effect.advert.role is Role.MASTER:
                usual_ns = node.settings.patience_ns
                if effect.advert.hold_ms * NS_PER_MS > usual_ns:
                    self._mark("a lease was asked for a hold")
        if isinstance(event, ev.AdvertHeard) and event.is_proven and node.role is Role.BACKUP:
            self._on_claim(node, event, effects)

    def _on_claim(self, node: SimNode, event: ev.AdvertHeard, effects: Effects) -> None:
        advert = event.advert
        votes = [e.persistent for e in effects if isinstance(e, fx.Persist)]
        if any((v.vote_term, v.vote_for) == (advert.term, advert.node_id) for v in votes):
            is_candidate = advert.role is Role.PROMOTING
            self._mark("a vote for a candidate" if is_candidate else "a vote for a master that others elected")
        elif advert.role is Role.PROMOTING and advert.term > node.host.disk.vote_term:
            self._on_refusal(node, event)

    def _on_refusal(self, node: SimNode, event: ev.AdvertHeard) -> None:
        theirs = event.advert.freshness
        snapshot = node.snapshot
        known = snapshot.freshness if snapshot is not None else None
        if theirs is not None and known is not None and is_newer(known, theirs):
            self._mark("a vote refused: the candidate's metadata is older")
            if theirs.version > known.version:
                self._mark("a vote refused: a higher version of an older lineage")
        elif node.host.disk.vote_for not in (event.advert.node_id, 0):
            self._mark("a vote refused: the voter has promised itself")
