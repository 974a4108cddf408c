"""What an advert does to a node: who is followed, who is answered, to whom it gives way."""

from pycarpd.election import handover, lineage, quorum, roles, settling, support, timing
from pycarpd.election.claims import Judge, Reaction, by_term, plain_standing, standing_of
from pycarpd.election.effects import AnnounceVip, PreserveFiles
from pycarpd.election.events import AdvertHeard, PlainAdvertHeard
from pycarpd.election.model import CONTENDING, Advert, Cause, Flags, Role
from pycarpd.election.node import Fault, Node

NAME_FAULT_INTERVALS = 10
NAME_CLAIMS_CERTAIN = 3
"""So many adverts of another process under this node's name are no accident of a restart: it runs beside this one."""
CLAIMS_PER_INTERVAL = 8
UNPROVEN_EXTENSIONS_MAX = 3
"""How often a claim not yet proven fresh may put off a node's own: enough to prove it, too short for a replay."""


def on_advert(node: Node, event: AdvertHeard, now_ns: int) -> None:
    """Take in a member's advert."""
    advert = event.advert
    more_ns = node.settings.more_patience_ns(advert.interval_us)
    peer = node.peers.heard(advert, is_proven=event.is_proven, received_ns=event.received_ns, patience_ns=more_ns)
    if peer is None:
        return
    quorum.keep_promise(node, advert, event.received_ns)
    if not event.is_proven:
        _answer_unproven(node, advert, now_ns)
        return
    _learn_terms(node, advert)
    if _was_superseded(node, advert):
        successor = advert.node_id if advert.role is Role.MASTER else 0
        roles.demote(node, Cause.OUTRANKED, now_ns, successor)
        return
    quorum.release_promise(node, advert, now_ns)
    if Flags.RESIGNED in advert.flags:
        _on_resignation(node, advert, now_ns)
    elif advert.role.claims:
        _on_claim(node, event, now_ns)
    elif advert.role is Role.SUSPENDED:
        _follow_suspended(node, event, now_ns)
    elif node.role is Role.MASTER:
        _on_report(node, event, now_ns)
    elif node.role is Role.BACKUP:
        _on_others_report(node, event, now_ns)
    elif node.role is Role.PROMOTING and Flags.NO_MASTER in advert.flags:
        _hasten_claim(node, now_ns)
    handover.on_advert(node, advert, now_ns)
    support.on_support(node, now_ns)
    roles.try_promotion(node, now_ns)


def _on_others_report(node: Node, event: AdvertHeard, now_ns: int) -> None:
    if event.advert.role is Role.DEMOTING and node.master_id == event.advert.node_id:
        _await_resignation(node, event, now_ns)
    elif event.advert.role is Role.BACKUP and Flags.OPENS_TERM in event.advert.flags:
        _vote_ahead(node, event.advert, now_ns)


