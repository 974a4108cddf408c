"""Quorum leases: who may serve is what a majority of the members has promised, and for how long.

Theory of operation. A voter that hears a claim it has voted for promises nobody else its vote until the receipt of
the advert plus the lease that it asks for (``hold_ms``), stretched by the bound on clock drift. The holder counts from
the *send* time of the newest of its adverts that a voter has acknowledged, shrunk by the same bound; its lease is what
a majority, itself included, has promised at least. Since any two majorities have a member in common, and a member votes
once in a term and only after its promise has run out, no two nodes hold a lease at one time, whatever the clocks show,
as long as their drift stays within the bound (S1-S3, S5).

A vote is on disk before it is told (``durable``). A voter that has restarted keeps the promise it may have given: it
waits for the longest lease there is, unless it hears that the node it voted for does not serve any more.

A candidate opens a term only when a majority says that it has no master (pre-vote), or is known to have heard no more
of it than the candidate: a node that returns from isolation disturbs nobody. While it writes its claim down it says so
(OPENS_TERM), and a voter that would vote for that claim, has no master and is bound by no promise writes its vote
meanwhile: it votes once in that term all the same, tells the vote when it is on disk, and is bound by the claim itself.
A voter refuses a candidate whose metadata is older than its own, of another file system, or unknown (S6).

With ``arbiter = "none"`` the majority is one: every node grants itself what it asks for, which is why it can split.
"""

from pycarpd.election import freshness, lineage
from pycarpd.election.effects import AskArbiter
from pycarpd.election.model import Advert, Flags, Freshness, Role
from pycarpd.election.node import Node
from pycarpd.election.peers import Peer

DRIFT_PPM = 1000
"""Bound on the difference between the rates of two nodes' clocks; crystals differ by less than 200."""
PPM = 1_000_000
NS_PER_MS = 1_000_000
NEWS_HALF_INTERVALS = 3
"""A standby reports once in each interval: a report is taken for its newest for an interval and a half."""


def stretched(duration_ns: int) -> int:
    """Return the duration as a voter keeps it."""
    return duration_ns + duration_ns * DRIFT_PPM // PPM


def shrunk(duration_ns: int) -> int:
    """Return the duration as a holder counts it."""
    return duration_ns - duration_ns * DRIFT_PPM // PPM


def supporters(node: Node) -> list[Peer]:
    """Return the proven peers whose newest advert says that they voted for this node's claim."""
    term, own_id = node.claimed_term, node.settings.node_id
    return [
        p
        for p in node.peers.all()
        if p.advert is not None and p.advert.vote_term == term and p.advert.vote_for == own_id and p.is_proven
    ]


def is_elected(node: Node) -> bool:
    """Tell whether a majority has voted for this node's claim, or the arbiter given it; its own vote is on disk."""
    if node.settings.asks_arbiter:
        return 0 < node.claimed_term == node.grant_term
    return len(supporters(node)) + 1 >= node.settings.majority


def is_term_spent(node: Node, now_ns: int) -> bool:
    """Tell whether those that are heard and have a vote left for this node's claim are too few for a majority."""
    term, own_id = node.claimed_term, node.settings.node_id
    heard = [p.advert for p in node.peers.live(now_ns, node.silence_ns()) if p.advert is not None]
    spent = [a for a in heard if a.vote_term == term and a.vote_for != own_id]
    return bool(spent) and len(heard) - len(spent) + 1 < node.settings.majority


def lease_until_ns(node: Node) -> int:
    """Return until when a majority has promised, 0 for never: the weakest of the best promises that make one.

    An arbiter's grant takes the place of promises.
    """
    if node.settings.asks_arbiter:
        return node.grant_until_ns if is_elected(node) else 0
    wanted = node.settings.majority - 1
    promises = sorted([_promised_until_ns(node, p) for p in supporters(node)], reverse=True)
    return promises[wanted - 1] if 0 < wanted <= len(promises) else 0


def _promised_until_ns(node: Node, peer: Peer) -> int:
    """Return what the voter's newest acknowledgement is worth: exactly that advert's lease, from when it was sent."""
    acknowledged = peer.acknowledged(node.settings.node_id, node.identity.nonce)
    for sent in reversed(node.sent):
        if sent.sequence == acknowledged:
            return sent.sent_ns + shrunk(sent.lease_ns) if sent.lease_ns else 0
    return 0


def promise_length_ns(node: Node, advert: Advert) -> int:
    """Return for how long a follower of that advert promises its vote to nobody else."""
    return stretched(min(advert.hold_ms * NS_PER_MS, node.settings.hold_max_ns))


