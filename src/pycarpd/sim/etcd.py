"""A simulated etcd and a node's dealings with it, request for request as arbiter/etcd.py makes them.

The server is one, as a cluster that agrees looks from outside; it may be away, and its clock drifts like any other.
Requests and answers travel, may be lost with the network, and are given up after a while: what was asked for may have
happened all the same. So a claim may succeed unnoticed, and a lease run out while its holder believes nothing.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.freshness import is_newer
from pycarpd.election.model import Freshness
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S, Action, Agenda
from pycarpd.sim.host import Host
from pycarpd.sim.network import Network

NAME = "etcd"
LEASE_NS = 3 * NS_PER_S
DRIFT_PPM = 1000
PPM = 1_000_000
TRAVEL_MAX_NS = 20 * NS_PER_MS
TIMEOUT_NS = LEASE_NS // 5
ASK_EVERY_NS = 100 * NS_PER_MS
RENEW_EVERY_NS = LEASE_NS // 6
PUBLISH_EVERY_NS = NS_PER_S
OUTAGES_EVERY_S = 6.0
OUTAGE_MAX_NS = 8 * NS_PER_S

Request = Callable[[], Any]
Dialogue = Generator[Request, Any, None]


@dataclass(frozen=True, slots=True)
class Held:
    """Who holds the master's key, under which lease, written at which revision."""

    node: str
    term: int
    lease: int
    revision: int


@dataclass(frozen=True, slots=True)
class Record:
    """What a member has told of itself."""

    is_standby: bool = False
    is_promotable: bool = False
    freshness: Freshness | None = None


@dataclass(frozen=True, slots=True)
class Standings:
    """All keys at one revision."""

    revision: int
    held: Held | None
    term: int
    term_revision: int
    records: dict[str, Record]


@dataclass(slots=True)
class SimEtcd:
    """The keys and the leases, as they truly are."""

    agenda: Agenda
    network: Network
    rng: Random
    drift_ppm: int
    held: Held | None = None
    term: int = 0
    term_revision: int = 0
    revision: int = 1
    leases: dict[int, int] = field(default_factory=dict)
    records: dict[str, tuple[int, Record]] = field(default_factory=dict)
    is_away: bool = False

    def __post_init__(self) -> None:
        """Take a place in the network."""
        self.network.join(NAME, lambda _datagram: None)

    def plan_outages(self, until_ns: int) -> None:
        """Be away now and then until that moment."""
        delay_ns = round(self.rng.expovariate(1 / OUTAGES_EVERY_S) * NS_PER_S)
        if self.agenda.now_ns + delay_ns >= until_ns:
            return

        def go() -> None:
            self.is_away = True
            self.agenda.after(self.rng.randint(1, OUTAGE_MAX_NS), come_back)

        def come_back() -> None:
            self.is_away = False
            self.plan_outages(until_ns)

        self.agenda.after(delay_ns, go)

    def read(self) -> Standings:
        """Return all keys whose leases live."""
        records = {name: record for name, (lease, record) in self.records.items() if self._lives(lease)}
        return Standings(self.revision, self._holder(), self.term, self.term_revision, records)

    def grant(self) -> int:
        """Return a new lease."""
        lease = len(self.leases) + 1
        self.leases[lease] = self._end_ns()
        return lease

    def keep_alive(self, lease: int) -> bool:
        """Prolong the lease; False when it has run out."""
        if self._lives(lease):
            self.leases[lease] = self._end_ns()
            return True
        return False

    def revoke(self, lease: int) -> None:
        """End the lease and what is bound to it."""
        self.leases[lease] = 0

    def write(self, seen: Standings, node: str, term: int, lease: int) -> bool:
        """Make the node the holder of the term, if nothing has changed since the keys were seen."""
        now = self.read()
        is_unchanged = (now.held, now.term_revision) == (seen.held, seen.term_revision)
        if not is_unchanged or not self._lives(lease):
            return False
        self.revision += 1
        self.held = Held(node, term, lease, self.revision)
        if term != self.term:
            self.term, self.term_revision = term, self.revision
        return True

    def publish(self, node: str, record: Record, lease: int) -> None:
        """Keep what the member tells, while its lease lives."""
        self.records[node] = (lease, record)

    def _holder(self) -> Held | None:
        return self.held if self.held is not None and self._lives(self.held.lease) else None

    def _lives(self, lease: int) -> bool:
        return self.agenda.now_ns < self.leases.get(lease, 0)

    def _end_ns(self) -> int:
        return self.agenda.now_ns + LEASE_NS + LEASE_NS * self.drift_ppm // PPM


