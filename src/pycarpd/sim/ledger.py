"""What the checkers remember: votes and terms of every disk, who was master of what, which adverts who has heard.

The ledger keeps true time and knows what no node can: it is what S1, S3, S5, S6, S9 and S10 are held against.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election import freshness
from pycarpd.election.model import Advert, Cause, Flags, Freshness, Role
from pycarpd.election.node import Fault
from pycarpd.sim.agenda import NS_PER_MS
from pycarpd.sim.checkers import Effects, has_leases, has_majority_rules, require
from pycarpd.sim.etcd import LEASE_NS
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.files import Copy, History
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
                    usual_ns = node.settings.patience_ns
                    if node.settings.asks_arbiter:
                        usual_ns = LEASE_NS
                    silence_ns = max(usual_ns, advert.hold_ms * NS_PER_MS)
                    require(node.now_ns - last_ns < silence_ns, "S10: a lapsed lease is not renewed", node)
                    if has_leases(node):
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
            elif isinstance(effect, fx.Transition) and effect.role is Role.MASTER and has_leases(node):
                self._note_holder(node, effect.term)

    def _note_vote(self, node: SimNode, term: int, vote: int) -> None:
        if term:
            known = self.votes.setdefault((node.name, term), vote)
            require(known == vote, "S1: a node votes once a term", node)

    def _note_holder(self, node: SimNode, term: int) -> None:
        holder = self.holders.setdefault(term, node.name)
        if holder != node.name:
            raise CheckFailedError(f"S1: {holder} and {node.name} were MASTER of term {term}")
        if not has_majority_rules(node):
            return
        votes = sum(1 for (_, of), vote in self.votes.items() if of == term and vote == node.member.node_id)
        require(votes >= node.settings.majority, "S1: a MASTER has the votes of a majority", node)


@dataclass(frozen=True, slots=True)
class Worth:
    """Until when an advert is worth something: by its sender's uptime, which counts its lease, and in true time."""

    uptime_ns: int = 0
    true_ns: int = 0


@dataclass(slots=True)
class SentAdverts:
    """One life of one node: what its adverts asked for, and what those who heard them have promised at most."""

    sent: dict[int, Worth] = field(default_factory=dict)
    promised: dict[str, Worth] = field(default_factory=dict)
    copies: dict[int, Copy | None] = field(default_factory=dict)
    """What truly lay on the host when it last looked before each of its adverts."""

    def note(self, advert: Advert, uptime_ns: int, true_ns: int, copy: Copy | None) -> None:
        """Remember an advert of this moment."""
        self.copies[advert.sequence] = copy
        lease_ns = advert.hold_ms * NS_PER_MS
        self.sent[advert.sequence] = Worth(uptime_ns + lease_ns, true_ns + lease_ns) if lease_ns else Worth()
        if len(self.sent) > ADVERTS_MAX:
            oldest = next(iter(self.sent))
            del self.sent[oldest], self.copies[oldest]

    def hear(self, name: str, advert: Advert) -> None:
        """Remember a voter's promise; one that is worth less takes nothing back."""
        worth = self.sent.get(advert.sequence, Worth())
        if worth.uptime_ns > self.promised.get(name, Worth()).uptime_ns:
            self.promised[name] = worth


