"""What a node has heard of the other members. Bounded by the member list; strangers never get in."""

from collections import deque
from dataclasses import dataclass

from pycarpd.election import freshness
from pycarpd.election.model import Ack, Advert, Flags, Freshness, Member, Role

TERMS_KEPT = 32
"""Of how many terms a node remembers that they were served; a lineage tells of fewer that came before it."""


@dataclass(slots=True)
class Peer:
    """One other member: the newest advert heard from it, and when."""

    member: Member
    advert: Advert | None = None
    is_proven: bool = False
    heard_ns: int = 0
    patience_ns: int = 0
    """For how much longer than others it may be silent, because its adverts promise no more."""
    hears_me: bool = False

    def acknowledged(self, node_id: int, nonce: int) -> int:
        """Return the sequence of that node's newest advert that this peer's newest advert acknowledges, 0 for none."""
        for ack in self.advert.acks if self.advert is not None else ():
            if ack.node_id == node_id and ack.nonce == nonce:
                return ack.sequence
        return 0

    @property
    def is_promotable(self) -> bool:
        """True when its newest advert said that it could take over."""
        return self.advert is not None and Flags.PROMOTABLE in self.advert.flags

    @property
    def has_looked(self) -> bool:
        """True when its newest advert told its freshness, or that it has no files of which one could be told."""
        return self.advert is not None and (self.freshness is not None or Flags.HAS_FILES not in self.advert.flags)

    @property
    def is_candidate(self) -> bool:
        """True when it stands by, and nothing that its newest advert said keeps it from opening a term."""
        if self.advert is None or self.member.is_witness:
            return False
        if self.advert.role.claims or self.advert.role is Role.FAULT:
            return False
        return self.is_promotable and not self.advert.flags & (Flags.PAUSED | Flags.RESIGNED)

    @property
    def demotion(self) -> int:
        """Return the demotion counter of its newest advert."""
        return self.advert.demotion if self.advert is not None else 0

    @property
    def freshness(self) -> Freshness | None:
        """Return the freshness its newest advert carried."""
        return self.advert.freshness if self.advert is not None else None


class Masterships:
    """Which terms were served, as this node has heard in this life, and in which of them it knows what it has got."""

    def __init__(self) -> None:
        self._served: deque[int] = deque(maxlen=TERMS_KEPT)
        self._heard: deque[int] = deque(maxlen=TERMS_KEPT)

    def note_served(self, term: int) -> None:
        """Note that somebody says that this term was served."""
        if term not in self._served:
            self._served.append(term)

    def note_heard(self, term: int) -> None:
        """Note that this node's files were held against those of this term's master, or that it is this node."""
        if term not in self._heard:
            self._heard.append(term)

    def has_missed(self, after: int, before: int) -> bool:
        """Tell whether between these two a term was served that this node knows nothing of."""
        return any(after < term < before and term not in self._heard for term in self._served)


class PeerTable:
    """The other members by node id, and the masterships that they tell of."""

    def __init__(self, members: tuple[Member, ...], own_id: int, own_nonce: int) -> None:
        self._own_id = own_id
        self._own_nonce = own_nonce
        self.masterships = Masterships()
        self._peers = {m.node_id: Peer(m) for m in members if m.node_id != own_id}

    def heard(self, advert: Advert, *, is_proven: bool, received_ns: int, patience_ns: int = 0) -> Peer | None:
        """Remember the advert, and for how much longer than others its sender may be silent after it.

        Returns its peer, or None for a stranger and for one that a newer advert has overtaken.
        The network may reorder: a claim that arrives after its own resignation must not be believed again.
        """
        peer = self._peers.get(advert.node_id)
        if peer is None or (peer.advert is not None and _is_older(advert, peer.advert)):
            return None
        peer.advert = advert
        peer.is_proven = is_proven
        peer.heard_ns = received_ns
        peer.patience_ns = patience_ns
        if is_proven:
            self.masterships.note_served(advert.served_term)
        peer.hears_me = bool(peer.acknowledged(self._own_id, self._own_nonce))
        return peer

    def all(self) -> tuple[Peer, ...]:
        """Return every other member, heard or not."""
        return tuple(self._peers.values())

    def get(self, node_id: int) -> Peer | None:
        """Return one other member."""
        return self._peers.get(node_id)

    def acks(self) -> tuple[Ack, ...]:
        """Return what the next advert acknowledges: the newest advert of each member heard so far."""
        heard = [peer.advert for peer in self._peers.values() if peer.advert is not None]
        return tuple([Ack(advert.node_id, advert.nonce, advert.sequence) for advert in heard])

    def live(self, now_ns: int, horizon_ns: int) -> tuple[Peer, ...]:
        """Return the proven peers heard within the horizon, longer ago only as far as their adverts asked for it."""
        since_ns = now_ns - horizon_ns
        # Of a list: a tuple that grows from a generator leaves its memory unused behind (CPython 3.11, to a bound).
        return tuple([p for p in self._peers.values() if p.is_proven and p.heard_ns + p.patience_ns >= since_ns])

    def have_all_reported(self) -> bool:
        """Tell whether every other member that could promote has told, proven, what it has since this node started."""
        return all(p.is_proven and p.has_looked for p in self._peers.values() if not p.member.is_witness)

    def fresher_candidate(self, own: Freshness | None, own_demotion: int, now_ns: int, horizon_ns: int) -> Peer | None:
        """Return a live peer that could take over from newer metadata of the same file system.

        One that hears this node comes before one that does not, which could not be elected in its place. One with a
        higher demotion counter has just failed to: waiting for it would only cost time.
        """
        fresher = (
            peer
            for peer in self.live(now_ns, horizon_ns)
            if peer.is_candidate
            and peer.demotion <= own_demotion
            and peer.freshness is not None
            and (own is None or freshness.is_newer(peer.freshness, own))
        )
        return max(fresher, key=lambda peer: peer.hears_me, default=None)

    def claimant(self, now_ns: int, horizon_ns: int) -> Peer | None:
        """Return the live peer that serves in the highest term, if any does."""
        masters = [p for p in self.live(now_ns, horizon_ns) if p.advert is not None and p.advert.role is Role.MASTER]
        return max(masters, key=lambda p: p.advert.term if p.advert else 0, default=None)


def _is_older(advert: Advert, newest: Advert) -> bool:
    return (advert.epoch, advert.sequence) < (newest.epoch, newest.sequence)