def keep_promise(node: Node, advert: Advert, received_ns: int) -> None:
    """Be bound by a claim of the node that has this one's vote, in whatever role this node is.

    The holder counts on it as soon as it hears that the advert was acknowledged, and every newest advert is.
    """
    has_vote = (advert.term, advert.node_id) == (node.persistent.vote_term, node.persistent.vote_for)
    if node.settings.majority > 1 and has_vote and advert.hold_ms:
        node.promised_to = advert.node_id
        node.promise_until_ns = max(node.promise_until_ns, received_ns + promise_length_ns(node, advert))


def bind_after_restart(node: Node, now_ns: int) -> None:
    """Keep the promise that an earlier run of this voter may have given."""
    if node.settings.majority > 1 and node.persistent.vote_for not in (0, node.settings.node_id):
        node.promised_to = node.persistent.vote_for
        node.promise_until_ns = now_ns + stretched(node.settings.hold_max_ns)


def release_promise(node: Node, advert: Advert, now_ns: int) -> None:
    """Forget a promise whose holder says that it serves no more: the address left it before it could say so."""
    if node.promised_to != advert.node_id:
        return
    if Flags.RESIGNED in advert.flags or advert.role in (Role.BACKUP, Role.FAULT):
        node.promise_until_ns = min(node.promise_until_ns, now_ns)


def ask_arbiter(node: Node, *, is_adoption: bool = False) -> None:
    """Ask the arbiter for a term newer than any that this node knows, unless it is being asked already."""
    if not node.asked_term:
        node.wish += 1
        node.asked_term = node.persistent.term + 1
        node.emit(AskArbiter(node.wish, node.asked_term, is_adoption))


def is_vote_free(node: Node, term: int) -> bool:
    """Tell whether this node's vote in that term is its own still, or not given yet (S1)."""
    persistent = node.persistent
    is_own = (persistent.vote_term, persistent.vote_for) == (term, node.settings.node_id)
    return node.settings.majority == 1 or is_own or persistent.vote_term < term


def may_vote_for(node: Node, advert: Advert, now_ns: int) -> bool:
    """Tell whether this node may give its vote to the sender of the claim (S1, S5, S6)."""
    persistent = node.persistent
    if advert.term < max(persistent.vote_term, persistent.served_term):
        return False
    if advert.term == persistent.vote_term:
        return advert.node_id == persistent.vote_for
    if node.is_bound(now_ns) and node.promised_to != advert.node_id:
        return False
    if advert.role is Role.MASTER:
        return True
    if advert.term == persistent.served_term and lineage.is_unsure(node):
        return False  # restarted in place by the votes that it has: this host's files may be newer than they seem
    return is_fresh_enough(advert.freshness, node.freshness)


def is_fresh_enough(theirs: Freshness | None, own: Freshness | None) -> bool:
    """Tell whether a candidate's metadata is known and at least as new as this voter's, of the same file system."""
    if theirs is None:
        return False
    return own is None or freshness.is_at_least(theirs, own)


def could_win(node: Node, now_ns: int) -> bool:
    """Tell whether those that are heard would make a majority for this node's files: others would refuse them (S6).

    A candidate that cannot win only keeps those from being elected that could.
    """
    if node.settings.majority == 1 or node.settings.asks_arbiter:
        return True
    live = node.peers.live(now_ns, node.silence_ns())  # the master that was lost is none of them any more
    would_vote = sum(is_fresh_enough(node.freshness, p.freshness) for p in live)
    return would_vote + 1 >= node.settings.majority


def may_open_term(node: Node, now_ns: int) -> bool:
    """Tell whether a majority has no master; an arbiter finds that out by itself."""
    if node.settings.asks_arbiter:
        return True
    horizon_ns = node.master_down_ns(now_ns) + node.silence_ns()
    lost = node.peers.claimant(now_ns, horizon_ns)
    agreeing = sum(
        1
        for p in node.peers.live(now_ns, horizon_ns)
        if p.advert is not None
        and (p.advert.flags & (Flags.NO_MASTER | Flags.RESIGNED) or _has_lost_it_too(node, p, lost, now_ns))
    )
    return agreeing + 1 >= node.settings.majority


def _has_lost_it_too(node: Node, peer: Peer, lost: Peer | None, now_ns: int) -> bool:
    """Tell whether that standby has heard no more of the master that was lost than this node, as of an interval ago.

    Its own wait ends with this node's then, and what it will say need not be waited for: not where another promise
    outlasts it, nor where it has heard of a newer term, whose candidate it may have voted for. Should it have heard the
    master meanwhile after all, it refuses its vote, and no candidate disturbs the master.
    """
    if lost is None or lost.advert is None or peer.advert is None or peer.advert.role is not Role.BACKUP:
        return False
    if peer.advert.term > lost.advert.term:
        return False
    is_news = now_ns - peer.heard_ns <= node.settings.interval_ns * NEWS_HALF_INTERVALS // 2
    is_level = peer.acknowledged(lost.member.node_id, lost.advert.nonce) == lost.advert.sequence
    return is_news and is_level and Flags.FREE in peer.advert.flags
