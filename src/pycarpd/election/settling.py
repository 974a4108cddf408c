"""Votes are asked for at once, on what is known; before anything is served, it is known who has the last changes.

Theory of operation. A metalogger has up to a second of changes in its buffer, and files are looked at twice a second.
So when a master is lost nobody knows exactly who is the freshest, and to find out takes longer than to elect: each
standby stops its metalogger, which writes its buffer, looks once more, and says from then on that its version is all it
has (SETTLED). The candidate does not wait for that with its claim, nor with loading mfsmaster, which takes far longer.
But

* it gives way as soon as its own files are proved and a standby that could take over tells of newer ones (S6): at once,
  while mfsmaster loads, and without a sign that it failed. Once for each master lost: who cannot win though he has
  newer files, because he hears nobody, would keep everybody else from it;
* it does not serve before every standby that could take over has settled. What was loaded on suspicion may be ready
  before that. A metalogger that cannot be stopped, or a version of pycarpd that does not say it, costs SETTLE_MAX_NS.

A successor that was named by the master it follows has proved to be level with it, and waits for nobody. Where an
arbiter gives the terms a candidate waits for its skew first.
"""

from pycarpd.election.events import FreshnessKnown
from pycarpd.election.model import Flags, Role
from pycarpd.election.node import Node

SETTLE_MAX_NS = 250_000_000
"""From the claim on. A metalogger ends within 11 ms; a host that stands still for a moment may take ten times that."""


def note(node: Node, event: FreshnessKnown, now_ns: int) -> None:
    """Note that what was found is all that is here, and say so at once: a candidate may wait for it."""
    if not event.is_settled or node.settled.is_settled or _follows_master(node):
        return
    node.settled.is_settled = True
    if node.settings.counts_votes and node.role is Role.BACKUP:
        node.send(now_ns)


def forget(node: Node) -> None:
    """Note that a master is followed: its changes come in from now on."""
    node.settled.is_settled = node.settled.has_given_way = False


def begin(node: Node, now_ns: int) -> None:
    """Begin to wait for the others, as a candidate whom no master has named."""
    is_waiting = node.settings.counts_votes and not node.inherits
    node.settled.until_ns = now_ns + SETTLE_MAX_NS if is_waiting else None


def is_pending(node: Node, now_ns: int) -> bool:
    """Tell whether a candidate that is ready has to wait, because others that could take over have not settled."""
    until_ns = node.settled.until_ns
    if until_ns is None or now_ns >= until_ns:
        return False
    live = node.peers.live(now_ns, node.silence_ns())
    standbys = [p.advert for p in live if p.is_candidate and p.advert is not None and p.advert.role is Role.BACKUP]
    return any(Flags.SETTLED not in advert.flags for advert in standbys)


def due_ns(node: Node) -> int | None:
    """Return when a candidate that is ready waits no longer for the others."""
    return node.settled.until_ns if node.role is Role.PROMOTING and node.is_ready else None


def on_time(node: Node, now_ns: int) -> bool:
    """Tell whether the wait for the others is over now."""
    due = due_ns(node)
    if due is None or now_ns < due:
        return False
    node.settled.until_ns = None
    return True


def gives_way(node: Node, now_ns: int) -> bool:
    """Tell whether a candidacy is to be given up, since it is certain that another standby could serve newer files."""
    settled = node.settled
    is_loading = node.role is Role.PROMOTING and node.is_plan_started and node.settings.counts_votes
    is_in_place = node.master_id == node.settings.node_id  # judged when it is ready: lineage.is_behind_standby
    if not is_loading or is_in_place or node.inherits or not settled.is_settled or settled.has_given_way:
        return False
    fresher = node.peers.fresher_candidate(node.freshness, node.demotion(now_ns), now_ns, node.silence_ns())
    settled.has_given_way = fresher is not None and fresher.hears_me
    return settled.has_given_way


def _follows_master(node: Node) -> bool:
    """Tell whether this node is the standby of a master; what it loads on suspicion does not change any more."""
    master = node.peers.get(node.master_id)
    is_followed = master is not None and master.advert is not None and master.advert.role is Role.MASTER
    return node.role is Role.BACKUP and is_followed and not node.suspicion.is_begun