def _hasten_claim(node: Node, now_ns: int) -> None:
    """Repeat the claim soon: who has no master only now may have refused it, bound for a moment longer."""
    if node.advert_due_ns is not None and not node.is_plan_started:
        node.advert_due_ns = min(node.advert_due_ns, now_ns + node.settings.interval_ns // CLAIMS_PER_INTERVAL)


def on_plain_advert(node: Node, event: PlainAdvertHeard, now_ns: int) -> None:
    """Take in a ucarp host's claim."""
    advert = event.advert
    if (advert.advbase, advert.advskew) == (255, 255):
        if node.role is Role.BACKUP and node.master_id == 0:
            roles.lose_master(node, Cause.MASTER_RESIGNED)
            node.master_deadline_ns = now_ns + node.skew_ns(now_ns)
        return
    interval_ns = advert.advbase * timing.NS_PER_S + advert.advskew * timing.NS_PER_S // 256
    node.plain_until_ns = event.received_ns + node.master_down_ns(now_ns, interval_ns)
    match _judge(node, now_ns).on_plain_claim(advert, event.source):
        case Reaction.YIELD:
            if node.role is Role.MASTER:  # ucarp: "to be really sure the new master knows"
                node.send(now_ns)
            roles.demote(node, Cause.OUTRANKED, now_ns)
        case Reaction.ASSERT:
            _assert_claim(node, now_ns)
        case Reaction.FOLLOW if node.role is Role.BACKUP:
            _follow_plain(node, event, now_ns)
        case _:
            pass


def _follow_plain(node: Node, event: PlainAdvertHeard, now_ns: int) -> None:
    if _is_for_the_master(node, event):
        return
    theirs = (event.advert.advbase, event.advert.advskew)
    is_better = node.plain_standing(now_ns).handicap < theirs
    if node.settings.preempt and is_better and node.may_promote(now_ns):
        roles.start_promotion(node, Cause.PREEMPTED, now_ns)
        return
    roles.expect_master(node, 0, node.plain_until_ns)


def _is_for_the_master(node: Node, event: PlainAdvertHeard) -> bool:
    """Tell whether the claim is one that the member followed at present will answer: it is the better one."""
    master = node.peers.get(node.master_id)
    if master is None or master.advert is None:
        return False
    theirs = plain_standing(event.advert.advbase, event.advert.advskew, event.source)
    masters = plain_standing(master.advert.advbase, master.advert.advskew, master.member.address)
    return not theirs.is_better_than(masters, node.settings.tie_break)


def _judge(node: Node, now_ns: int) -> Judge:
    return Judge(
        role=node.role,
        claimed_term=node.claimed_term,
        is_elected=node.settings.majority > 1 and node.is_plan_started,
        served_term=node.persistent.served_term,
        master_id=node.master_id,
        standing=node.standing(now_ns),
        plain=node.plain_standing(now_ns),
        tie_break=node.settings.tie_break,
    )


def _answer_unproven(node: Node, advert: Advert, now_ns: int) -> None:
    soon_ns = now_ns + node.settings.interval_ns // 4
    if node.advert_due_ns is not None and not node.role.claims:
        node.advert_due_ns = min(node.advert_due_ns, soon_ns)
    is_waiting = node.role is Role.BACKUP and node.master_deadline_ns is not None
    if advert.role.claims and is_waiting and node.extensions < UNPROVEN_EXTENSIONS_MAX:
        node.extensions += 1
        node.master_deadline_ns = max(node.master_deadline_ns or 0, now_ns + node.master_down_ns(now_ns))


def _learn_terms(node: Node, advert: Advert) -> None:
    served = advert.served_term
    if advert.role is Role.MASTER:
        served = max(served, advert.term)
    persistent = node.persistent
    if max(advert.term, served) > persistent.term or served > persistent.served_term:
        node.persist(term=max(persistent.term, advert.term, served), served_term=max(persistent.served_term, served))


def _was_superseded(node: Node, advert: Advert) -> bool:
    """Tell whether the advert proves that a newer term than this node's claim has been served."""
    served = max(advert.served_term, advert.term if advert.role is Role.MASTER else 0)
    return served > node.claimed_term and node.role in CONTENDING


def _on_resignation(node: Node, advert: Advert, now_ns: int) -> None:
    if node.role is Role.BACKUP and node.master_id == advert.node_id:
        roles.lose_master(node, Cause.MASTER_RESIGNED)
        if not handover.order_succession(node, advert, now_ns):
            node.master_deadline_ns = now_ns + node.skew_ns(now_ns)
        node.follow_until_ns = min(node.follow_until_ns, now_ns)


def _await_resignation(node: Node, event: AdvertHeard, now_ns: int) -> None:
    """Let a master that stops its mfsmaster finish, within the bound of a hold: what it wrote last is to arrive."""
    interval_ns = event.advert.interval_us * 1000 if node.settings.strict else None
    deadline_ns = event.received_ns + node.master_down_ns(now_ns, interval_ns)
    latest_ns = node.claim_heard_ns + node.settings.hold_max_ns
    node.master_deadline_ns = max(node.master_deadline_ns or 0, min(deadline_ns, latest_ns))


def _on_claim(node: Node, event: AdvertHeard, now_ns: int) -> None:
    advert = event.advert
    if node.role in CONTENDING:
        reaction = _judge(node, now_ns).on_claim(advert, event.source)
    else:
        reaction = by_term(advert, node.persistent.served_term, node.master_id)
    match reaction:
        case Reaction.YIELD:
            successor = advert.node_id if advert.role is Role.MASTER else 0
            roles.demote(node, Cause.OUTRANKED, now_ns, successor)
            if node.settings.majority > 1 and node.role is Role.BACKUP:
                _answer_after_giving_way(node, event, now_ns)
        case Reaction.ASSERT:
            _assert_claim(node, now_ns)
        case Reaction.FOLLOW:
            _follow(node, event, now_ns)


def _answer_after_giving_way(node: Node, event: AdvertHeard, now_ns: int) -> None:
    """Vote for the better claim, or say that the vote in that term is spent: its sender need not wait for it."""
    if event.advert.term == node.persistent.vote_term:
        node.send(now_ns)
    else:
        _follow(node, event, now_ns)


def _assert_claim(node: Node, now_ns: int) -> None:
    """Answer an inferior claim at once, with an advert and, if the address is here, an announcement."""
    if node.role is Role.PROMOTING and node.durable.term < node.claimed_term:
        return
    node.send(now_ns)
    if node.role is Role.MASTER:
        node.emit(AnnounceVip())


def _follow(node: Node, event: AdvertHeard, now_ns: int) -> None:
    advert = event.advert
    if node.role is not Role.BACKUP:
        if node.role in (Role.INIT, Role.FAULT, Role.DEMOTING):
            node.master_id = advert.node_id
        if node.role is Role.FAULT and advert.role is Role.MASTER:
            if node.standby.is_of(advert.node_id, advert.term):
                node.standby.heard(advert)
            else:
                lineage.notice(node, advert, now_ns)
        return
    if node.settings.majority > 1 and not _grants(node, event, now_ns):
        return
    if advert.role is Role.PROMOTING and node.master_id not in (0, advert.node_id):
        node.emit(PreserveFiles(node.persistent.term))  # the master is lost, though this node's own wait is not over
    roles.expect_master(node, advert.node_id, _deadline_ns(node, event, now_ns))
    node.claim_heard_ns = event.received_ns
    node.extensions = 0
    if advert.role is Role.MASTER:
        _follow_master(node, advert, now_ns)
    node.send(now_ns)


def _follow_master(node: Node, advert: Advert, now_ns: int) -> None:
    settling.forget(node)
    if node.standby.is_of(advert.node_id, advert.term):
        node.standby.heard(advert)
        node.quiet = None
        return
    lineage.follow(node, advert, now_ns)
    node.adopts = False
    if node.has_asked:
        node.has_asked = False
        node.asks_again_ns = now_ns + node.settings.demotion_half_life_ns


def _deadline_ns(node: Node, event: AdvertHeard, now_ns: int) -> int:
    """Return until when the sender is believed in without a further advert, this node's own skew included.

    Where votes count that is asked for when the time has come: see turns.
    """
    advert = event.advert
    if node.settings.majority > 1:
        node.follow_until_ns = event.received_ns + quorum.promise_length_ns(node, advert)
        return node.follow_until_ns + (node.skew_ns(now_ns) if node.settings.asks_arbiter else 0)
    hold_ns = min(advert.hold_ms * timing.NS_PER_MS, node.settings.hold_max_ns)
    return event.received_ns + node.master_down_ns(now_ns, advert.interval_us * 1000) + hold_ns


def _has_my_vote(node: Node, advert: Advert) -> bool:
    return (advert.term, advert.node_id) == (node.persistent.vote_term, node.persistent.vote_for)


def _grants(node: Node, event: AdvertHeard, now_ns: int) -> bool:
    """Vote for the claim if this node may; tell whether the claim is to be followed at all.

    A master that others have elected is followed without this node's vote too; a candidate is not.
    """
    advert = event.advert
    if node.settings.asks_arbiter or _has_my_vote(node, advert):
        return True
    if not _votes(node, event, now_ns):
        is_older = not quorum.is_fresh_enough(advert.freshness, node.freshness)
        if advert.role is Role.PROMOTING and is_older and node.is_master_lost:
            node.master_deadline_ns = None  # this node is the better candidate, and its turn has come
            node.send(now_ns)
        return advert.role is Role.MASTER
    return True


def _vote_ahead(node: Node, advert: Advert, now_ns: int) -> None:
    """Have the vote for a claim written that its sender is writing down; the claim, when it comes, is what binds.

    This node's own turn comes when the claim has had the time to.
    """
    claim = advert._replace(role=Role.PROMOTING, term=advert.term + 1)
    if node.settings.asks_arbiter or not node.has_no_master(now_ns) or not quorum.may_vote_for(node, claim, now_ns):
        return
    node.persist(term=max(node.persistent.term, claim.term), vote_term=claim.term, vote_for=claim.node_id)
    node.master_deadline_ns = max(node.master_deadline_ns or 0, now_ns + node.silence_ns() + node.skew_ns(now_ns))


def _votes(node: Node, event: AdvertHeard, now_ns: int) -> bool:
    """Vote for the claim; False if this node may not."""
    advert = event.advert
    if not quorum.may_vote_for(node, advert, now_ns):
        return False
    node.persist(term=max(node.persistent.term, advert.term), vote_term=advert.term, vote_for=advert.node_id)
    quorum.keep_promise(node, advert, event.received_ns)
    return True


def _follow_suspended(node: Node, event: AdvertHeard, now_ns: int) -> None:
    """Keep believing in the master of this node's vote while it asks for its lease back.

    One that was elected without this node gets its vote now, if this node may give it: perhaps those who voted then
    are gone.
    """
    if node.role is not Role.BACKUP or not event.advert.hold_ms:
        return
    if _has_my_vote(node, event.advert) or _votes(node, event, now_ns):
        roles.expect_master(node, event.advert.node_id, _deadline_ns(node, event, now_ns))
        node.send(now_ns)


def _on_report(node: Node, event: AdvertHeard, now_ns: int) -> None:
    """As MASTER, hand over to a better node that asks for it and could take over from the same file system."""
    advert = event.advert
    wanted = Flags.WANTS_MASTER | Flags.PROMOTABLE
    if advert.flags & wanted != wanted or advert.freshness is None or node.freshness is None:
        return
    if not standing_of(advert, event.source).is_better_than(node.standing(now_ns), node.settings.tie_break):
        return
    if lineage.has_nearly(node, advert.freshness, now_ns):
        handover.on_wish(node, advert, now_ns)


def on_name_claimed(node: Node, now_ns: int) -> None:
    """Leave the election while another process says this node's name; who serves does so only when that is certain."""
    node.name_deadline_ns = now_ns + NAME_FAULT_INTERVALS * node.settings.interval_ns
    node.faults.add(Fault.NAME)
    node.name_claims += 1
    if node.role in CONTENDING and node.name_claims >= NAME_CLAIMS_CERTAIN:
        roles.demote(node, Cause.DUPLICATE_NAME, now_ns)
    roles.settle_faults(node, now_ns)
