"""Counting votes and promises after a member was heard: begin to promote, go on, or return to serve as they allow."""

from pycarpd.election import early, lineage, quorum, roles, settling
from pycarpd.election.effects import RenewLease, Stopped
from pycarpd.election.events import FreshnessKnown
from pycarpd.election.model import CONTENDING, Cause, Role
from pycarpd.election.node import Fault, Node


def on_files(node: Node, event: FreshnessKnown, now_ns: int) -> None:
    """Take in what was found here, and do what had to wait for it."""
    lineage.on_files(node, event, now_ns)
    settling.note(node, event, now_ns)
    on_support(node, now_ns)
    roles.try_promotion(node, now_ns)


def on_support(node: Node, now_ns: int) -> None:
    """Take in what the members say of this node's claim; nothing to do without an arbiter or a claim."""
    if node.settings.majority == 1 or node.role not in CONTENDING:
        return
    if not roles.is_claim_durable(node):
        return
    if node.role is Role.SUSPENDED:
        _limit_suspension(node, now_ns)
    if not quorum.is_elected(node):
        _give_way_to_fresher(node, now_ns)
        _leave_spent_term(node, now_ns)
        return
    until_ns = quorum.lease_until_ns(node)
    if until_ns > node.lease_until_ns:
        node.lease_until_ns = until_ns
        if node.role is Role.MASTER or node.has_early_address:
            node.emit(RenewLease(until_ns))
    early.grant(node, now_ns)
    has_lease = node.lease_until_ns > now_ns
    if node.role is Role.PROMOTING:
        _on_elected(node, now_ns, has_lease=has_lease)
    elif node.role is Role.SUSPENDED and has_lease and Fault.LINK not in node.faults:
        roles.become_master(node, Cause.RESTORED, now_ns)
    elif node.hold_ns and node.is_stopping and until_ns - now_ns > node.settings.patience_ns:
        node.emit(Stopped())  # the voters know that it will be back


def on_election_deadline(node: Node, now_ns: int) -> None:
    """Give up waiting for a majority, or ask it again for what runs here already."""
    node.election_deadline_ns = None
    if node.role is Role.PROMOTING and node.adopts:
        _ask_again(node, now_ns)
    elif node.role is Role.PROMOTING:
        roles.become_backup(node, Cause.NOT_ELECTED, now_ns)
    elif node.is_stopping:
        node.emit(Stopped())  # the voters could not be told to wait: the address goes with the lease
    elif node.role is Role.SUSPENDED and node.hears_majority(now_ns):
        roles.demote(node, Cause.NOT_ELECTED, now_ns)


def _ask_again(node: Node, now_ns: int) -> None:
    """Ask for votes in a new term where a majority is heard and none of it serves: this one's may be used up."""
    if node.settings.asks_arbiter:
        return
    live = node.peers.live(now_ns, node.silence_ns())
    has_master = any(p.advert is not None and p.advert.role is Role.MASTER for p in live)
    if node.hears_majority(now_ns) and not has_master:
        node.advert_due_ns = None  # the new term is not said before it is on disk
        roles.claim_term(node, node.persistent.term + 1, now_ns)
    else:
        roles.ask_for_votes(node, now_ns)


def _limit_suspension(node: Node, now_ns: int) -> None:
    """Wait only so long for the lease of this term when a majority can be heard: it may never come again.

    The voters of this term may be gone and the others have voted for somebody else in it: then only a new term helps.
    """
    if node.is_stopping or node.settings.asks_arbiter:
        return
    if not node.hears_majority(now_ns):
        node.election_deadline_ns = None
    elif node.election_deadline_ns is None:
        node.election_deadline_ns = now_ns + 2 * node.silence_ns() + node.skew_ns(now_ns)


def _give_way_to_fresher(node: Node, now_ns: int) -> None:
    """Give up a candidacy that a fresher node will not vote for, so that it can open its own at once."""
    if node.role is not Role.PROMOTING or node.is_plan_started or node.adopts:
        return
    if node.peers.fresher_candidate(node.freshness, node.demotion(now_ns), now_ns, node.silence_ns()) is not None:
        roles.become_backup(node, Cause.NOT_ELECTED, now_ns)


def _leave_spent_term(node: Node, now_ns: int) -> None:
    """Open the next term where so many have voted for others in this one that no majority is left for anybody.

    Two candidates that began at one moment each have their own vote. The one that gives way says so at once.
    """
    if node.role is not Role.PROMOTING or node.is_plan_started or node.adopts or node.settings.asks_arbiter:
        return
    if quorum.is_term_spent(node, now_ns) and quorum.may_open_term(node, now_ns):
        node.advert_due_ns = node.election_deadline_ns = None  # the new term is not said before it is on disk
        roles.claim_term(node, node.persistent.term + 1, now_ns)


def _on_elected(node: Node, now_ns: int, *, has_lease: bool) -> None:
    if settling.gives_way(node, now_ns):
        roles.demote(node, Cause.BEHIND_STANDBY, now_ns)
    elif node.adopts:
        if has_lease:
            roles.become_master(node, Cause.ADOPTED, now_ns)
    elif not node.is_plan_started:
        node.election_deadline_ns = None
        roles.begin_plan(node, now_ns)
    elif node.is_ready and has_lease and not settling.is_pending(node, now_ns):
        roles.serve_promoted(node, now_ns)
