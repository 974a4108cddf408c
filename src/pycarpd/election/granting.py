"""Terms that an arbiter outside the cluster gives: asking for one, counting on its lease, giving it back.

With ``arbiter = "etcd"`` no votes are counted. A BACKUP that has lost its master asks the arbiter, and asks on until it
is given a term or hears a master again; it opens the term that it was given. The arbiter's lease takes the place of
the members' promises: it is prolonged by one grant after the other, and a MASTER whose lease has run out is SUSPENDED
until the same term is granted again, or was lost to somebody else.

A node gives its term back when it resigns, so that the next is given one at once. Where it could not be made sure that
no mfsmaster runs here, it only stops prolonging.
"""

from pycarpd.election import quorum, roles, support
from pycarpd.election.events import TermGranted, TermLost
from pycarpd.election.model import CONTENDING, Cause, Persistent, Role
from pycarpd.election.node import Node

HOLDING_ROLES = (Role.PROMOTING, Role.MASTER, Role.SUSPENDED, Role.DEMOTING)


def on_event(node: Node, event: TermGranted | TermLost, now_ns: int) -> None:
    """Take in what the arbiter says in answer to the newest wish; what it said to an earlier one is not heard."""
    if event.wish != node.wish or not (node.asked_term or node.grant_term):
        return
    match event:
        case TermGranted():
            _on_granted(node, event, now_ns)
        case TermLost():
            _on_lost(node, now_ns)


def on_durable(node: Node, persistent: Persistent, now_ns: int) -> None:
    """Go on with what had to wait for the disk; the arbiter, or a voter, may have given its word before."""
    roles.on_durable(node, persistent, now_ns)
    if node.settings.asks_arbiter or node.role is Role.PROMOTING:
        support.on_support(node, now_ns)


def _on_granted(node: Node, event: TermGranted, now_ns: int) -> None:
    """Take in that the term is this node's until then: a new one, or the one that it has, prolonged."""
    if event.term == node.grant_term:
        node.grant_until_ns = max(node.grant_until_ns, event.until_ns)
        support.on_support(node, now_ns)
    elif event.term <= node.persistent.term:  # a newer one was heard of since
        is_adoption = node.adopts
        node.release_term(is_free=True)
        quorum.ask_arbiter(node, is_adoption=is_adoption)
    else:
        node.asked_term = 0
        node.grant_term, node.grant_until_ns = event.term, event.until_ns
        if node.role is Role.PROMOTING:
            roles.claim_term(node, event.term, now_ns)
        else:
            roles.start_promotion(node, node.promotion_cause, now_ns)


def _on_lost(node: Node, now_ns: int) -> None:
    """Make room: somebody else was given a newer term."""
    node.grant_term = node.grant_until_ns = 0
    if node.role in CONTENDING:
        roles.demote(node, Cause.OUTRANKED, now_ns)


def settle(node: Node) -> None:
    """Stop asking, or prolonging, as soon as there is no reason for it any more."""
    if node.asked_term and not _still_wants(node):
        node.release_term(is_free=True)
    if node.grant_term and node.role not in HOLDING_ROLES:
        node.release_term(is_free=False)


def _still_wants(node: Node) -> bool:
    """Tell whether this node would still open a term."""
    if node.role is Role.PROMOTING:
        return node.adopts and not node.grant_term
    has_no_master = node.is_master_lost and node.master_deadline_ns is None
    return node.role is Role.BACKUP and has_no_master and node.could_serve
