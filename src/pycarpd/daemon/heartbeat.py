"""The heartbeat process: one thread, epoll and a timerfd around the Elector; owns the virtual addresses.

Everything it waits for arrives on a descriptor; nothing it does waits for a disk, a fork, a log or a script. In each
round the advert socket is drained before anything is judged, and a deadline that has come is told to the Elector only
then, together with how late it is. Only a MASTER that is in time interrupts the draining to advertise: a flood must not
silence it, and repeating what it said a moment ago decides nothing. What needs a disk or a process is asked of the
worker.
"""

import dataclasses
import logging
from ipaddress import ip_interface
from typing import assert_never

from pycarpd.daemon import messages as msg
from pycarpd.daemon import news
from pycarpd.daemon.channel import Closed
from pycarpd.daemon.connections import ConnectionBook
from pycarpd.daemon.deadman import Deadman
from pycarpd.daemon.fencing import FenceKeeper
from pycarpd.daemon.lateness import Lateness
from pycarpd.daemon.lines import Lines, place
from pycarpd.daemon.ports import Ports
from pycarpd.daemon.punctuality import Punctuality
from pycarpd.daemon.rehearsal import Rehearsal
from pycarpd.daemon.vip import VipKeeper
from pycarpd.daemon.waiting import Waiter
from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.elector import Elector
from pycarpd.election.model import Advert, Flags, Persistent, PlainAdvert, Role
from pycarpd.election.node import Identity
from pycarpd.linux.advert_socket import Datagram
from pycarpd.linux.clock import boottime_ns
from pycarpd.settings import DaemonSettings
from pycarpd.wire.codec import CodecSettings, Encoder
from pycarpd.wire.keys import KeyRing
from pycarpd.wire.receiver import Receiver
from pycarpd.wire.trailer import Beside
from pycarpd.wire.verdict import Verdict

STATUS_EVERY_NS = 250_000_000
CLAIM_NS = 20_000_000
"""For so long a candidate computes nothing that its voters do not wait for."""
RESTING = frozenset({Role.INIT, Role.BACKUP, Role.FAULT})


