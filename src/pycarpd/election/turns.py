"""In which order standbys open a term: the skew sets them apart, by what each hears that the others bring to a claim.

Nobody skips it, though who is the first in line knows that: while it waits, the metaloggers that were stopped when the
master was lost write what they had in their buffers, and every host looks anew. Else a voter would not know yet that it
has the last changes, and elect one that has not.
"""

from pycarpd.election import roles
from pycarpd.election.model import Cause
from pycarpd.election.node import Node
from pycarpd.election.peers import Peer


def is_before(node: Node, peer: Peer, now_ns: int) -> bool:
    """Tell whether that peer is a candidate whose turn comes before this node's."""
    if not peer.is_candidate or peer.advert is None:
        return False
    rank = next(i for i, member in enumerate(node.settings.members) if member.node_id == peer.member.node_id)
    theirs = (peer.demotion, -peer.advert.priority, rank)
    return theirs < (node.demotion(now_ns), -node.settings.priority, node.settings.rank)


def on_deadline(node: Node, late_ns: int, now_ns: int) -> None:
    """Believe that the master is lost, unless this node cannot know it yet."""
    if not node.is_master_lost and node.was_blind():
        node.master_deadline_ns = now_ns + node.master_down_ns(now_ns)
        return
    is_late = late_ns >= node.settings.late_wake_ns
    has_master = node.master_id or node.plain_until_ns
    if is_late and not node.is_master_lost and has_master and not node.has_woken_late:
        node.has_woken_late = True
        node.master_deadline_ns = now_ns + node.settings.interval_ns + node.skew_ns(now_ns)
        return
    cause = node.promotion_cause if node.is_master_lost else Cause.MASTER_DOWN
    roles.lose_master(node, cause)