@dataclass(slots=True)
class PromiseKeeper:
    """No lease is longer than what a majority has truly heard and promised, counted from the sending (S3, S4).

    And whoever has promised votes for nobody else, himself included, before that is over or given back (S5).
    """

    lives: dict[tuple[int, int], SentAdverts] = field(default_factory=dict)
    known: dict[str, Freshness | None] = field(default_factory=dict)
    copies: dict[int, Copy | None] = field(default_factory=dict)
    """What truly lay on a host when it last looked."""
    heard: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    """The terms whose masters a life of a node has heard while it could look at its files.

    What its metalogger got from others, or while nobody looked, it cannot tell from what an older master gave up.
    """
    votes: dict[str, tuple[int, int]] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    newest: dict[tuple[str, int, int], tuple[int, int]] = field(default_factory=dict)
    """The newest advert that a life of a node has heard of another."""

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Follow what is sent, heard and voted, and hold every lease against it."""
        if not has_majority_rules(node):
            return
        self._note_life(node)
        self._note_event(node, event)
        for effect in effects:
            match effect:
                case fx.Send(advert=advert):
                    clock, now_ns = node.host.clock, node.host.agenda.now_ns
                    life = self.lives.setdefault((advert.node_id, advert.epoch), SentAdverts())
                    life.note(advert, clock.uptime_ns(now_ns), now_ns, self.copies.get(advert.node_id))
                case fx.Persist(persistent=wanted):
                    self._note_vote(node, event, wanted.vote_term, wanted.vote_for)
                case fx.RenewLease(until_ns=until_ns):
                    self._check_lease(node, until_ns)
                case _:
                    pass
        if isinstance(event, ev.AdvertHeard):
            self._note_promise(node, event.advert)

    def _note_event(self, node: SimNode, event: ev.Event) -> None:
        if isinstance(event, ev.FreshnessKnown):
            snapshot = node.snapshot
            self.known[node.name] = snapshot.freshness if snapshot is not None else event.freshness
            self.copies[node.member.node_id] = _found(node.host.data.best, event.freshness)
        elif isinstance(event, ev.FilesLevel):  # a look of its own, for a handover
            self.copies[node.member.node_id] = node.host.data.best
        elif isinstance(event, ev.AdvertHeard):
            self._note_release(node, event.advert, is_proven=event.is_proven)
            if event.is_proven and event.advert.role is Role.MASTER and _has_worker(node):
                self.heard.setdefault((node.name, node.host.epoch), set()).add(event.advert.term)

    def _note_life(self, node: SimNode) -> None:
        """Forget, with a node that has crashed, a vote that had not reached its disk and was told to nobody."""
        disk = node.host.disk
        if self.epochs.get(node.name) == node.host.epoch:
            return
        self.epochs[node.name] = node.host.epoch
        if self.votes.get(node.name, (0, 0)) != (disk.vote_term, disk.vote_for):
            self.votes[node.name] = (disk.vote_term, disk.vote_for)
            for life in self.lives.values():
                life.promised.pop(node.name, None)

    def _note_release(self, node: SimNode, advert: Advert, *, is_proven: bool) -> None:
        """Take in what gives a promise back: a newer advert than any before, of a holder that serves no more."""
        place, now = (node.name, node.host.epoch, advert.node_id), (advert.epoch, advert.sequence)
        if now < self.newest.get(place, (0, 0)):
            return
        self.newest[place] = now
        if not is_proven:
            return
        if Flags.RESIGNED in advert.flags or advert.role in (Role.BACKUP, Role.FAULT):
            for (node_id, _), life in self.lives.items():
                if node_id == advert.node_id:
                    life.promised.pop(node.name, None)

    def _note_promise(self, node: SimNode, advert: Advert) -> None:
        life = self.lives.get((advert.node_id, advert.epoch))
        newest = self.newest[(node.name, node.host.epoch, advert.node_id)]
        if (advert.epoch, advert.sequence) < newest:
            return  # it came after a newer one, and is not listened to
        if life is not None and self.votes.get(node.name) == (advert.term, advert.node_id):
            life.hear(node.name, advert)

    def _note_vote(self, node: SimNode, event: ev.Event, term: int, vote: int) -> None:
        """Let a vote be for whom it may be for: nobody's promise is broken (S5), and nothing older wins (S6)."""
        if self.votes.get(node.name) == (term, vote) or not vote:
            return
        self.votes[node.name] = (term, vote)
        now_ns = node.host.agenda.now_ns
        for (holder, _), life in self.lives.items():
            is_over = holder == vote or life.promised.get(node.name, Worth()).true_ns <= now_ns
            require(is_over, "S5: who has promised votes for nobody else", node)
        if vote == node.member.node_id or not isinstance(event, ev.AdvertHeard):
            return
        if event.advert.role is Role.PROMOTING or Flags.OPENS_TERM in event.advert.flags:
            self._check_freshness(node, event.advert.freshness)
            self._check_copies(node, event.advert)

    def _check_copies(self, node: SimNode, advert: Advert) -> None:
        """Hold the vote against what truly lies on both hosts; a version that knows no lineages cannot do better."""
        life = self.lives.get((advert.node_id, advert.epoch), SentAdverts())
        own, theirs = self.copies.get(node.member.node_id), life.copies.get(advert.sequence)
        if own is None or theirs is None or node.is_among_older:
            return
        is_known = own.standing[0] in self.heard.get((node.name, node.host.epoch), ())
        snapshot = node.snapshot
        if not is_known or (snapshot is not None and snapshot.has_foreign_files):
            return
        is_fresh = theirs.standing >= own.standing or own.leads_to(theirs)
        require(is_fresh, f"S6: a voter has {own} and elects {theirs}", node)

    def _check_freshness(self, node: SimNode, theirs: Freshness | None) -> None:
        own = self.known.get(node.name)
        require(theirs is not None, "S6: unknown freshness never wins", node)
        is_fresh = own is None or (theirs is not None and freshness.is_at_least(theirs, own))
        require(is_fresh, "S6: the winner is as fresh as each voter", node)

    def _check_lease(self, node: SimNode, until_ns: int) -> None:
        own_id = node.member.node_id
        life = self.lives.get((own_id, node.host.epoch), SentAdverts())
        others = [m.name for m in node.settings.members if m.node_id != own_id]
        promises = sorted((life.promised.get(name, Worth()).uptime_ns for name in others), reverse=True)
        granted_ns = promises[len(node.settings.members) // 2 - 1]
        lease_ends_ns = node.host.clock.true_ns(until_ns) - node.host.clock.lost_ns
        require(lease_ends_ns <= granted_ns, "S3: a lease ends before the promises of a majority", node)


def _found(copy: Copy | None, said: Freshness | None) -> Copy | None:
    """Return what was looked at: a node that stood still hears of it when the metalogger has gone on already."""
    if said is None or copy is None:
        return None
    return copy if said.version >= copy.version else copy.until(said.version)


def _has_worker(node: SimNode) -> bool:
    return node.snapshot is not None and Fault.WORKER not in node.snapshot.faults


@dataclass(slots=True)
class FileKeeper:
    """A candidate has preserved its files since it last followed a master: before any address moves (S8)."""

    followers: set[str] = field(default_factory=set)

    def check(self, node: SimNode, _event: ev.Event, effects: Effects) -> None:
        """Follow who follows a master, and who has lost it."""
        for effect in effects:
            match effect:
                case fx.StartDemotion(successor=successor) if successor and node.role is Role.BACKUP:
                    self.followers.add(node.name)
                case fx.PreserveFiles():
                    self.followers.discard(node.name)
                case fx.Transition(role=Role.PROMOTING, was=Role.BACKUP):
                    require(node.name not in self.followers, "S8: a lost master's files are preserved at once", node)
                case fx.Transition(was=Role.INIT) | fx.Transition(role=Role.FAULT):
                    self.followers.discard(node.name)
                case _:
                    pass


@dataclass(slots=True)
class HistoryKeeper:
    """What is served goes on from what was promoted, and no copy mixes two histories (S7).

    Nor does a host say of files that they are of a mastership whose beginning they do not have (S6): what a standby
    holds beyond the branch of the master it follows is no part of what that one serves. Only where two have served at
    once, after a host had stood still with its clock, may a metalogger have gone on with the wrong one unseen.
    """

    was_split: Callable[[], bool]

    begun: dict[int, History] = field(default_factory=dict)
    """What a term's master went on from."""

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Follow who begins to serve what, and what is said of files that were looked at."""
        if isinstance(event, ev.FreshnessKnown):
            self._check_said(node)
        for effect in effects:
            if isinstance(effect, fx.Transition) and effect.cause is Cause.PROMOTION_READY and not node.is_among_older:
                own = node.host.data.own
                if own is not None and has_leases(node):
                    self._check_past(node, own.lines)
                    self.begun.setdefault(effect.term, own.lines)

    def _check_past(self, node: SimNode, history: History) -> None:
        for number, (term, _) in enumerate(history):
            past = self.begun.get(term)
            if past is not None:
                is_same = past == history[: len(past)] or past == history[:number]
                require(is_same, f"S7: {history} is no history of what term {term} has served", node)

    def _check_said(self, node: SimNode) -> None:
        """Hold what is said against what was looked at, unless the files have been changed since.

        Lines of a newer mastership than is said are no harm: a metalogger may follow it before its master is heard.
        """
        said, copy = node.snapshot.freshness if node.snapshot is not None else None, node.host.data.best
        if said is None or not said.lineage or copy is None or copy.version != said.version or node.is_among_older:
            return
        past = self.begun.get(said.lineage)
        if past is not None and copy.standing[0] <= said.lineage and not self.was_split():
            is_true = copy.lines[: len(past)] == past
            require(is_true, f"S6: {copy} is said to be of term {said.lineage}, begun on {past}", node)
