"""Entering and leaving roles: what each change of role makes happen, in which order."""

from pycarpd.election import lineage, quorum, settling, timing
from pycarpd.election.effects import (
    AbortPromotion,
    AttachVip,
    PreserveFiles,
    RenewLease,
    StartDemotion,
    StartPromotion,
    Stopped,
)
from pycarpd.election.model import Cause, Persistent, Role
from pycarpd.election.node import Fault, Node
from pycarpd.election.settled import Settled
from pycarpd.election.standby import Standby


def become_backup(node: Node, cause: Cause, now_ns: int) -> None:
    """Enter BACKUP, listen for a whole master-down interval, and see that the metalogger runs.

    A candidate that no plan was begun for has nothing to undo. A plan that starts its metalogger, for which there is no
    master, would only stand in the way of the promotion that comes in a moment.
    """
    if cause is Cause.STARTED:
        node.give_up_address()  # one that an earlier run has left behind
    node.move(cause, now_ns)
    has_missed_writes = cause is Cause.DEMOTED and node.persistent.served_term > node.claimed_term
    node.claimed_term = 0
    node.is_plan_started = node.is_plan_over = node.is_aborting = node.is_ready = False
    node.election_deadline_ns = None
    node.hold_ns = 0
    node.successor = None
    was = node.standby
    node.standby = Standby(is_known=was.is_known) if cause is Cause.DEMOTED else was.remembered()
    node.has_old_news = has_missed_writes
    node.listen_deadline_ns = None
    expect_master(node, 0, now_ns + node.master_down_ns(now_ns))
    if cause not in (Cause.DEMOTED, Cause.NOT_ELECTED):
        node.follow_until_ns = now_ns + node.silence_ns()  # one that has just come listens before it welcomes change
    if node.advert_due_ns is None:  # a candidate whose term was never advertised had nothing planned
        node.advert_due_ns = now_ns + node.settings.interval_ns
    if not node.adopts and (node.has_begun or cause not in (Cause.DEMOTED, Cause.NOT_ELECTED)):
        node.emit(StartDemotion(node.persistent.term, 0))
    node.has_begun = True
    settle_faults(node, now_ns)


def expect_master(node: Node, master_id: int, deadline_ns: int) -> None:
    """Believe in that master (0: nobody yet) until the deadline."""
    node.master_id = master_id
    node.master_deadline_ns = deadline_ns
    node.is_master_lost = False
    node.has_deferred = False
    node.has_woken_late = node.has_waited_turn = False
    node.has_told_no_master = False
    node.has_lost_adverts = False
    node.blind_extensions = 0


def lose_master(node: Node, cause: Cause) -> None:
    """Note that there is no master any more; the files are kept as they are at this moment."""
    if node.master_id or node.plain_until_ns:
        node.emit(PreserveFiles(node.persistent.term))
    node.master_id = 0
    node.plain_until_ns = 0
    node.master_deadline_ns = None
    node.promotion_cause = cause
    node.inherits = False
    node.is_master_lost = True


def try_promotion(node: Node, now_ns: int) -> None:
    """Open a new term if there is no master and this host could serve; a fresher host is let go first, once."""
    if node.role is not Role.BACKUP or not node.is_master_lost or node.master_deadline_ns is not None:
        return
    if not (node.may_promote(now_ns) and quorum.may_open_term(node, now_ns) and quorum.could_win(node, now_ns)):
        return
    if node.is_bound(now_ns):
        node.master_deadline_ns = node.promise_until_ns
        return
    horizon_ns = node.master_down_ns(now_ns)
    fresher = node.peers.fresher_candidate(node.freshness, node.demotion(now_ns), now_ns, horizon_ns)
    if fresher is not None and not node.has_deferred:
        node.has_deferred = True
        node.master_deadline_ns = now_ns + node.silence_ns()
        return
    if node.settings.asks_arbiter:
        quorum.ask_arbiter(node)
        return
    start_promotion(node, node.promotion_cause, now_ns)


