"""One simulated node: a real Elector with the real codec in a process that can be paused, killed and started again.

The process does what the heartbeat does: in each round it drains its adverts, then its worker's reports, and only then
judges a deadline that has come. A paused process hears nothing; its adverts queue with the time at which they came.
"""

from collections import deque
from random import Random
from typing import Protocol, assert_never

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.elector import Elector
from pycarpd.election.model import Advert, Member, PlainAdvert
from pycarpd.election.node import Identity
from pycarpd.election.settings import ElectionSettings
from pycarpd.election.snapshot import Snapshot
from pycarpd.invariant import invariant
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S, Action, Agenda
from pycarpd.sim.host import Host
from pycarpd.sim.network import Network
from pycarpd.sim.worker import SimWorker
from pycarpd.wire.codec import CodecSettings, Encoder
from pycarpd.wire.receiver import Receiver
from pycarpd.wire.verdict import Verdict

INBOX_MAX = 256
"""A socket's receive queue has an end; what comes after it is lost."""
WORKER_START_NS = 5 * NS_PER_MS
VIP_LIFETIME_NS = 2 * NS_PER_S
TTL = 255


class Observer(Protocol):
    """Who is told of everything a node decides, after it was carried out."""

    def decided(self, node: "SimNode", event: ev.Event, effects: tuple[fx.Effect, ...]) -> None:
        """Take note of one decision."""


