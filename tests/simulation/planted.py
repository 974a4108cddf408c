"""Planted bugs: each is a change of one or two functions of the real code, and some checker has to notice it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pycarpd.election import freshness, hearing, lineage, quorum, roles, settling, support
from pycarpd.election.effects import RenewLease
from pycarpd.election.elector import Elector
from pycarpd.election.events import AdvertHeard, DemotionFinished, StandbyMade, StatePersisted
from pycarpd.election.model import Advert, Arbiter, Cause, Freshness, Persistent, Role
from pycarpd.election.node import Node
from pycarpd.election.peers import Peer
from pycarpd.election.settings import ElectionSettings
from pycarpd.election.standby import Files
from pycarpd.sim import plans, worker
from pycarpd.sim.files import DataPath
from pycarpd.sim.host import Host
from pycarpd.sim.rehearsal import draw, perform
from pycarpd.sim.worker import SimWorker
from pycarpd.wire import carp, receiver

SEEDS_MAX = 2000
Patch = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True)
class Bug:
    """What is wrong, and where it is put in."""

    name: str
    patches: tuple[Patch, ...]


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Have the bug in the code for a while."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in bug.patches]
    for owner, name, replacement in bug.patches:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)


def seeds_until_caught(bug: Bug, seeds_max: int = SEEDS_MAX) -> tuple[int, str] | None:
    """Return how many seeds it took and what was violated, None when it was not noticed."""
    with planted(bug):
        for seed in range(seeds_max):
            result = perform(draw(seed, Arbiter.MAJORITY))
            if result.violation:
                return seed + 1, result.rule
    return None


def _same(duration_ns: int) -> int:
    return duration_ns


def _by_version_alone(one: Freshness, other: Freshness) -> bool:
    return one.version > other.version


def _never_foreign(node: Node, lineage_term: int, found: Freshness) -> None:
    node.standby.files = Files.LEAD_UP
    del lineage_term, found


def _lineage_of_whom_it_hears(node: Node, found: Freshness) -> int:
    del found
    theirs = node.standby.theirs
    return theirs.lineage or 0 if theirs is not None else 0


def _awake_again(node: Node) -> None:
    _POST_INIT(node)
    node.is_paused = False


def _tried_once(node: Node, event: StandbyMade, now_ns: int) -> None:
    if event.is_ok:
        _ON_STANDBY_MADE(node, event, now_ns)
    else:
        node.standby.retry_ns = None


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


def _always(*_: Any, **__: Any) -> bool:
    return True


def _never(*_: Any, **__: Any) -> bool:
    return False


def _lease_from_receipt(node: Node, peer: Peer) -> int:
    acknowledged = peer.acknowledged(node.settings.node_id, node.identity.nonce)
    sent = next((s for s in reversed(node.sent) if s.sequence == acknowledged), None)
    return peer.heard_ns + quorum.shrunk(sent.lease_ns) if sent is not None and sent.lease_ns else 0


def _best_promise_alone(node: Node) -> int:
    return max((quorum._promised_until_ns(node, p) for p in quorum.supporters(node)), default=0)


def _lease_from_now(node: Node, now_ns: int) -> None:
    _ON_SUPPORT(node, now_ns)
    if node.role is Role.MASTER and quorum.is_elected(node):
        node.lease_until_ns = now_ns + node.silence_ns()
        node.emit(RenewLease(node.lease_until_ns))


def _vote_unwritten(node: Node, event: AdvertHeard, now_ns: int) -> bool:
    advert = event.advert
    if not quorum.may_vote_for(node, advert, now_ns):
        return False
    term = max(node.persistent.term, advert.term)
    node.persistent = replace(node.persistent, term=term, vote_term=advert.term, vote_for=advert.node_id)
    node.durable = node.persistent
    return True


def _told_before_written(to: SimWorker, persistent: Persistent) -> None:
    to._reporting.report(StatePersisted(persistent))


def _may_vote(*, is_once: bool = True, is_forward: bool = True, is_bound: bool = True) -> Callable[..., bool]:
    def may_vote_for(node: Node, advert: Advert, now_ns: int) -> bool:
        kept = node.persistent
        if is_forward and advert.term < max(kept.vote_term, kept.served_term):
            return False
        if is_once and advert.term == kept.vote_term:
            return advert.node_id == kept.vote_for
        if is_bound and node.is_bound(now_ns) and node.promised_to != advert.node_id:
            return False
        return advert.role is Role.MASTER or quorum.is_fresh_enough(advert.freshness, node.freshness)

    return may_vote_for


_derive = ElectionSettings.__post_init__


def _half(settings: ElectionSettings) -> None:
    _derive(settings)
    if settings.arbiter is not Arbiter.NONE:
        object.__setattr__(settings, "majority", max(2, len(settings.members) // 2))


def _supporters_of_any_term(node: Node) -> tuple[Peer, ...]:
    me = node.settings.node_id
    return tuple(p for p in node.peers.all() if p.is_proven and p.advert is not None and p.advert.vote_for == me)


def _unready(node: Node, now_ns: int, *, has_lease: bool) -> None:
    if not node.is_plan_started and not node.adopts:
        node.election_deadline_ns = None
        roles.begin_plan(node, now_ns)
    elif has_lease:
        roles.become_master(node, Cause.ADOPTED if node.adopts else Cause.PROMOTION_READY, now_ns)


def _without_lease(node: Node, now_ns: int, *, has_lease: bool) -> None:
    del has_lease
    _ON_ELECTED(node, now_ns, has_lease=True)


def _learn_from_anybody(node: Node, advert: Advert, now_ns: int) -> None:
    hearing._learn_terms(node, advert)
    _ANSWER_UNPROVEN(node, advert, now_ns)


def _resign_first(node: Node, cause: Cause, now_ns: int, successor: int = 0) -> None:
    if node.role is Role.MASTER:
        node.give_up_address()
        node.say_resigned(now_ns)
    _DEMOTE(node, cause, now_ns, successor)


def _suspend_with_address(node: Node, cause: Cause, now_ns: int) -> None:
    node.move(cause, now_ns)
    node.lease_until_ns = 0
    roles.listen(node, now_ns)


def _release_on_any_report(node: Node, advert: Advert, now_ns: int) -> None:
    if node.promised_to == advert.node_id and advert.role is not Role.MASTER:
        node.promise_until_ns = min(node.promise_until_ns, now_ns)


def _adopt_at_once(self: Elector, now_ns: int) -> None:
    node = self._node
    node.move(Cause.ADOPTING, now_ns)
    node.claimed_term = node.persistent.term
    node.lease_until_ns = now_ns + node.silence_ns()
    roles.become_master(node, Cause.ADOPTED, now_ns)


def _still_ready(self: Elector, may_restart: bool, now_ns: int) -> None:
    was_ready = self._node.is_ready
    _ON_MFSMASTER_LOST(self, may_restart, now_ns)
    self._node.is_ready = was_ready


def _kept_while_demoting(self: SimWorker, term: int, *, has_successor: bool = False, is_foreign: bool = False) -> None:
    del has_successor, is_foreign
    self._reporting.report(DemotionFinished(term))


def _may_always_promote(node: Node, _now_ns: int) -> bool:
    return not node.faults and not node.is_stopping


def _may_promote_paused(node: Node, now_ns: int) -> bool:
    was_paused, node.is_paused = node.is_paused, False
    may_promote: bool = _MAY_PROMOTE(node, now_ns)
    node.is_paused = was_paused
    return may_promote


def _one_more(peer: Peer, node_id: int, nonce: int) -> int:
    return _ACKNOWLEDGED(peer, node_id, nonce) + 1


def _serve_on(self: Elector, event: Any, now_ns: int) -> tuple[Any, ...]:
    node = self._node
    lease_ns, node.lease_until_ns = node.lease_until_ns, max(node.lease_until_ns, now_ns + 1)
    effects = _HANDLE(self, event, now_ns)
    if node.lease_until_ns == now_ns + 1:
        node.lease_until_ns = lease_ns
    return effects


def _lose_quietly(node: Node, cause: Cause) -> None:
    _LOSE_MASTER(node, cause)
    node.effects = [e for e in node.effects if type(e).__name__ != "PreserveFiles"]


def _no_step(_operation: plans.Operation) -> None:
    return None


def _claim_again(node: Node, term: int, now_ns: int) -> None:
    _CLAIM_TERM(node, max(1, term - 1), now_ns)


_POST_INIT = Node.__post_init__
_ON_STANDBY_MADE = lineage.on_standby_made
_ON_SUPPORT = support.on_support
_ON_ELECTED = support._on_elected
_ANSWER_UNPROVEN = hearing._answer_unproven
_DEMOTE = roles.demote
_LOSE_MASTER = roles.lose_master
_CLAIM_TERM = roles.claim_term
_ON_MFSMASTER_LOST = Elector._on_mfsmaster_lost
_ACKNOWLEDGED = Peer.acknowledged
_HANDLE = Elector.handle
_MAY_PROMOTE = Node.may_promote

BUGS: tuple[Bug, ...] = (
    Bug("no guard for drift", ((quorum, "shrunk", _same), (quorum, "stretched", _same))),
    Bug(
        "the lease counts from the receipt of the acknowledgement",
        ((quorum, "_promised_until_ns", _lease_from_receipt),),
    ),
    Bug("the lease counts from now", ((support, "on_support", _lease_from_now),)),
    Bug("the best promise is taken for a majority's", ((quorum, "lease_until_ns", _best_promise_alone),)),
    Bug("half of the members is a majority", ((ElectionSettings, "__post_init__", _half),)),
    Bug("the vote is not written", ((hearing, "_votes", _vote_unwritten),)),
    Bug("the state is reported before it is written", ((SimWorker, "persist", _told_before_written),)),
    Bug("a claim does not wait for the disk", ((roles, "is_claim_durable", _always),)),
    Bug("a voter votes twice in a term", ((quorum, "may_vote_for", _may_vote(is_once=False)),)),
    Bug("a voter votes in a term of the past", ((quorum, "may_vote_for", _may_vote(is_forward=False, is_once=False)),)),
    Bug("a voter votes while it is bound", ((quorum, "may_vote_for", _may_vote(is_bound=False)),)),
    Bug("a voter asks for no freshness", ((quorum, "is_fresh_enough", _always),)),
    Bug("votes of other terms are counted", ((quorum, "supporters", _supporters_of_any_term),)),
    Bug("a claim opens a term that was there before", ((roles, "claim_term", _claim_again),)),
    Bug("an acknowledgement covers the next advert too", ((Peer, "acknowledged", _one_more),)),
    Bug("the address comes before mfsmaster was probed", ((support, "_on_elected", _unready),)),
    Bug("the address comes before the lease", ((support, "_on_elected", _without_lease),)),
    Bug("the address stays when the lease is lost", ((roles, "suspend", _suspend_with_address),)),
    Bug("the address stays whatever happens", ((Node, "give_up_address", _nothing),)),
    Bug("a master that wakes late serves on", ((roles, "suspend", _nothing),)),
    Bug("nobody looks at the end of the lease", ((Elector, "handle", _serve_on),)),
    Bug("a term is believed that nobody has proved fresh", ((hearing, "_answer_unproven", _learn_from_anybody),)),
    Bug("the resignation comes before mfsmaster is stopped", ((roles, "demote", _resign_first),)),
    Bug("the demotion leaves mfsmaster running", ((SimWorker, "demote", _kept_while_demoting),)),
    Bug("a voter comes back unbound", ((quorum, "bind_after_restart", _nothing),)),
    Bug("a voter forgets its promise", ((quorum, "keep_promise", _nothing),)),
    Bug("any report of the holder releases its voters", ((quorum, "release_promise", _release_on_any_report),)),
    Bug("what runs is adopted without votes", ((Elector, "_adopt", _adopt_at_once),)),
    Bug("a restart in place needs no probe", ((Elector, "_on_mfsmaster_lost", _still_ready),)),
    Bug("a restart in place asks no standby", ((lineage, "is_behind_standby", _never),)),
    Bug("a candidate gives way to nobody", ((settling, "gives_way", _never),)),
    Bug("a candidate that is ready waits for nobody", ((settling, "is_pending", _never),)),
    Bug("a node without files opens a term", ((Node, "may_promote", _may_always_promote),)),
    Bug("a host that proves nothing assembles all the same", ((Host, "refusal", property(lambda _host: "")),)),
    Bug("nobody looks what mfsmaster serves", ((plans, "WORK", plans.WORK | {"probe": _no_step}),)),
    Bug("files are not preserved before they are displaced", ((plans, "WORK", plans.WORK | {"preserve": _no_step}),)),
    Bug("a higher version of an older lineage wins", ((freshness, "_is_beyond", _by_version_alone),)),
    Bug("no standby's files are foreign", ((lineage, "_judge", _never_foreign),)),
    Bug("files are of whatever lineage is heard of", ((lineage, "_followed_lineage", _lineage_of_whom_it_hears),)),
    Bug("a pause is forgotten by a restart", ((Node, "__post_init__", _awake_again),)),
    Bug("a standby that cannot be made one is not tried again", ((lineage, "on_standby_made", _tried_once),)),
    Bug("a paused node opens terms", ((Node, "may_promote", _may_promote_paused),)),
    Bug("a lost master's files are not preserved", ((roles, "lose_master", _lose_quietly),)),
    Bug("what a crash has left half done stays so", ((worker, "open_plan", _nothing),)),
    Bug("an undone plan leaves the files in the archive", ((DataPath, "take_back", _nothing),)),
    Bug("a suspended master waits for ever", ((support, "_limit_suspension", _nothing),)),
    Bug(
        "nobody reads digests",
        ((receiver._Verifier, "is_genuine", _always), (carp.CarpSigner, "is_genuine", _always)),
    ),
)