def start_promotion(node: Node, cause: Cause, now_ns: int) -> None:
    """Open a new term: nothing is advertised and no plan runs before the term is on disk.

    A mfsmaster that was found running without the address is not adopted here: nobody has proved what it serves.
    """
    node.has_begun, node.adopts = node.adopts, False
    node.promoted = node.freshness
    if node.settings.counts_votes:
        node.opens_term = True  # the voters' disks write while this one does
        node.send(now_ns)
        node.opens_term = False
    node.claimed_term = node.grant_term or node.persistent.term + 1
    node.move(cause, now_ns)
    node.is_plan_started = node.is_plan_over = node.is_ready = False
    node.master_deadline_ns = None
    node.resign_repeats = 0
    node.advert_due_ns = None
    settling.begin(node, now_ns)
    claim_term(node, node.claimed_term, now_ns)


def claim_term(node: Node, term: int, now_ns: int) -> None:
    """Claim the term with this node's own vote; what follows waits until both are on disk."""
    node.claimed_term = term
    node.sent.clear()
    if node.settings.majority > 1:
        node.persist(term=term, vote_term=term, vote_for=node.settings.node_id)
    else:
        node.persist(term=term)
    on_durable(node, node.durable, now_ns)


def on_durable(node: Node, persistent: Persistent, now_ns: int) -> None:
    """Go on with what had to wait until the term was on disk."""
    has_voted = (persistent.vote_term, persistent.vote_for) != (node.durable.vote_term, node.durable.vote_for)
    node.durable = persistent
    if has_voted and node.role is Role.BACKUP:
        node.send(now_ns)  # a vote is told as soon as it may be
    if not is_claim_durable(node):
        return
    if node.role is Role.PROMOTING and not node.is_plan_started:
        if node.settings.majority > 1:
            ask_for_votes(node, now_ns)
            return
        node.send(now_ns)
        begin_plan(node, now_ns)
    elif node.role is Role.INIT and node.adopts and node.claimed_term:
        become_master(node, Cause.ADOPTED, now_ns)


def is_claim_durable(node: Node) -> bool:
    """Tell whether the claimed term, and this node's own vote for it where votes count, are on disk."""
    own_vote = (node.claimed_term, node.settings.node_id)
    has_vote = node.settings.majority == 1 or (node.durable.vote_term, node.durable.vote_for) == own_vote
    return node.durable.term >= node.claimed_term and has_vote


def ask_for_votes(node: Node, now_ns: int) -> None:
    """Advertise the claim; one that nobody votes for in time is given up, or repeated for what runs here already."""
    if node.election_deadline_ns is None:
        node.election_deadline_ns = now_ns + node.silence_ns() + node.skew_ns(now_ns)
    if node.advert_due_ns is None:
        node.send(now_ns)


def begin_plan(node: Node, now_ns: int) -> None:
    """Begin to promote, once no ucarp host serves any more.

    One that is told to yield runs its script first, and what it serves until then must reach this host's files.
    """
    if node.hears_plain(now_ns):
        node.listen_deadline_ns = node.plain_until_ns
        return
    node.listen_deadline_ns = None
    node.has_begun = node.is_plan_started = True
    node.emit(StartPromotion(node.claimed_term, node.inherits))


def serve_promoted(node: Node, now_ns: int) -> None:
    """Serve what the plan has made ready, unless it is a restart in place from less than a standby has."""
    if lineage.is_behind_standby(node, now_ns):
        node.raise_demotion(now_ns)
        demote(node, Cause.BEHIND_STANDBY, now_ns)
        return
    become_master(node, Cause.PROMOTION_READY, now_ns)


def become_master(node: Node, cause: Cause, now_ns: int) -> None:
    """Serve: the address first, since mfsmaster answers already, then the advert."""
    node.move(cause, now_ns)
    node.has_begun = True
    node.adopts = node.has_asked = node.has_early_address = False
    node.wants_address_for = 0
    node.served_versions.clear()
    if cause is Cause.PROMOTION_READY:
        lineage.begin(node)
    node.standby, node.settled = Standby(is_known=True), Settled()
    node.peers.masterships.note_heard(node.claimed_term)
    node.master_id = node.settings.node_id
    node.master_deadline_ns = None
    node.listen_deadline_ns = None
    node.election_deadline_ns = None
    if node.settings.majority == 1:
        node.lease_until_ns = now_ns + node.silence_ns()
    node.emit(AttachVip(node.claimed_term, node.lease_until_ns))
    if node.settings.majority > 1:
        node.emit(RenewLease(node.lease_until_ns))
    node.send(now_ns)
    node.persist(served_term=max(node.persistent.served_term, node.claimed_term))


