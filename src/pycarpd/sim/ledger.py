"""What the checkers remember: votes and terms of every disk, who was master of what, which adverts who has heard.

The ledger keeps true time and knows what no node can: it is what S1, S3, S5, S6, S9 and S10 are held against.
"""

from dataclasses import dataclass, field

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Advert, Freshness, Role
from pycarpd.sim.agenda import NS_PER_MS
from pycarpd.sim.checkers import Effects, has_majority_rules, require
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.node import SimNode

ADVERTS_MAX = 256
"""How many of a node's newest adverts the ledger remembers; a lease covers fewer."""


@dataclass(slots=True)
class LeaseKeeper:
    """A MASTER that was silent for longer than its lease says nothing as MASTER before it was SUSPENDED (S10)."""

    last_ns: dict[str, int] = field(default_factory=dict)

    def check(self, node: SimNode, _event: ev.Event, effects: Effects) -> None:
        """Follow the times of a MASTER's adverts; one that begins to serve begins anew."""
        for effect in effects:
            match effect:
                case fx.Transition(role=Role.MASTER):
                    self.last_ns.pop(node.name, None)
                case fx.Send(advert=advert) if advert.role is Role.MASTER:
                    last_ns = self.last_ns.get(node.name, node.now_ns)
                    usual_ns = node.settings.missed_adverts * node.settings.interval_ns
                    silence_ns = max(usual_ns, advert.hold_ms * NS_PER_MS)
                    require(node.now_ns - last_ns < silence_ns, "S10: a lapsed lease is not renewed", node)
                    if has_majority_rules(node):
                        is_open = node.host.kernel.is_open(node.now_ns)
                        require(is_open, "S10: a MASTER speaks only while its fence is open", node)
                    self.last_ns[node.name] = node.now_ns
                case _:
                    pass


@dataclass(slots=True)
class TermKeeper:
    """Terms only grow and a node votes once a term, whatever crashes (S1)."""

    newest: dict[str, int] = field(default_factory=dict)
    votes: dict[tuple[str, int], int] = field(default_factory=dict)
    holders: dict[int, str] = field(default_factory=dict)

    def check(self, node: SimNode, _event: ev.Event, effects: Effects) -> None:
        """Follow the disk, what is told, and who becomes MASTER of what."""
        disk = node.host.disk
        require(disk.term >= self.newest.get(node.name, 0), "S1: terms only grow", node)
        self.newest[node.name] = disk.term
        self._note_vote(node, disk.vote_term, disk.vote_for)
        for effect in effects:
            if isinstance(effect, fx.Send):
                self._note_vote(node, effect.advert.vote_term, effect.advert.vote_for)
            elif isinstance(effect, fx.Transition) and effect.role is Role.MASTER and has_majority_rules(node):
                self._note_holder(node, effect.term)

    def _note_vote(self, node: SimNode, term: int, vote: int) -> None:
        if term:
            known = self.votes.setdefault((node.name, term), vote)
            require(known == vote, "S1: a node votes once a term", node)

    def _note_holder(self, node: SimNode, term: int) -> None:
        holder = self.holders.setdefault(term, node.name)
        if holder != node.name:
            raise CheckFailedError(f"S1: {holder} and {node.name} were MASTER of term {term}")
        votes = sum(1 for (_, of), vote in self.votes.items() if of == term and vote == node.member.node_id)
        require(votes >= node.settings.majority, "S1: a MASTER has the votes of a majority", node)


@dataclass(slots=True)
class SentAdverts:
    """One life of one node: what its adverts asked for, and what the others that have heard them promised at most."""

    sent: dict[int, int] = field(default_factory=dict)
    promised: dict[str, int] = field(default_factory=dict)

    def note(self, advert: Advert, now_ns: int) -> None:
        """Remember an advert: until when the lease lasts that it asks for, by the host's uptime."""
        self.sent[advert.sequence] = now_ns + advert.hold_ms * NS_PER_MS if advert.hold_ms else 0
        if len(self.sent) > ADVERTS_MAX:
            del self.sent[next(iter(self.sent))]

    def hear(self, name: str, advert: Advert) -> None:
        """Remember what that node has promised at most by hearing the advert; a later one takes nothing back."""
        self.promised[name] = max(self.promised.get(name, 0), self.sent.get(advert.sequence, 0))


@dataclass(slots=True)
class PromiseKeeper:
    """No lease is longer than what a majority has truly heard and promised, counted from the sending (S3, S4)."""

    lives: dict[tuple[int, int], SentAdverts] = field(default_factory=dict)
    claims: dict[tuple[int, int], Freshness | None] = field(default_factory=dict)
    """With which freshness a term was claimed, by term and node."""
    known: dict[str, Freshness | None] = field(default_factory=dict)
    votes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Follow what is sent, heard and voted, and hold every lease against it."""
        if not has_majority_rules(node):
            return
        if isinstance(event, ev.AdvertHeard):
            life = self.lives.get((event.advert.node_id, event.advert.epoch))
            if life is not None:
                life.hear(node.name, event.advert)
        elif isinstance(event, ev.FreshnessKnown):
            self.known[node.name] = event.freshness
        for effect in effects:
            match effect:
                case fx.Send(advert=advert):
                    self._note_sent(node, advert)
                case fx.Persist(persistent=wanted):
                    self._note_vote(node, event, wanted.vote_term, wanted.vote_for)
                case fx.RenewLease(until_ns=until_ns):
                    self._check_lease(node, until_ns)
                case _:
                    pass

    def _note_sent(self, node: SimNode, advert: Advert) -> None:
        life = self.lives.setdefault((advert.node_id, advert.epoch), SentAdverts())
        life.note(advert, node.host.clock.uptime_ns(node.host.agenda.now_ns))
        if advert.role is Role.PROMOTING:
            self.claims[(advert.term, advert.node_id)] = advert.freshness

    def _note_vote(self, node: SimNode, event: ev.Event, term: int, vote: int) -> None:
        """Let a vote be for a candidate whose metadata is known, of this file system, and no older (S6)."""
        if self.votes.get(node.name) == (term, vote) or not vote:
            return
        self.votes[node.name] = (term, vote)
        own = self.known.get(node.name)
        if vote == node.member.node_id or not isinstance(event, ev.AdvertHeard):
            return
        if event.advert.role is Role.PROMOTING:
            theirs = event.advert.freshness
            require(theirs is not None, "S6: unknown freshness never wins", node)
            is_fresh = own is None or (
                theirs is not None and theirs.metaid == own.metaid and theirs.version >= own.version
            )
            require(is_fresh, "S6: the winner is as fresh as each voter", node)

    def _check_lease(self, node: SimNode, until_ns: int) -> None:
        elector_id = node.member.node_id
        life = self.lives.get((elector_id, node.host.epoch), SentAdverts())
        others = [m.name for m in node.settings.members if m.node_id != elector_id]
        promises = sorted((life.promised.get(name, 0) for name in others), reverse=True)
        granted_ns = promises[node.settings.majority - 2]
        lease_ends_ns = node.host.clock.true_ns(until_ns) - node.host.clock.lost_ns
        require(lease_ends_ns <= granted_ns, "S3: a lease ends before the promises of a majority", node)
