"""One simulated node: a real Elector with the real receiver in a process that can be paused, killed and started again.

The process does what the heartbeat does: in each round it drains its adverts, then its worker's reports, and only then
judges a deadline that has come. A paused process hears nothing; its adverts queue with the time at which they came.
"""

from collections import deque

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.elector import Elector
from pycarpd.election.model import Advert, Arbiter, Member, Role
from pycarpd.election.node import Identity
from pycarpd.election.settings import ElectionSettings
from pycarpd.election.snapshot import Snapshot
from pycarpd.invariant import invariant
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S, Action
from pycarpd.sim.ear import Ear
from pycarpd.sim.etcd import EtcdClient, Record
from pycarpd.sim.jobs import Reporting
from pycarpd.sim.network import Datagram
from pycarpd.sim.place import Place
from pycarpd.sim.worker import SimWorker
from pycarpd.wire.codec import CodecSettings, Encoder

WORKER_START_NS = 5 * NS_PER_MS
ORPHAN_NS = 20 * NS_PER_MS
"""How long a worker takes to see that its heartbeat is gone, and to kill mfsmaster."""
STANDBY_ROLES = (Role.BACKUP, Role.INIT)
RESTART_AGAIN_AFTER_NS = 300 * NS_PER_S


class SimNode:
    """A member of the simulated cluster."""

    def __init__(self, settings: ElectionSettings, codec: CodecSettings, place: Place) -> None:
        self.settings = settings
        self.member: Member = settings.me
        self.name = self.member.name
        self.host = place.host
        self.elector: Elector | None = None
        self.paused_until_ns = 0
        self._encoder = Encoder(codec)
        self._agenda = place.host.agenda
        self._network = place.network
        self._rng = place.rng
        self._observer = place.observer
        self._is_sealed = place.is_sealed
        self._dialect = place.dialect
        self.is_among_older = place.is_among_older
        self._worker: SimWorker | None = None
        self.ear = Ear(codec, settings.strict, place.dialect)
        self._etcd = place.etcd
        self._is_fenced = settings.arbiter is not Arbiter.NONE
        self._mailbox: deque[ev.Event] = deque()
        self._life = 0
        self._armed_ns: int | None = None
        self._is_waking = False
        self._asked_term: int | None = None
        self._restarted_ns: int | None = None
        network, address = place.network, self.member.address
        network.join(self.name, self._hear, address, lambda advert: self._encoder.encode(advert, address))

    @property
    def now_ns(self) -> int:
        """Return what this node's own clock shows."""
        return self.host.now_ns

    @property
    def is_paused(self) -> bool:
        """True while the heartbeat gets no processor."""
        return self._agenda.now_ns < self.paused_until_ns

    @property
    def role(self) -> Role | None:
        """Return the node's role, None while no heartbeat runs."""
        return self.elector.role if self.elector else None

    @property
    def snapshot(self) -> Snapshot | None:
        """Return what the node believes, None while no process runs."""
        return self.elector.snapshot(self.now_ns) if self.elector else None

    @property
    def serves(self) -> bool:
        """Tell whether clients can reach a mfsmaster here."""
        return self.host.serves

    @property
    def is_orphaned(self) -> bool:
        """Tell whether a worker runs here alone."""
        return self.elector is None and self._worker is not None

    @property
    def has_plan(self) -> bool:
        """Tell whether a plan is under way, or nobody could tell."""
        return self._worker is None or self._worker.is_busy

    @property
    def is_in_use(self) -> bool:
        """Tell whether a mfsmaster, a plan, or one that was interrupted needs the files as they are."""
        return self.has_plan or self.host.has_mfsmaster or self.host.data.staging is not None

    @property
    def is_asked(self) -> bool:
        """Tell whether a promotion on this host waits for the address, or died with its worker after asking."""
        return self._worker is None or self._worker.is_asking

    def start(self) -> None:
        """Start the daemon on this host, whatever was left there by an earlier run."""
        invariant(self.elector is None, "a daemon runs once")
        self.host.is_off = False
        self.host.epoch += 1
        identity = Identity(self.host.epoch, self._rng.getrandbits(64))
        self.elector = Elector(self.settings, identity, self.host.disk)
        self.ear.begin(identity)
        if self.host.disk.is_paused:
            self._observer.mark("a paused node came back paused")
        if self.host.disk.vote_for not in (0, self.member.node_id):
            self._observer.mark("a voter came back bound by its promise")
        self._life += 1
        self._armed_ns, self._is_waking, self._asked_term = None, False, None
        self._restarted_ns = None
        if not self.host.holds_vip:
            self.host.kernel.detach(has_fence=self._is_fenced)
        self._tell(ev.LinkChanged(self.host.has_link))
        self.start_worker()
        self._arm()

    def start_worker(self) -> None:
        """Start a worker, as the supervisor does."""

        def hello() -> None:
            self.post(ev.WorkerReady(self.host.has_mfsmaster and not self.host.is_hung, self.host.holds_vip))

        def begin() -> None:
            if self._worker is None:
                reporting = Reporting(self.post, self._observer.mark, self.crash, self._arbiter())
                self._worker = SimWorker(self.host, reporting)
                self._worker.begin(hello)

        self._later(WORKER_START_NS, begin)

    def _arbiter(self) -> EtcdClient | None:
        """Return a new worker's line to etcd, if that is the arbiter."""
        return None if self._etcd is None else EtcdClient(self.name, self.host, self._etcd, self.post, self._record)

    def _record(self) -> Record:
        """Return what this node would tell etcd now."""
        snapshot = self.snapshot
        if snapshot is None:
            return Record()
        is_promotable = not snapshot.why_not and not snapshot.is_paused
        return Record(snapshot.role in STANDBY_ROLES, is_promotable, snapshot.freshness)

    def reload(self, settings: ElectionSettings) -> None:
        """Use other settings from now on, those that may change while the daemon runs."""
        self.settings = settings
        if self.elector is not None:
            self.elector.reconfigure(settings)

    def stop(self, *, keep_serving: bool = False) -> None:
        """Ask the daemon to end."""
        self.post(ev.StopRequested(keep_serving))

    def crash(self) -> None:
        """Lose the host's power."""
        self._end()
        self.host.lose_power()

    def kill_all(self) -> None:
        """Kill the daemon's processes; mfsmaster, the address and the fence stay as they are."""
        self._end()

    def kill_heartbeat(self) -> None:
        """Kill the heartbeat alone; the worker sees it, kills mfsmaster, finishes its plan and ends."""
        worker, self._worker = self._worker, None
        self._end()
        self._worker = worker
        if worker is None:
            return

        def end() -> None:
            if self._worker is not worker:
                return
            if worker.is_busy:
                self._later(ORPHAN_NS, end)
            else:
                worker.die()
                self._worker = None

        def stop_serving() -> None:
            if self._worker is worker:
                self.host.has_mfsmaster = self.host.is_hung = False
                self.host.kernel.vip_until_ns = 0
                end()

        self._later(ORPHAN_NS, stop_serving)

    def kill_worker(self) -> None:
        """Kill the worker; the heartbeat sees it, gives up what it holds, and ends."""
        if self._worker is None:
            return
        self._worker.die()
        self._worker = None
        self._tell(ev.StopRequested())
        self._tell(ev.WorkerLost())
        self._end()

    def pause(self, duration_ns: int) -> None:
        """Take the processor away from the process for a while; its host goes on."""
        self.paused_until_ns = max(self.paused_until_ns, self._agenda.now_ns + duration_ns)
        self._agenda.at(self.paused_until_ns, self._round)

    def freeze(self, duration_ns: int) -> None:
        """Let the whole host stand still, its clock included."""
        clock = self.host.clock
        if clock.stands_since_ns is not None:
            return
        self.host.excused_until_ns = self.host.asked_until_ns
        clock.stop(self._agenda)
        self._agenda.after(duration_ns, self.thaw)

    def thaw(self) -> None:
        """Let a frozen host go on."""
        self.host.clock.go_on(self._agenda)
        self.ear.stamp_anew(self.now_ns)
        self._wake()

    def lose_worker(self) -> None:
        """Kill the worker process and keep the heartbeat."""
        if self._worker is not None and self.elector is not None:
            self._worker.die()
            self._worker = None
            self.post(ev.WorkerLost())

    def set_link(self, *, is_up: bool) -> None:
        """Pull the cable or plug it in."""
        if self.host.has_link != is_up:
            self.host.has_link = is_up
            self.post(ev.LinkChanged(is_up))

    def kill_mfsmaster(self) -> None:
        """Kill the host's mfsmaster; the worker sees it at once, and allows one restart in place."""
        if self.host.has_mfsmaster:
            self.host.has_mfsmaster = self.host.is_hung = False
            self._lose_mfsmaster()

    def hang_mfsmaster(self, duration_ns: int, noticed_after_ns: int) -> None:
        """Let mfsmaster answer nobody for a while; the worker notices after some time."""
        start = self.host.starts
        if not self.host.has_mfsmaster or self.host.is_hung:
            return
        self.host.is_hung = True

        def notice() -> None:
            if self.host.is_hung and self.host.starts == start:
                self._lose_mfsmaster()

        def go_on() -> None:
            if self.host.starts == start:
                self.host.is_hung = False

        self._later(noticed_after_ns, notice)
        self.host.after(duration_ns, go_on)

    def _lose_mfsmaster(self) -> None:
        if self._worker is None or self.role not in (Role.MASTER, Role.SUSPENDED):
            return
        now_ns = self.now_ns
        may_restart = self._restarted_ns is None or now_ns - self._restarted_ns >= RESTART_AGAIN_AFTER_NS
        if may_restart:
            self._restarted_ns = now_ns
        self.post(ev.MfsmasterLost(may_restart))

    def _end(self) -> None:
        self.elector = None
        self._life += 1
        self._armed_ns, self._is_waking = None, False
        self.ear.clear()
        self._mailbox.clear()
        if self._worker is not None:
            self._worker.die()
            self._worker = None

    def _hear(self, datagram: Datagram) -> None:
        if self.elector is not None and self.host.has_link:
            self.ear.take(datagram, self.now_ns)
            self._wake()

    def post(self, event: ev.Event) -> None:
        """Let the heartbeat take in an event of its worker, or from elsewhere."""
        if self.elector is not None:
            self._mailbox.append(event)
            self._wake()

    def _wake(self) -> None:
        if self._is_waking or self.is_paused:
            return
        self._is_waking = True
        self._later(self._rng.randint(0, self.host.habits.wake_ns), self._round)

    def _later(self, delay_ns: int, action: Action) -> None:
        life = self._life

        def happen() -> None:
            if life == self._life:
                action()

        self.host.after(delay_ns, happen)

    def _round(self) -> None:
        self._is_waking = False
        if self.is_paused or self.elector is None or self.host.clock.stands_since_ns is not None:
            return
        for event in self.ear.drain(self.name, self._observer.mark):
            self._tell(event)
        while self._mailbox:
            event = self._mailbox.popleft()
            if isinstance(event, ev.PromotionReady):
                self._asked_term = event.term
            self._tell(event)
        self._judge_deadline()
        self._arm()

    def _judge_deadline(self) -> None:
        deadline_ns = self.elector.next_deadline() if self.elector else None
        if deadline_ns is not None and self.now_ns >= deadline_ns:
            self._tell(ev.TimeAdvanced(self.now_ns - deadline_ns))

    def _arm(self) -> None:
        deadline_ns = self.elector.next_deadline() if self.elector else None
        if deadline_ns is None or deadline_ns == self._armed_ns:
            return
        self._armed_ns = deadline_ns

        def ring() -> None:
            if self._armed_ns == deadline_ns:
                self._armed_ns = None
                self._round()

        self._later(self.host.until_ns(deadline_ns), ring)

    def _tell(self, event: ev.Event) -> None:
        if self.elector is None:
            return
        effects = self.elector.handle(event, self.now_ns)
        for done, effect in enumerate(effects, start=1):
            self._perform(effect)
            if self.elector is None:  # the host has lost its power at a write
                self._observer.decided(self, event, effects[:done])
                return
        self._observer.decided(self, event, effects)
        self._answer_attach()
        if any(isinstance(effect, fx.Stopped) for effect in effects):
            self._end()  # the worker would finish what runs; here it is cut short

    def _answer_attach(self) -> None:
        """Answer a promotion that has asked for the address: when it is here, or when it will not come any more."""
        is_held = self.host.holds_vip and self.role is Role.MASTER
        if self._asked_term is None or self._worker is None or (self.role is Role.PROMOTING and not is_held):
            return
        term, self._asked_term = self._asked_term, None
        self._worker.answer_attach(term, is_attached=is_held)

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Send(advert=advert):
                self._send(advert)
            case fx.AttachVip():
                self.host.kernel.attach(self.now_ns, has_fence=self._is_fenced)
            case fx.RenewLease(until_ns=until_ns):
                self.host.kernel.renew(until_ns, self.now_ns)
            case fx.DetachVip():
                self.host.kernel.detach(has_fence=self._is_fenced)
            case fx.Transition(role=Role.MASTER):
                self.host.data.write(self.host.serving_term, 0)
                if not self.host.has_mfsmaster:
                    self._lose_mfsmaster()
            case fx.AnnounceVip() | fx.Transition() | fx.Stopped() | fx.SwitchoverEnded():
                pass
            case _ if self._worker is not None:
                self._worker.obey(effect)

    def _send(self, advert: Advert) -> None:
        if advert.hold_ms:
            self.host.asked_until_ns = max(self.host.asked_until_ns, self.now_ns + advert.hold_ms * NS_PER_MS)
        if self.host.has_link:
            content = self._dialect.say(advert, self._encoder, self.member.address, is_sealed=self._is_sealed)
            self._network.broadcast(self.name, content, self.member.address)
