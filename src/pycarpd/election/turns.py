"""In which order standbys open a term: the skew sets them apart, and who knows that it is the first need not wait.

Each member hears what every other would bring to a claim: its demotion counter, its priority, and its place in the
list of members, which no two share. So where votes count the standby that hears no better candidate asks at once when
the lease has run out, and the others wait for their skew, in case it does not. Two that both take themselves for the
first, because one has just come or does not hear the other, split the votes and open the next term (quorum).

How fresh the files are does not count here: hosts look at them at different moments, and who is behind is refused by
the voters, or lets the fresher one go first (roles.try_promotion).
"""

from pycarpd.election import roles
from pycarpd.election.model import Cause, Role
from pycarpd.election.node import Node
from pycarpd.election.peers import Peer


def is_first(node: Node, now_ns: int) -> bool:
    """Tell whether no other candidate that was heard lately would have its turn before this node."""
    live = node.peers.live(now_ns, node.silence_ns() + node.settings.interval_ns)
    return not any(is_before(node, peer, now_ns) for peer in live)


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
    if _waits(node, now_ns):
        return
    is_late = late_ns >= node.settings.late_wake_ns
    has_master = node.master_id or node.plain_until_ns
    if is_late and not node.is_master_lost and has_master and not node.has_woken_late:
        node.has_woken_late = True
        node.master_deadline_ns = now_ns + node.settings.interval_ns + node.skew_ns(now_ns)
        return
    cause = node.promotion_cause if node.is_master_lost else Cause.MASTER_DOWN
    roles.lose_master(node, cause)


def _waits(node: Node, now_ns: int) -> bool:
    """Tell whether this node's turn comes later than now, and plan it; asked once for each lost master."""
    if not node.settings.counts_votes or node.role is not Role.BACKUP or node.has_waited_turn or node.is_master_lost:
        return False
    node.has_waited_turn = True
    if is_first(node, now_ns):
        return False
    node.master_deadline_ns = node.follow_until_ns + node.skew_ns(now_ns)
    return now_ns < node.master_deadline_ns
