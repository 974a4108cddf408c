"""The planned handover: a master gives its role to a standby that has every operation, or keeps it.

Theory of operation. The master stays MASTER, with its lease and its adverts, until the very end. It has its clients
held at the gate until mfsmaster's version stands still (HOLDING), and says in its adverts who is to succeed it at which
version (OFFERED). The successor stops its metalogger, so that nothing is left in a buffer, and says what its files
prove (LEVEL). If that is the same, the master looks once more whether its version still is that one (CONFIRMING), and
only then gives the address up, ends mfsmaster and resigns, naming the successor: the others let it go first, and take
over as usual if it does not.

Anything else aborts: a different version, a bound that has passed, a lease lost, an advert that no longer offers. Then
the master's worker opens the gate again and the successor's starts its metalogger again; both have bounds of their own
beside those here, so neither depends on being told. Whoever must leave in any case (an operator's resignation, a stop)
tries this first and resigns in the plain way when it fails (``leaving``).
"""

from dataclasses import replace
from typing import assert_never

from pycarpd.election import lineage, roles
from pycarpd.election.claims import standing_of
from pycarpd.election.effects import ConfirmHandover, EndHandover, HoldClients, LevelFiles, Stopped, SwitchoverEnded
from pycarpd.election.events import ClientsHeld, FilesLevel, HandoverConfirmed, HandoverFailed, SwitchoverAsked
from pycarpd.election.model import CONTENDING, Advert, Cause, Handover, Role
from pycarpd.election.node import Node
from pycarpd.election.peers import Peer
from pycarpd.election.succession import Handing, Phase

HANDOVER_MAX_NS = 2_000_000_000
"""How long clients are held at most for a handover that comes to nothing; the gate's own bound is longer."""
LEVEL_MAX_NS = 6_000_000_000
"""How long a successor keeps its metalogger stopped: the master's bound, and the time it takes to end mfsmaster."""
RETRY_AFTER_NS = 30_000_000_000
"""How long after a handover that came to nothing a better node's wish is not looked at."""

HandoverEvent = SwitchoverAsked | ClientsHeld | HandoverConfirmed | FilesLevel | HandoverFailed


def on_event(node: Node, event: HandoverEvent, now_ns: int) -> None:
    """Take in what an operator asks or the worker reports."""
    match event:
        case SwitchoverAsked(target_id=target_id):
            _on_asked(node, target_id, now_ns)
        case ClientsHeld(term=term, version=version):
            _on_held(node, term, version, now_ns)
        case HandoverConfirmed(term=term):
            _on_confirmed(node, term, now_ns)
        case FilesLevel(term=term, version=version):
            _on_level(node, term, version, now_ns)
        case HandoverFailed(term=term, detail=detail):
            handing = node.handing
            if handing is not None and handing.term == term:
                _abort(node, "switchover-aborted", detail, now_ns)
        case _:
            assert_never(event)


def begin(node: Node, target: Peer, cause: Cause, now_ns: int) -> None:
    """Begin to hand over to that peer."""
    deadline_ns = now_ns + HANDOVER_MAX_NS
    node.handing = Handing(Phase.HOLDING, target.member.node_id, node.claimed_term, deadline_ns, cause)
    node.emit(HoldClients(node.claimed_term))


def leave(node: Node, cause: Cause, now_ns: int) -> None:
    """Give the role away: by a handover if anybody could succeed without loss, else (or when that fails) plainly."""
    node.leaving = cause
    if node.handing is not None:
        return
    target = best_candidate(node, now_ns) if node.role is Role.MASTER else None
    if target is not None:
        begin(node, target, cause, now_ns)
    else:
        _leave_plainly(node, now_ns)


def on_wish(node: Node, advert: Advert, now_ns: int) -> None:
    """Hand over to a better node that asks for it, unless that came to nothing a moment ago."""
    target = node.peers.get(advert.node_id)
    if node.handing is None and node.leaving is None and target is not None and now_ns >= node.hands_over_again_ns:
        begin(node, target, Cause.HANDED_OVER, now_ns)


