"""The address before mfsmaster: a candidate that has won its term may have it at once, while nobody is let in there.

Chunkservers and metaloggers look for their master once a second; woken at once, they do so while mfsmaster loads. What
makes it safe is what makes it safe for a MASTER: the term's majority and a lease, which the kernel's fence ends by
itself (S3 to S5). Without an arbiter there is no lease before a node serves, and so no early address either.
"""

from pycarpd.election import roles
from pycarpd.election.effects import AttachVip, RenewLease
from pycarpd.election.events import AddressWanted
from pycarpd.election.model import Cause, Role
from pycarpd.election.node import Node


def on_wanted(node: Node, event: AddressWanted, now_ns: int) -> None:
    """Note that the plan keeps everybody out, and give it the address as soon as there is a lease."""
    if node.role is Role.PROMOTING and event.term == node.claimed_term:
        node.wants_address_for = event.term
        grant(node, now_ns)


def grant(node: Node, now_ns: int) -> None:
    """Take the address for a promotion that wants it, if a majority's lease allows it now."""
    is_wanted = node.role is Role.PROMOTING and node.wants_address_for == node.claimed_term != 0
    is_under_way = node.is_plan_started and not node.is_plan_over and not node.has_early_address
    if is_wanted and is_under_way and node.settings.majority > 1 and now_ns < node.lease_until_ns:
        node.has_early_address = True
        node.emit(AttachVip(node.claimed_term, node.lease_until_ns))
        node.emit(RenewLease(node.lease_until_ns))


def judge_lease(node: Node, now_ns: int) -> None:
    """Let the address go with the lease; a MASTER is SUSPENDED then, a candidate goes on without the address."""
    if now_ns < node.lease_until_ns:
        return
    if node.role is Role.MASTER:
        roles.suspend(node, Cause.LATE_WAKE if node.settings.majority == 1 else Cause.LEASE_LOST, now_ns)
    elif node.has_early_address:
        node.give_up_address()
