"""Counting votes and promises after a member was heard: begin to promote, go on, or return to serve as they allow."""

from pycarpd.election import quorum, roles
from pycarpd.election.effects import RenewLease, Stopped
from pycarpd.election.model import Cause, Role
from pycarpd.election.node import Fault, Node


def on_support(node: Node, now_ns: int) -> None:
    """Take in what the members say of this node's claim; nothing to do without an arbiter or a claim."""
    if node.settings.majority == 1 or node.role not in (Role.PROMOTING, Role.MASTER, Role.SUSPENDED):
        return
    if not roles.is_claim_durable(node):
        return
    if not quorum.is_elected(node):
        _give_way_to_fresher(node, now_ns)
        return
    until_ns = quorum.lease_until_ns(node)
    if until_ns > node.lease_until_ns:
        node.lease_until_ns = until_ns
        if node.role is Role.MASTER:
            node.emit(RenewLease(until_ns))
    has_lease = node.lease_until_ns > now_ns
    if node.role is Role.PROMOTING:
        _on_elected(node, now_ns, has_lease=has_lease)
    elif node.role is Role.SUSPENDED and has_lease and Fault.LINK not in node.faults:
        roles.become_master(node, Cause.RESTORED, now_ns)
    elif node.hold_ns and node.is_stopping and until_ns - now_ns > node.silence_ns():
        node.emit(Stopped())  # the voters know that it will be back


def _give_way_to_fresher(node: Node, now_ns: int) -> None:
    """Give up a candidacy that a fresher node will not vote for, so that it can open its own at once."""
    if node.role is not Role.PROMOTING or node.is_plan_started or node.adopts:
        return
    if node.peers.fresher_candidate(node.freshness, node.demotion(now_ns), now_ns, node.silence_ns()) is not None:
        roles.become_backup(node, Cause.NOT_ELECTED, now_ns)


def _on_elected(node: Node, now_ns: int, *, has_lease: bool) -> None:
    if node.adopts:
        if has_lease:
            roles.become_master(node, Cause.ADOPTED, now_ns)
    elif not node.is_plan_started:
        node.election_deadline_ns = None
        roles.begin_plan(node, now_ns)
    elif node.is_ready and has_lease:
        roles.become_master(node, Cause.PROMOTION_READY, now_ns)