def candidates(node: Node, now_ns: int) -> list[Peer]:
    """Return the standbys that could succeed now, the freshest first, among equals the one of the best standing."""
    own = node.freshness
    live = node.peers.live(now_ns, node.silence_ns() + node.settings.interval_ns)
    able = [p for p in live if not objection(p)]
    return sorted((p for p in able if own and p.freshness and p.freshness.metaid == own.metaid), key=_rank)


def _rank(peer: Peer) -> tuple[int, int, tuple[int, int], bytes]:
    """Return what orders candidates, the best first."""
    if peer.advert is None or peer.freshness is None:
        return (0, 0, (0, 0), peer.member.address)
    standing = standing_of(peer.advert, peer.member.address)
    return (-(peer.freshness.lineage or 0), -peer.freshness.version, standing.handicap, standing.address)


def best_candidate(node: Node, now_ns: int) -> Peer | None:
    """Return the standby to hand over to, None without one."""
    return next(iter(candidates(node, now_ns)), None)


def objection(peer: Peer) -> str:
    """Return what speaks against a peer as successor, empty for nothing."""
    if peer.member.is_witness:
        return "it is a witness"
    if peer.advert is None:
        return "it has never been heard"
    if peer.advert.role is not Role.BACKUP:
        return f"it is {peer.advert.role.name}"
    if not peer.hears_me:
        return "it does not hear this node"
    return "" if peer.is_candidate else "it is paused, or its files could not be served: see its own status"


def on_advert(node: Node, advert: Advert, now_ns: int) -> None:
    """Take in what a proven advert says of a handover."""
    handing, offer = node.handing, advert.handover
    if handing is not None and handing.phase.is_masters:
        is_answer = offer is not None and (advert.node_id, offer.node_id) == (handing.peer_id, node.settings.node_id)
        if offer is not None and is_answer and advert.role is Role.BACKUP and handing.told_version is not None:
            _compare(node, handing, offer.version, now_ns)
    elif node.role is Role.BACKUP and advert.role is Role.MASTER and advert.node_id == node.master_id:
        _on_offer(node, advert, now_ns)


def order_succession(node: Node, advert: Advert, now_ns: int) -> bool:
    """Let the successor that a resignation names go at once, the others after it; False if it names nobody."""
    if advert.handover is None:
        return False
    if advert.handover.node_id == node.settings.node_id:
        node.master_deadline_ns = None
        node.inherits = True
        node.has_deferred = True  # it was proved level: nobody is fresher
    else:
        node.master_deadline_ns = now_ns + node.silence_ns() + node.skew_ns(now_ns)
    return True


def on_time(node: Node, now_ns: int) -> None:
    """Abort what has taken too long."""
    handing = node.handing
    if handing is None or now_ns < handing.deadline_ns:
        return
    if handing.phase.is_masters:
        _abort(node, "switchover-too-slow", f"not done in time: {handing.phase.value}", now_ns)
    else:
        _give_up_levelling(node, handing)


def settle(node: Node, now_ns: int) -> None:
    """After each event: end a handover whose node has another role by now, and leave in the plain way if it failed."""
    handing = node.handing
    if handing is not None and node.role is not handing.role:
        node.handing = None
        if node.role in (Role.SUSPENDED, Role.FAULT):  # in every other role a plan is asked for, which ends this one
            node.emit(EndHandover(handing.term))
        if handing.phase.is_masters:
            node.emit(SwitchoverEnded("switchover-interrupted", f"the master became {node.role.name}"))
    if node.handing is None:
        _leave_plainly(node, now_ns)


def _leave_plainly(node: Node, now_ns: int) -> None:
    """Resign without a successor, if the role is to be given away and still is here."""
    cause, node.leaving = node.leaving, None
    if cause is not None and node.role in CONTENDING:
        if cause is Cause.RESIGNED:
            node.raise_demotion(now_ns)
        roles.demote(node, cause, now_ns)
    elif cause is not None and node.is_stopping and node.role is not Role.DEMOTING:
        node.emit(Stopped())