def suspend(node: Node, cause: Cause, now_ns: int) -> None:
    """Stop being reachable at once but keep mfsmaster: perhaps nobody else was elected."""
    node.give_up_address()
    node.move(cause, now_ns)
    node.lease_until_ns = 0
    listen(node, now_ns)


def listen(node: Node, now_ns: int) -> None:
    """Wait for as long as any successor must have advertised, if this node can hear at all."""
    if Fault.LINK in node.faults:
        node.listen_deadline_ns = None
    elif node.settings.majority > 1:
        node.listen_deadline_ns = None  # votes tell, not silence
        node.advert_due_ns = now_ns
    else:
        node.listen_deadline_ns = now_ns + timing.listening_ns(widest_interval_ns(node), node.settings.missed_adverts)
        node.advert_due_ns = node.listen_deadline_ns


def widest_interval_ns(node: Node) -> int:
    """Return the longest interval that anybody's adverts have promised, within the bound of a hold."""
    heard = (peer.advert.interval_us * 1000 for peer in node.peers.all() if peer.advert is not None)
    return max(node.settings.interval_ns, min(max(heard, default=0), node.settings.hold_max_ns))


def demote(node: Node, cause: Cause, now_ns: int, successor: int = 0) -> None:
    """Give up the claim: address away first, then the plan; the resignation comes when mfsmaster is gone."""
    was = node.role
    has_claimed = was is not Role.PROMOTING or is_claim_durable(node)
    has_served = node.adopts or node.master_id == node.settings.node_id
    if was is Role.MASTER or node.adopts or node.has_early_address:
        node.give_up_address()
    node.move(cause, now_ns)
    node.is_ready = False
    node.election_deadline_ns = None
    node.master_id = successor
    node.lease_until_ns = 0
    node.listen_deadline_ns = None
    node.resigned_term = node.claimed_term if has_claimed and cause is not Cause.OUTRANKED else 0
    if was is not Role.PROMOTING or has_served:  # a mfsmaster may run here that no promotion of this term has started
        node.adopts = False
        node.emit(StartDemotion(node.claimed_term, successor))
    elif node.is_plan_started and not node.is_plan_over:
        node.is_aborting = True
        node.emit(AbortPromotion(node.claimed_term))
    else:
        finish_demotion(node, now_ns)
        return
    node.send(now_ns)


def finish_demotion(node: Node, now_ns: int) -> None:
    """No mfsmaster runs here any more: say so, and be a BACKUP or end."""
    if node.resigned_term:
        node.say_resigned(now_ns)
    if node.is_stopping:
        node.emit(Stopped())
        return
    become_backup(node, Cause.DEMOTED, now_ns)


def fall_silent(node: Node, cause: Cause, now_ns: int) -> None:
    """Leave the election at once because of a fault; whoever claimed the address gives it up audibly."""
    was = node.role
    if was in (Role.MASTER, Role.SUSPENDED) or node.adopts or node.has_early_address:
        node.give_up_address()
    node.move(cause, now_ns)
    node.master_id = 0
    node.master_deadline_ns = None
    node.listen_deadline_ns = None
    node.lease_until_ns = 0
    if was in (Role.MASTER, Role.SUSPENDED, Role.PROMOTING):
        node.say_resigned(now_ns)
    node.claimed_term = 0


def settle_faults(node: Node, now_ns: int) -> None:
    """Take a BACKUP with a fault to FAULT."""
    causes = {
        Fault.LINK: Cause.LINK_DOWN,
        Fault.WORKER: Cause.WORKER_LOST,
        Fault.NAME: Cause.DUPLICATE_NAME,
    }
    if node.role is Role.BACKUP and node.faults:
        fault = next(f for f in Fault if f in node.faults)
        fall_silent(node, causes[fault], now_ns)


def recover(node: Node, cause: Cause, now_ns: int) -> None:
    """Leave FAULT when the last fault is gone."""
    if node.role is Role.FAULT and not node.faults:
        become_backup(node, cause, now_ns)
        node.send(now_ns)