@dataclass(slots=True)
class EtcdClient:
    """One node's side, in its worker: ``report`` hears of terms given and lost, ``record`` says what it would tell."""

    node: str
    host: Host
    etcd: SimEtcd
    report: Callable[[ev.Event], None]
    record: Callable[[], Record]
    is_alive: bool = True
    wanted: fx.AskArbiter | None = None
    lease: int = 0
    term: int = 0
    session: int = 0

    def start(self) -> None:
        """Begin to tell what this node's files prove."""
        self._converse(self._publish(), lambda: self._later(PUBLISH_EVERY_NS, self.start))

    def die(self) -> None:
        """End without a word; leases run out."""
        self.is_alive = False

    def obey(self, effect: fx.AskArbiter | fx.ReleaseTerm) -> None:
        """Do what the election wants of the arbiter."""
        lease, self.lease, self.wanted = self.lease, 0, None
        is_free = isinstance(effect, fx.AskArbiter) or effect.is_free
        if lease and is_free:
            self._converse(self._revoke(lease))
        if isinstance(effect, fx.AskArbiter):
            self.wanted = effect
            self._ask(effect)

    def _ask(self, wish: fx.AskArbiter) -> None:
        """Ask until the term is given, or something else is wanted."""
        if wish is self.wanted and not self.lease:
            self._converse(self._claim(wish), lambda: self._later(ASK_EVERY_NS, lambda: self._ask(wish)))

    def _renew(self, wish: fx.AskArbiter) -> None:
        """Prolong for as long as the term is wanted."""
        if wish is self.wanted:
            self._converse(self._keep_alive(wish), lambda: self._later(RENEW_EVERY_NS, lambda: self._renew(wish)))

    def _claim(self, wish: fx.AskArbiter) -> Dialogue:
        seen = yield self.etcd.read
        if seen is None or (seen.held is not None and seen.held.node != self.node):
            return
        if not wish.is_adoption and self._is_anybody_fresher(seen):
            return
        yield from self._write(wish, seen, max(seen.revision + 1, seen.term + 1, wish.term))
        if wish is self.wanted and self.lease:
            self._later(RENEW_EVERY_NS, lambda: self._renew(wish))

    def _write(self, wish: fx.AskArbiter, seen: Standings, term: int) -> Dialogue:
        began_ns = self.host.now_ns
        lease = yield self.etcd.grant
        if lease is None:
            return
        is_done = yield lambda: self.etcd.write(seen, self.node, term, lease)
        if is_done and wish is self.wanted:
            self.lease, self.term = lease, term
            self._tell_granted(wish, began_ns)
        else:
            yield lambda: self.etcd.revoke(lease)

    def _keep_alive(self, wish: fx.AskArbiter) -> Dialogue:
        began_ns, lease = self.host.now_ns, self.lease
        is_living = yield lambda: self.etcd.keep_alive(lease)
        seen = None if is_living is None else (yield self.etcd.read)
        if seen is None or wish is not self.wanted:
            return
        is_held = seen.held is not None and (seen.held.node, seen.held.term) == (self.node, self.term)
        if is_living and is_held:
            self._tell_granted(wish, began_ns)
        elif seen.term != self.term or (seen.held is not None and not is_held):
            self.lease, self.wanted = 0, None
            self.report(ev.TermLost(wish.wish))
        else:
            yield from self._write(wish, seen, self.term)

    def _publish(self) -> Dialogue:
        session, record = self.session, self.record()
        if not session or (yield lambda: self.etcd.keep_alive(session)) is False:
            self.session = session = (yield self.etcd.grant) or 0
        yield lambda: self.etcd.publish(self.node, record, session)

    def _revoke(self, lease: int) -> Dialogue:
        yield lambda: self.etcd.revoke(lease)

    def _is_anybody_fresher(self, seen: Standings) -> bool:
        own = self.record().freshness
        others = [r for name, r in seen.records.items() if name != self.node and r.is_standby and r.is_promotable]
        return any(r.freshness is not None and (own is None or is_newer(r.freshness, own)) for r in others)

    def _tell_granted(self, wish: fx.AskArbiter, began_ns: int) -> None:
        until_ns = began_ns + LEASE_NS - LEASE_NS * DRIFT_PPM // PPM
        self.host.asked_until_ns = max(self.host.asked_until_ns, until_ns)
        self.report(ev.TermGranted(wish.wish, self.term, until_ns))

    def _converse(self, dialogue: Dialogue, then: Action = lambda: None) -> None:
        """Make one request after the other, each answered with what it returns, or None after a while; then go on."""

        def step(answer: Any) -> None:
            try:
                request = dialogue.send(answer)
            except StopIteration:
                then()
                return
            self._request(request, step)

        step(None)

    def _request(self, request: Request, answered: Callable[[Any], None]) -> None:
        """Let a request travel, happen, and its answer travel back; each of it may be lost."""
        is_over = False
        etcd = self.etcd

        def answer(value: Any) -> None:
            nonlocal is_over
            if not is_over and self.is_alive:
                is_over = True
                answered(value)

        def arrive() -> None:
            if etcd.is_away or not etcd.network.connects(self.node, NAME):
                return
            value = request()
            if etcd.network.connects(NAME, self.node):
                etcd.agenda.after(etcd.rng.randint(1, TRAVEL_MAX_NS), lambda: self._later(0, lambda: answer(value)))

        etcd.agenda.after(etcd.rng.randint(1, TRAVEL_MAX_NS), arrive)
        self._later(TIMEOUT_NS, lambda: answer(None))

    def _later(self, delay_ns: int, action: Action) -> None:
        def happen() -> None:
            if self.is_alive:
                action()

        self.host.after(delay_ns, happen)