class Heartbeat:
    """The loop and what it holds together; ``run`` returns when the election has ended here."""

    def __init__(
        self,
        settings: DaemonSettings,
        codec: CodecSettings,
        identity: Identity,
        persistent: Persistent,
        lines: Lines,
        punctuality: Punctuality,
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._source = settings.election.me.address
        self._encoder = Encoder(codec)
        self._receiver = Receiver(codec, identity.epoch, identity.nonce)
        self._elector = Elector(punctuality.promised(settings.election), identity, persistent)
        self._worker = lines.worker
        self._votes = lines.votes
        self._supervisor = lines.supervisor
        self._punctuality = punctuality
        self._ports = Ports(settings, self._log)
        cidrs = settings.virtual_addresses
        self._fence = FenceKeeper(settings.interface, tuple(str(ip_interface(c).ip) for c in cidrs), self._log)
        self._vip = VipKeeper(settings.interface, cidrs, self._ports.announce, self._log, self._fence)
        self._deadman = Deadman(settings.watchdog, settings.watchdog_device, settings.run_dir, self._log)
        self._book = ConnectionBook(len(settings.election.members))
        self._lateness = Lateness()
        self._waiter = Waiter()
        self._rehearsal = Rehearsal(settings.election, codec)
        self._watched: tuple[int, bool] | None = None
        self._status_due_ns = 0
        self._adverts_sent = 0
        self._has_files = True  # until the files were looked at
        self._is_supervised = True
        self._asked_term: int | None = None
        self._exports_digest = 0
        self._is_over = False

    def run(self) -> None:
        """Take part in the election until it has ended here."""
        now_ns = boottime_ns()
        self._ports.refresh(now_ns)
        self._deadman.take_over()
        if not self._settings.election.me.is_witness:
            self._fence.prepare(is_address_present=self._vip.is_present())
        self._tell(ev.LinkChanged(self._ports.is_up), now_ns)
        self._supervisor.send(msg.ReadyNews())
        while not self._is_over:
            self._watch()
            planned_ns = self._planned_ns()
            self._waiter.wait(planned_ns)
            self._round(planned_ns)
        self._deadman.disarm()
        if not self._vip.is_attached and not self._worker.is_closed:
            self._fence.remove()  # whoever puts the address here next answers for it
        self._tell_status(boottime_ns())
        self._worker.send(msg.Goodbye())

    def _watch(self) -> None:
        """Wait on the descriptors that are open now: others only after sockets were opened anew."""
        wanted = (self._ports.opened, self._is_supervised)
        if wanted != self._watched:
            self._watched = wanted
            supervisor = (self._supervisor.fileno(),) if self._is_supervised else ()
            fixed = (self._worker.fileno(), self._votes.fileno())
            self._waiter.watch((*fixed, *supervisor, *self._ports.filenos()))

    def _planned_ns(self) -> int:
        others = (self._ports.retry_ns, self._status_due_ns, self._rehearsal.next_deadline())
        planned = (self._elector.next_deadline(), self._vip.next_deadline(), *others)
        return min(p for p in planned if p is not None)

    def _round(self, planned_ns: int) -> None:
        """Take in everything that is there, adverts first; judge deadlines last."""
        self._drain_adverts()
        self._read_link()
        ready = self._waiter.ready
        if self._votes.fileno() in ready or self._votes.is_closed:
            self._read_votes()
        if self._worker.fileno() in ready or self._worker.is_closed:
            self._read_worker()
        if self._supervisor.fileno() in ready:
            self._read_supervisor()
        now_ns = boottime_ns()
        if now_ns >= planned_ns:
            self._lateness.note(now_ns - planned_ns)
        deadline_ns = self._elector.next_deadline()
        if deadline_ns is not None and now_ns >= deadline_ns and not self._is_over:
            self._tell(ev.TimeAdvanced(now_ns - deadline_ns), now_ns)
        self._vip.on_time(now_ns)
        self._deadman.feed(now_ns, is_safe=self._vip.is_safe(now_ns))
        self._rehearsal.on_time(now_ns)
        if now_ns >= self._status_due_ns:
            self._vip.prepare()
            self._rehearsal.prepare(now_ns)
            self._tell_status(now_ns)

    def _drain_adverts(self) -> None:
        claim_due_ns = self._elector.claim_due_ns
        is_late = claim_due_ns is not None and boottime_ns() - claim_due_ns >= self._settings.election.late_wake_ns
        for datagram in self._ports.datagrams():
            self._hear(datagram)
            claim_due_ns = self._elector.claim_due_ns
            if claim_due_ns is not None and not is_late and boottime_ns() >= claim_due_ns:
                break
        if self._ports.has_lost_datagrams():
            self._tell(ev.AdvertsLost(), boottime_ns())

    def _hear(self, datagram: Datagram) -> None:
        received = self._receiver.receive(datagram.payload, datagram.source, datagram.ttl)
        match received.advert:
            case Advert() as advert:
                self._on_advert(advert, datagram.source, received.verdict, datagram.received_ns)
            case PlainAdvert() as plain:
                self._tell(ev.PlainAdvertHeard(plain, datagram.source, datagram.received_ns), boottime_ns())
            case None if received.verdict is Verdict.OWN_NAME:
                self._tell(ev.NameClaimed(), boottime_ns())

    def _on_advert(self, advert: Advert, source: bytes, verdict: Verdict, received_ns: int) -> None:
        now_ns = boottime_ns()
        is_proven = verdict is Verdict.ACCEPTED
        if is_proven and advert.role is Role.MASTER:
            self._book.heard(advert.node_id, advert.connections)
            self._rehearsal.master_heard(received_ns, advert.hold_ms)
        self._tell(ev.AdvertHeard(advert, source, is_proven, received_ns), now_ns)

    def _read_link(self) -> None:
        ready, now_ns = self._waiter.ready, boottime_ns()
        is_retry_due = self._ports.retry_ns is not None and now_ns >= self._ports.retry_ns
        if not is_retry_due and ready.isdisjoint(self._ports.link_filenos()):
            return
        self._vip.forget()
        removed, is_link_news = self._ports.removed_addresses()
        if (is_link_news or is_retry_due) and self._ports.refresh(now_ns):
            self._log(logging.WARNING, f"interface={self._settings.interface} up={self._ports.is_up}")
            if self._ports.is_up and not self._settings.election.me.is_witness:
                self._fence.install()
            if self._vip.is_attached and self._ports.is_up:  # the interface went and came between two looks
                self._vip.attach(now_ns)
            self._tell(ev.LinkChanged(self._ports.is_up), now_ns)
        for cidr in removed:
            self._vip.on_removed(cidr, now_ns)
        own = self._settings.virtual_addresses
        if any(c.vip == cidr.split("/")[0] for c in self._ports.claims() for cidr in own):
            self._tell(ev.VipClaimed(), now_ns)

    def _read_votes(self) -> None:
        while not self._is_over and (message := self._votes.receive()) is not None:
            if isinstance(message, msg.Persisted):
                self._tell(ev.StatePersisted(message.persistent), boottime_ns())
            else:
                self._lose_worker()

    def _lose_worker(self) -> None:
        self._tell(ev.WorkerLost(), boottime_ns())  # says at once that it serves no more
        self._is_over = True

    def _read_worker(self) -> None:
        while not self._is_over and (message := self._worker.receive()) is not None:
            now_ns = boottime_ns()
            if isinstance(message, msg.EarlyAddress):
                if self._fence.is_usable:  # without it only the address's lifetime would end what the lease allowed
                    self._tell(ev.AddressWanted(message.term), now_ns)
                continue
            if isinstance(message, Closed):
                self._lose_worker()
                return
            if isinstance(message, msg.HandoverReport | msg.ArbiterReport):
                self._tell(message, now_ns)
            else:
                self._on_worker(message, now_ns)

    def _on_worker(self, message: msg.Message, now_ns: int) -> None:
        match message:
            case msg.WorkerHello(mfsmaster_serves=serves):
                self._tell(ev.WorkerReady(serves, self._vip.is_present()), now_ns)
            case msg.AttachRequest(term=term, version=version):
                self._asked_term = term
                self._tell(ev.PromotionReady(term, version), now_ns)
            case msg.PlanEnded(is_promotion=True, term=term, is_ok=is_ok):
                self._tell(ev.PromotionFinished(term, is_ok), now_ns)
            case msg.PlanEnded(term=term, is_ok=is_ok):
                self._tell(ev.DemotionFinished(term, is_ok), now_ns)
            case msg.StandbyNews(term=term, is_ok=is_ok, has_archived=has_archived):
                self._tell(ev.StandbyMade(term, is_ok, has_archived), now_ns)
            case msg.MfsmasterGone(may_restart=may_restart):
                self._tell(ev.MfsmasterLost(may_restart), now_ns)
            case msg.FreshnessNews(freshness=freshness, why_not=why_not):
                self._exports_digest, self._has_files = message.exports_digest, message.has_files
                why_not = why_not or self._deadman.why_not
                self._tell(ev.FreshnessKnown(freshness, why_not, message.has_files, message.is_settled), now_ns)
            case msg.ConnectionsNews(connections=connections):
                self._book.set_own(connections)
            case msg.OperatorNews(command=command):
                self._tell(ev.Commanded(ev.OperatorCommand(command)), now_ns)
            case _:
                self._log(logging.ERROR, f"unexpected message from the worker type={type(message).__name__}")

    def _read_supervisor(self) -> None:
        while self._is_supervised and not self._is_over and (message := self._supervisor.receive()) is not None:
            now_ns = boottime_ns()
            match message:
                case msg.StopOrder(keep_serving=keep_serving):
                    self._tell(ev.StopRequested(keep_serving), now_ns)
                case msg.SettingsNews(text=text):
                    self._reload(DaemonSettings.from_json(text))
                case _:
                    # End-of-file stays readable for ever: listened to, it would keep this loop spinning.
                    self._is_supervised = False
                    self._log(logging.ERROR, "the supervisor is gone, handing over")
                    self._tell(ev.StopRequested(), now_ns)

    def _reload(self, settings: DaemonSettings) -> None:
        keyring = KeyRing.parse(settings.key_text)
        if not isinstance(keyring, KeyRing):
            self._log(logging.ERROR, f"keys not reloaded: {keyring}")
            return
        self._codec = dataclasses.replace(self._codec, keyring=keyring)
        self._encoder = Encoder(self._codec)
        self._receiver.use_keys(keyring)
        self._elector.reconfigure(self._punctuality.promised(settings.election))
        self._rehearsal = Rehearsal(settings.election, self._codec)
        self._log(logging.INFO, "settings reloaded")

    def _tell(self, event: ev.Event, now_ns: int) -> None:
        """Let the Elector decide, and carry out what it decided.

        In its order, but for what others wait for: a state is on its way to the disk, an address where it belongs,
        before anybody is told of the role that goes with it; and the peers are told before this host's worker.
        """
        effects = self._elector.handle(event, now_ns)
        for effect in sorted(effects, key=place) if len(effects) > 1 else effects:
            self._perform(effect, now_ns)
        self._answer_attach()

    def _answer_attach(self) -> None:
        """Answer a promotion that has asked for the address: when it is here, or when it will not come any more.

        A MASTER on whose interface no address can be put serves nobody: refused, it makes room for the next node.
        """
        if self._asked_term is None or self._elector.role is Role.PROMOTING:
            return
        self._worker.send(msg.AttachAnswer(self._asked_term, self._vip.has_address))
        self._asked_term = None

    def _perform(self, effect: fx.Effect, now_ns: int) -> None:  # noqa: C901 - one branch an effect
        match effect:
            case fx.Send(advert=advert):
                self._send(advert, now_ns)
            case fx.RenewLease(until_ns=until_ns):
                self._vip.renew(until_ns, now_ns)
            case fx.AttachVip(until_ns=until_ns):
                self._deadman.arm()  # an adopted mfsmaster has had no promotion
                self._vip.renew(until_ns, now_ns)
                self._vip.attach(now_ns)
            case fx.DetachVip():
                self._vip.detach()
            case fx.Persist(persistent=persistent):
                self._votes.send(msg.PersistRequest(persistent))
            case fx.AnnounceVip(after_ns=after_ns):
                self._vip.announce(after_ns, now_ns)
            case fx.Transition():
                self._on_transition(effect, now_ns)
            case fx.Stopped():
                self._is_over = True
            case (
                fx.HoldClients()
                | fx.ConfirmHandover()
                | fx.LevelFiles()
                | fx.EndHandover()
                | fx.Speculate()
                | fx.CancelSpeculation()
                | fx.AskArbiter()
                | fx.ReleaseTerm()
            ):
                self._worker.send(effect)
            case fx.SwitchoverEnded(code=code, detail=detail, successor=successor):
                name = news.name_of(self._settings.election, successor)
                self._worker.send(msg.SwitchoverNews(code, detail, name))
            case _:
                self._worker.send(self._request(effect, now_ns))

    def _request(
        self,
        effect: fx.StartPromotion | fx.AbortPromotion | fx.StartDemotion | fx.PreserveFiles,
        now_ns: int,
    ) -> msg.ToWorker:
        match effect:
            case fx.StartPromotion(term=term) if not self._deadman.arm():
                return msg.AbortRequest(term)
            case fx.StartPromotion():
                seen, known = self._elector.snapshot(now_ns), self._book.known()
                return news.promote_request(self._settings, seen, effect, known, self._vip.is_attached, now_ns)
            case fx.AbortPromotion(term=term):
                return msg.AbortRequest(term)
            case fx.StartDemotion():
                seen = self._elector.snapshot(now_ns)
                return news.demote_request(self._settings.election, seen.peers, effect, seen.lineage)
            case fx.PreserveFiles(term=term):
                return msg.PreserveRequest(term)
            case _:
                assert_never(effect)

    def _send(self, advert: Advert, now_ns: int) -> None:
        connections = self._book.to_tell() if advert.role is Role.MASTER else ()
        beside = Beside(connections, self._exports_digest, self._has_files)
        payload = self._encoder.encode(advert, self._source, beside)
        self._adverts_sent += 1
        if self._ports.send(payload, advert.role):
            self._tell(ev.SendingFailed(self._ports.is_failing), now_ns)
        if Flags.RESIGNED in advert.flags and not self._settings.election.strict:
            self._ports.send_to_group(payload)

    def _on_transition(self, transition: fx.Transition, now_ns: int) -> None:
        self._log(
            logging.WARNING,
            f"role={transition.role.name} was={transition.was.name} term={transition.term} "
            f'cause="{transition.cause.value}"',
        )
        master = news.name_of(self._settings.election, self._elector.snapshot(now_ns).master_id)
        told = msg.TransitionNews(transition.was, transition.role, transition.cause, transition.term, master)
        self._worker.send(told)
        self._status_due_ns = now_ns + (CLAIM_NS if transition.role is Role.PROMOTING else 0)
        if transition.role in RESTING:
            self._deadman.disarm()

    def _tell_status(self, now_ns: int) -> None:
        self._status_due_ns = now_ns + STATUS_EVERY_NS
        if (promised := self._punctuality.changed()) is not None:
            self._elector.reconfigure(promised)
        counters = tuple((v.name.lower(), n) for v, n in self._receiver.counters.items() if n)
        self._worker.send(
            news.status_news(
                self._elector.snapshot(now_ns),
                self._settings.election,
                now_ns,
                vip_held=self._vip.is_attached,
                fence_open=self._fence.is_open(now_ns),
                degradations=self._punctuality.degradations(self._fence.degradation, self._deadman.degradation),
                counters=(*counters, *self._ports.counters(), (msg.LATENESS_SUM_US, self._lateness.sum_us)),
                lateness_us=self._lateness.counts(),
                adverts_sent=self._adverts_sent,
                messages_dropped=self._worker.dropped,
                exports_digest=self._exports_digest,
            )
        )

    def _log(self, level: int, text: str) -> None:
        self._worker.send(msg.LogNews(level, text))