def _on_asked(node: Node, target_id: int, now_ns: int) -> None:
    if node.role is not Role.MASTER or node.is_stopping:
        node.emit(SwitchoverEnded("not-master", f"this node is {node.role.name}, it has nothing to give away"))
        return
    if node.handing is not None or node.leaving is not None:
        node.emit(SwitchoverEnded("switchover-busy", "a handover is in progress already"))
        return
    target = node.peers.get(target_id) if target_id else best_candidate(node, now_ns)
    if target is None:
        node.emit(SwitchoverEnded("no-successor", "no other member could take over now"))
        return
    if target not in candidates(node, now_ns):
        why = objection(target) or "it has not been heard lately, or has another file system's files"
        node.emit(SwitchoverEnded("switchover-not-promotable", f"{target.member.name} could not take over: {why}"))
        return
    begin(node, target, Cause.SWITCHOVER, now_ns)


def _on_held(node: Node, term: int, version: int, now_ns: int) -> None:
    handing = node.handing
    if handing is None or handing.phase is not Phase.HOLDING or handing.term != term or now_ns >= handing.deadline_ns:
        return
    handing.phase, handing.version = Phase.OFFERED, version
    if node.freshness is not None:
        node.freshness = replace(node.freshness, version=version)
    node.send(now_ns)


def _compare(node: Node, handing: Handing, version: int, now_ns: int) -> None:
    if version != handing.version:
        found = f"is at version {version}" if version else "could not make its files level"
        _abort(node, "switchover-not-level", f"the successor {found}, the master is at {handing.version}", now_ns)
    elif handing.phase is Phase.OFFERED and now_ns < handing.deadline_ns:
        handing.phase = Phase.CONFIRMING
        node.emit(ConfirmHandover(handing.term, handing.version))


def _on_confirmed(node: Node, term: int, now_ns: int) -> None:
    """Give the role up: nothing is acknowledged to anybody from here on."""
    handing = node.handing
    if handing is None or handing.phase is not Phase.CONFIRMING or handing.term != term:
        return
    if now_ns >= handing.deadline_ns:  # the gate may open before long
        _abort(node, "switchover-too-slow", "not done in time: this process was stopped for a while", now_ns)
        return
    cause, node.leaving, node.handing = node.leaving or handing.cause, None, None
    node.successor = Handover(handing.peer_id, handing.version)
    if cause is Cause.RESIGNED or (cause is Cause.SWITCHOVER and node.settings.preempt):
        node.raise_demotion(now_ns)  # or it would ask for the role again at once
    node.emit(SwitchoverEnded("", "", handing.peer_id))
    roles.demote(node, cause, now_ns)


def _abort(node: Node, code: str, detail: str, now_ns: int) -> None:
    """Serve on, or stand by again."""
    handing = node.handing
    if handing is None:
        return
    if not handing.phase.is_masters:
        handing.phase, handing.level_version = Phase.LEVEL, 0
        node.send(now_ns)  # the master need not wait
        return
    node.handing = None
    node.hands_over_again_ns = now_ns + RETRY_AFTER_NS
    node.emit(EndHandover(handing.term))
    node.emit(SwitchoverEnded(code, detail, handing.peer_id))
    if node.leaving is None:
        node.send(now_ns)  # no longer offering: the successor starts its metalogger again
    else:
        _leave_plainly(node, now_ns)


def _on_offer(node: Node, advert: Advert, now_ns: int) -> None:
    """As a standby, answer the master's offer, or take note that there is none any more."""
    handing, offer = node.handing, advert.handover
    is_for_me = offer is not None and offer.node_id == node.settings.node_id
    if handing is not None:
        is_other = offer is None or (advert.node_id, advert.term, offer.version) != (
            handing.peer_id,
            handing.term,
            handing.version,
        )
        if not is_for_me or is_other:
            _give_up_levelling(node, handing)
    elif offer is not None and is_for_me and node.may_promote(now_ns):
        deadline_ns = now_ns + LEVEL_MAX_NS
        node.handing = Handing(Phase.LEVELLING, advert.node_id, advert.term, deadline_ns, version=offer.version)
        node.emit(LevelFiles(advert.term))


def _on_level(node: Node, term: int, version: int, now_ns: int) -> None:
    handing = node.handing
    if handing is None or handing.phase is not Phase.LEVELLING or handing.term != term:
        return
    is_level = lineage.on_level(node, version, now_ns)
    handing.phase, handing.level_version = Phase.LEVEL, version if is_level else 0
    node.send(now_ns)


def _give_up_levelling(node: Node, handing: Handing) -> None:
    node.handing = None
    node.emit(EndHandover(handing.term))
