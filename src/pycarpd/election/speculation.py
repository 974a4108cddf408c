"""Loading on suspicion: a standby whose master is overdue has mfsmaster ready when the lease ends.

Theory of operation. What a promotion waits for longest is mfsmaster, and it needs no term to load: only to be reached.
So when half of the time has passed after which the master would be taken for lost, the standby that would be the first
to ask for votes has its worker begin the PROMOTE plan, as far as nobody is concerned but this host: preserve the files,
close the gate, stop the metalogger, prove and install the chain, start mfsmaster behind the gate, ask it for its
version. There the plan stops, at the step ``await-term``. No vote, term, lease or advert depends on it:

* The master is lost, and this node wins a term: StartPromotion finds the plan waiting. It goes on if mfsmaster still
  serves exactly what was proved, no metalogger has run in between, and it is not older than what the voters were told;
  if not, all is taken back and the promotion begins anew, as if nothing had been prepared.
* The master is heard again, another is elected, or nothing comes of it in time: CancelSpeculation, and the plan is
  undone like any promotion that was outranked: mfsmaster killed, files back, gate open, metalogger started again.

Why S1 to S13 hold: S1, S3, S5 speak of terms, votes and leases, and none is touched. S2, S4: the address is never asked
for before the term is won; without it and behind the gate nobody reaches mfsmaster, and a gate that cannot be closed
ends the plan. S6: what the proof finds is told as this host's freshness, so a voter judges by it. S7, S8, S11: it is
the PROMOTE plan, with its proofs, its preserved files and its one journal entry: a daemon that starts anew finds it
open and undoes it; nothing of it can be taken for a mfsmaster that served. S9, S10 are the MASTER's.

What it must not lose: the metalogger is stopped while the master's lease still runs. A master that is not heard though
its clients and its stream still reach it (its heartbeat has died, multicast is lost one way) may acknowledge changes
for the rest of the lease that this host no longer receives. Another standby has them, perhaps in its metalogger's
buffer: so a candidate serves only when the others have written theirs, and gives way to who has more (settling). Where
no other candidate is heard, as beside a witness, nobody begins.

What it costs in vain: a metalogger that starts again downloads anew, so for some seconds this host could not take over,
and it has loaded metadata for nothing. So it is asked for (``speculate``), and rare: half of the silence that loses a
master must have passed, a majority must be heard (who hears nobody is cut off himself), only the first in line begins,
and each time in vain doubles the pause, from a minute to an hour. Where so little time is won that it is not worth that
(LEAD_MIN_NS, the fast profile), nobody begins. How fresh others are is not asked: hosts look at different moments.
"""

from pycarpd.election import turns
from pycarpd.election.effects import CancelSpeculation, Speculate, StartPromotion
from pycarpd.election.model import Role
from pycarpd.election.node import Node

LEAD_MIN_NS = 100_000_000
LONGEST_NS = 8_000_000_000
PAUSE_NS = 60_000_000_000
PAUSES_DOUBLED_MAX = 6


def due_ns(node: Node) -> int | None:
    """Return when the master's silence is to be judged, or what was begun has lasted too long; None for neither."""
    suspicion = node.suspicion
    if suspicion.is_begun:
        return suspicion.began_ns + LONGEST_NS
    settings = node.settings
    if not settings.speculates or settings.majority == 1 or settings.asks_arbiter or node.role is not Role.BACKUP:
        return None
    if not node.master_id or node.master_deadline_ns is None or node.claim_heard_ns == suspicion.judged_ns:
        return None
    lead_ns = (node.master_deadline_ns - node.claim_heard_ns) // 2
    return node.claim_heard_ns + lead_ns if lead_ns >= LEAD_MIN_NS else None


def on_time(node: Node, late_ns: int, now_ns: int) -> None:
    """Judge the master's silence once, and begin if it is worth it."""
    due = due_ns(node)
    if node.suspicion.is_begun or due is None or now_ns < due:
        return
    node.suspicion.judged_ns = node.claim_heard_ns
    is_awake = late_ns < node.settings.late_wake_ns and not node.has_lost_adverts
    if is_awake and now_ns >= node.suspicion.not_before_ns and _may_begin(node, now_ns):
        node.suspicion.is_begun = True
        node.suspicion.began_ns = now_ns
        node.emit(Speculate(node.persistent.term))


def settle(node: Node, now_ns: int) -> None:
    """End what was begun if the present event has decided it: the term is won, or it was in vain."""
    suspicion = node.suspicion
    if not suspicion.is_begun:
        return
    if any(isinstance(effect, StartPromotion) for effect in node.effects):
        suspicion.is_begun = False
        suspicion.vain = 0
    elif not _is_open(node, now_ns):
        suspicion.is_begun = False
        suspicion.not_before_ns = now_ns + (PAUSE_NS << min(suspicion.vain, PAUSES_DOUBLED_MAX))
        suspicion.vain += 1
        node.emit(CancelSpeculation(node.persistent.term))


def _is_open(node: Node, now_ns: int) -> bool:
    """Tell whether this node may still win the term that it has prepared for."""
    if now_ns >= node.suspicion.began_ns + LONGEST_NS:
        return False
    if node.role is Role.PROMOTING:
        return not node.is_plan_started
    is_overdue = bool(node.master_id) and node.claim_heard_ns == node.suspicion.judged_ns
    return node.role is Role.BACKUP and (node.is_master_lost or is_overdue)


def _may_begin(node: Node, now_ns: int) -> bool:
    master = node.peers.get(node.master_id)
    if master is None or master.advert is None or master.advert.role is not Role.MASTER:
        return False
    if master.advert.handover is not None or not node.may_promote(now_ns):
        return False
    others = [p for p in node.peers.live(now_ns, node.silence_ns()) if p is not master]
    receives = any(p.is_candidate and p.freshness is not None for p in others)
    has_majority = len(others) + 1 >= node.settings.majority
    return receives and has_majority and not any(turns.is_before(node, p, now_ns) for p in others)