class SimNode:
    """A member of the simulated cluster."""

    def __init__(
        self,
        settings: ElectionSettings,
        codec: CodecSettings,
        host: Host,
        agenda: Agenda,
        network: Network,
        rng: Random,
        observer: Observer,
    ) -> None:
        self.settings = settings
        self.host = host
        self.elector: Elector | None = None
        self.paused_until_ns = 0
        self._codec = codec
        self._encoder = Encoder(codec)
        self._agenda = agenda
        self._network = network
        self._rng = rng
        self._observer = observer
        self._worker: SimWorker | None = None
        self._inbox: deque[tuple[bytes, bytes, int]] = deque()
        self._mailbox: deque[ev.Event] = deque()
        self._life = 0
        self._restarts = 0
        network.join(self.name, self._hear)

    @property
    def member(self) -> Member:
        """Return this node's entry in the member list."""
        return self.settings.me

    @property
    def name(self) -> str:
        """Return this node's name."""
        return self.member.name

    @property
    def now_ns(self) -> int:
        """Return what this node's own clock shows."""
        return self.host.clock.local_ns(self._agenda.now_ns)

    @property
    def is_paused(self) -> bool:
        """True while the process gets no processor."""
        return self._agenda.now_ns < self.paused_until_ns

    @property
    def snapshot(self) -> Snapshot | None:
        """Return what the node believes, None while no process runs."""
        return self.elector.snapshot(self.now_ns) if self.elector else None

    @property
    def serves(self) -> bool:
        """Tell whether clients can reach a mfsmaster here."""
        return self.host.serves(self._agenda.now_ns)

    def start(self) -> None:
        """Start the daemon on this host, whatever was left there by an earlier run."""
        invariant(self.elector is None, "a daemon runs once")
        self.host.epoch += 1
        identity = Identity(self.host.epoch, self._rng.getrandbits(64))
        self.elector = Elector(self.settings, identity, self.host.disk)
        self._receiver = Receiver(self._codec, identity.epoch, identity.nonce)
        self._life += 1
        self._tell(ev.LinkChanged(self.host.has_link))
        self.start_worker()
        self._arm()

    def start_worker(self) -> None:
        """Start a worker, as the supervisor does."""

        def hello() -> None:
            if self._worker is not None:
                return
            self._worker = SimWorker(self._agenda, self.host, self._post)
            self._restarts = 0
            is_held = self.host.holds_vip(self._agenda.now_ns)
            self._post(ev.WorkerReady(self.host.has_mfsmaster, is_held))

        self._later(WORKER_START_NS, hello)

    def stop(self, *, keep_serving: bool = False) -> None:
        """Ask the daemon to end."""
        self._post(ev.StopRequested(keep_serving))

    def crash(self) -> None:
        """Lose the host's power."""
        self._end()
        self.host.lose_power()

    def pause(self, duration_ns: int) -> None:
        """Take the processor away from the process for a while; its host goes on."""
        self.paused_until_ns = max(self.paused_until_ns, self._agenda.now_ns + duration_ns)
        self._agenda.at(self.paused_until_ns, self._round)

    def lose_worker(self) -> None:
        """Kill the worker process."""
        if self._worker is not None and self.elector is not None:
            self._worker.die()
            self._worker = None
            self._post(ev.WorkerLost())

    def set_link(self, *, is_up: bool) -> None:
        """Pull the cable or plug it in."""
        if self.host.has_link != is_up:
            self.host.has_link = is_up
            self._post(ev.LinkChanged(is_up))

    def kill_mfsmaster(self) -> None:
        """Kill the host's mfsmaster; the worker sees it at once, and allows one restart in place."""
        if self.host.has_mfsmaster:
            self.host.has_mfsmaster = False
            self._restarts += 1
            self._post(ev.MfsmasterLost(may_restart=self._restarts == 1))

    def post(self, event: ev.Event) -> None:
        """Let the heartbeat take in an event from elsewhere."""
        self._post(event)

    def _end(self) -> None:
        self.elector = None
        self._life += 1
        self._inbox.clear()
        self._mailbox.clear()
        if self._worker is not None:
            self._worker.die()
            self._worker = None

    def _hear(self, payload: bytes, source: bytes) -> None:
        if self.elector is not None and self.host.has_link and len(self._inbox) < INBOX_MAX:
            self._inbox.append((payload, source, self.now_ns))
            self._wake()

    def _post(self, event: ev.Event) -> None:
        if self.elector is not None:
            self._mailbox.append(event)
            self._wake()

    def _wake(self) -> None:
        self._later(self._rng.randint(0, self.host.habits.wake_ns), self._round)

    def _later(self, delay_ns: int, action: Action) -> None:
        life = self._life

        def happen() -> None:
            if life == self._life:
                action()

        self._agenda.after(delay_ns, happen)

    def _round(self) -> None:
        if self.is_paused:
            return
        while self._inbox and self.elector is not None:
            self._receive(*self._inbox.popleft())
        while self._mailbox and self.elector is not None:
            event = self._mailbox.popleft()
            self._tell(event)
            if isinstance(event, ev.PromotionReady) and self._worker is not None:
                is_held = self.host.holds_vip(self._agenda.now_ns)
                self._worker.answer_attach(event.term, is_attached=is_held)
        deadline_ns = self.elector.next_deadline() if self.elector else None
        if deadline_ns is not None and self.now_ns >= deadline_ns:
            self._tell(ev.TimeAdvanced(self.now_ns - deadline_ns))
        self._arm()

    def _arm(self) -> None:
        deadline_ns = self.elector.next_deadline() if self.elector else None
        if deadline_ns is not None:
            self._later(self.host.clock.true_ns(deadline_ns) - self._agenda.now_ns, self._on_timer)

    def _on_timer(self) -> None:
        deadline_ns = self.elector.next_deadline() if self.elector else None
        if deadline_ns is not None and self.now_ns >= deadline_ns:
            self._round()

    def _receive(self, payload: bytes, source: bytes, received_ns: int) -> None:
        received = self._receiver.receive(payload, source, TTL)
        match received.advert:
            case Advert() as advert:
                is_proven = received.verdict is Verdict.ACCEPTED
                self._tell(ev.AdvertHeard(advert, source, is_proven, received_ns))
            case PlainAdvert() as plain:
                self._tell(ev.PlainAdvertHeard(plain, source, received_ns))
            case None if received.verdict is Verdict.OWN_NAME:
                self._tell(ev.NameClaimed())
            case None:
                pass

    def _tell(self, event: ev.Event) -> None:
        if self.elector is None:
            return
        effects = self.elector.handle(event, self.now_ns)
        for effect in effects:
            self._perform(effect)
        self._observer.decided(self, event, effects)
        if any(isinstance(effect, fx.Stopped) for effect in effects):
            self._end()

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Send(advert=advert):
                if self.host.has_link:
                    self._network.broadcast(
                        self.name, self._encoder.encode(advert, self.member.address), self.member.address
                    )
            case fx.AttachVip():
                self.host.vip_until_ns = self._agenda.now_ns + VIP_LIFETIME_NS
            case fx.RenewLease(until_ns=until_ns):
                if self.host.holds_vip(self._agenda.now_ns):
                    self.host.vip_until_ns = self.host.clock.true_ns(until_ns) + VIP_LIFETIME_NS
                    self.host.fence_until_ns = self.host.clock.true_ns(until_ns)
            case fx.DetachVip():
                self.host.vip_until_ns = self.host.fence_until_ns = 0
            case fx.AnnounceVip() | fx.PreserveFiles() | fx.Transition() | fx.Stopped():
                pass
            case _:
                self._ask_worker(effect)

    def _ask_worker(self, effect: fx.Persist | fx.StartPromotion | fx.AbortPromotion | fx.StartDemotion) -> None:
        worker = self._worker
        if worker is None:
            return
        match effect:
            case fx.Persist(persistent=persistent):
                worker.persist(persistent)
            case fx.StartPromotion(term=term):
                worker.promote(term)
            case fx.AbortPromotion(term=term):
                worker.abort(term)
            case fx.StartDemotion(term=term):
                worker.demote(term)
            case _:
                assert_never(effect)
