"""The election: what a node decides, given what it has heard. Pure; time comes in as an argument.

Theory of operation. A BACKUP that has heard no claim for the master-down interval, and whose own files prove that it
could serve, opens a new term: it persists the term, then advertises PROMOTING while the worker restores the metadata
and starts mfsmaster, and takes the virtual address only when mfsmaster answers with the expected version. Whoever
meets a better claim on the way gives up before anything is served. A MASTER gives way to a MASTER of a newer term, and
to any proof that a newer term was served; it does not give way to a candidate, since nothing is served there yet.

A MASTER that loses its link, or wakes so late that another may have taken over, becomes SUSPENDED: the address goes
first, mfsmaster stays. When it can hear again it listens for the time in which any successor must have advertised; if
there is none it serves on without a restart. DEMOTING ends with a resignation (CARP's 255/255), sent only when no
mfsmaster runs here any more, so that a successor may start at once.

Rules for callers: drain the receive queue before ``TimeAdvanced`` (a deadline is judged only on all that was heard),
and say AdvertsLost if it was full; carry out effects in order; report every Persist with StatePersisted, for nothing
that depends on it is sent before.
"""

from dataclasses import replace
from typing import assert_never

from pycarpd.election import (
    early,
    granting,
    handover,
    hearing,
    lineage,
    orders,
    quorum,
    roles,
    settling,
    speculation,
    support,
    turns,
)
from pycarpd.election.effects import AnnounceVip, Effect, StartDemotion, StartPromotion, Stopped
from pycarpd.election.events import (
    AddressWanted,
    AdvertHeard,
    AdvertsLost,
    ClientsHeld,
    Commanded,
    DemotionFinished,
    Event,
    FilesLevel,
    FreshnessKnown,
    HandoverConfirmed,
    HandoverFailed,
    LinkChanged,
    MfsmasterLost,
    NameClaimed,
    PlainAdvertHeard,
    PromotionFinished,
    PromotionReady,
    SendingFailed,
    StandbyMade,
    StatePersisted,
    StopRequested,
    SwitchoverAsked,
    TermGranted,
    TermLost,
    TimeAdvanced,
    VipClaimed,
    WorkerLost,
    WorkerReady,
)
from pycarpd.election.model import CONTENDING, Cause, Persistent, Role
from pycarpd.election.node import Fault, Identity, Node
from pycarpd.election.peers import PeerTable
from pycarpd.election.settings import ElectionSettings
from pycarpd.election.snapshot import Snapshot, snapshot_of

ADOPTION_EXTENSIONS_MAX = 3


class Elector:
    """One node's part in the election."""

    def __init__(self, settings: ElectionSettings, identity: Identity, persistent: Persistent) -> None:
        peers = PeerTable(settings.members, settings.node_id, identity.nonce)
        peers.masterships.note_served(persistent.served_term)
        self._node = Node(settings, identity, persistent, peers, faults={Fault.WORKER})
        self._planned: list[int] | None = None
        """The deadlines as the last event has left them; None until somebody asks."""

    @property
    def role(self) -> Role:
        """Return the present role."""
        return self._node.role

    def handle(self, event: Event, now_ns: int) -> tuple[Effect, ...]:
        """Take in one event and return what is to be done about it, in order."""
        node = self._node
        self._planned = None
        node.effects = []
        if not node.started_ns:
            node.started_ns = now_ns
            quorum.bind_after_restart(node, now_ns)
        node.waited_until_ns = now_ns
        early.judge_lease(node, now_ns)  # before the event, which may make it send
        self._dispatch(event, now_ns)
        handover.settle(node, now_ns)
        granting.settle(node)
        speculation.settle(node, now_ns)
        return tuple(node.effects)

    def next_deadline(self) -> int | None:
        """Return when to call with TimeAdvanced next, None if nothing is planned."""
        if self._planned is None:
            self._planned = [d for d in self._deadlines() if d is not None]
        return min(self._planned, default=None)

    def _deadlines(self) -> tuple[int | None, ...]:
        node = self._node
        return (
            node.advert_due_ns,
            node.master_deadline_ns,
            node.listen_deadline_ns,
            node.name_deadline_ns,
            node.election_deadline_ns,
            node.standby.retry_ns,
            node.handing.deadline_ns if node.handing is not None else None,
            node.lease_deadline_ns(),
            self._no_master_ns(),
            node.start_wait_ns(),
            speculation.due_ns(node),
            settling.due_ns(node),
        )

    @property
    def claim_due_ns(self) -> int | None:
        """Return when this node is to repeat that it serves, None if it does not serve."""
        return self._node.advert_due_ns if self._node.role is Role.MASTER else None

    def reconfigure(self, settings: ElectionSettings) -> None:
        """Use new timing, priority and preemption from now on; identity and members stay."""
        self._planned = None
        self._node.settings = self._node.settings.reloaded(settings)

    def snapshot(self, now_ns: int) -> Snapshot:
        """Return what the election believes now."""
        return snapshot_of(self._node, now_ns)

    def _dispatch(self, event: Event, now_ns: int) -> None:  # noqa: C901, PLR0912, PLR0915 - one branch an event
        node = self._node
        match event:
            case AdvertHeard():
                hearing.on_advert(node, event, now_ns)
            case PlainAdvertHeard():
                hearing.on_plain_advert(node, event, now_ns)
            case TimeAdvanced(late_ns=late_ns):
                self._on_time(late_ns, now_ns)
            case AdvertsLost():
                node.has_lost_adverts = True
            case LinkChanged(is_up=is_up):
                self._on_link(is_up, now_ns)
            case WorkerReady():
                self._on_worker_ready(event, now_ns)
            case WorkerLost():
                self._on_worker_lost(now_ns)
            case StatePersisted(persistent=persistent):
                granting.on_durable(node, persistent, now_ns)
            case AddressWanted():
                early.on_wanted(node, event, now_ns)
            case PromotionReady():
                self._on_promotion_ready(event, now_ns)
            case PromotionFinished():
                self._on_promotion_finished(event, now_ns)
            case DemotionFinished():
                self._on_demotion_finished(event, now_ns)
            case StandbyMade():
                lineage.on_standby_made(node, event, now_ns)
            case TermGranted() | TermLost():
                granting.on_event(node, event, now_ns)
            case MfsmasterLost(may_restart=may_restart):
                self._on_mfsmaster_lost(may_restart, now_ns)
            case FreshnessKnown():
                support.on_files(node, event, now_ns)
            case NameClaimed():
                hearing.on_name_claimed(node, now_ns)
            case VipClaimed():
                self._on_vip_claimed()
            case SendingFailed(is_failing=is_failing):
                node.is_sending_failing = is_failing
            case Commanded(command=command):
                orders.on_command(node, command, now_ns)
            case SwitchoverAsked() | ClientsHeld() | HandoverConfirmed() | FilesLevel() | HandoverFailed():
                handover.on_event(node, event, now_ns)
            case StopRequested(keep_serving=keep_serving):
                orders.on_stop(node, now_ns, keep_serving=keep_serving)
            case _:
                assert_never(event)

    def _on_time(self, late_ns: int, now_ns: int) -> None:
        node = self._node
        if node.settings.majority == 1 and node.role is Role.PROMOTING and node.is_ready:
            roles.serve_promoted(node, now_ns)
        if node.name_deadline_ns is not None and now_ns >= node.name_deadline_ns:
            node.name_deadline_ns = None
            node.name_claims = 0
            node.faults.discard(Fault.NAME)
            roles.recover(node, Cause.NAME_CLEARED, now_ns)
        if node.listen_deadline_ns is not None and now_ns >= node.listen_deadline_ns:
            self._on_listened(now_ns)
        speculation.on_time(node, late_ns, now_ns)
        if node.master_deadline_ns is not None and now_ns >= node.master_deadline_ns:
            turns.on_deadline(node, late_ns, now_ns)
        if node.election_deadline_ns is not None and now_ns >= node.election_deadline_ns:
            support.on_election_deadline(node, now_ns)
        if settling.on_time(node, now_ns):
            support.on_support(node, now_ns)
        if node.standby.retry_ns is not None and now_ns >= node.standby.retry_ns:
            lineage.on_retry(node, now_ns)
        handover.on_time(node, now_ns)
        roles.try_promotion(node, now_ns)  # what opens a term tells all that a report would
        no_master_ns = self._no_master_ns()
        if no_master_ns is not None and now_ns >= no_master_ns:
            node.has_told_no_master = True
            node.send(now_ns)
        if node.advert_due_ns is not None and now_ns >= node.advert_due_ns:
            node.send(now_ns)

    def _no_master_ns(self) -> int | None:
        """Return when a BACKUP that hears no claim has to say that it would welcome an election."""
        node = self._node
        if node.settings.majority == 1 or node.role is not Role.BACKUP or node.has_told_no_master:
            return None
        return max(node.follow_until_ns, node.promise_until_ns)

    def _on_listened(self, now_ns: int) -> None:
        """End a time of listening: serve (on), unless somebody else was heard to."""
        node = self._node
        node.listen_deadline_ns = None
        if node.role is Role.PROMOTING:
            roles.begin_plan(node, now_ns)
            return
        if node.was_blind():
            node.listen_deadline_ns = now_ns + node.silence_ns()
            return
        if node.role is Role.SUSPENDED:
            roles.become_master(node, Cause.RESTORED, now_ns)
            return
        heard = [p for p in node.peers.all() if p.advert is not None and p.advert.role is Role.MASTER]
        if any(not p.is_proven for p in heard) and node.extensions < ADOPTION_EXTENSIONS_MAX:
            node.extensions += 1
            node.listen_deadline_ns = now_ns + roles.widest_interval_ns(node)
        elif (
            any(p.is_proven for p in heard)
            or node.hears_plain(now_ns)
            or node.persistent.served_term > node.served_at_start
        ):
            node.adopts = False  # what runs here has missed what another has served, or is served by another now
            roles.become_backup(node, Cause.STARTED, now_ns)
        else:
            self._adopt(now_ns)

    def _adopt(self, now_ns: int) -> None:
        node = self._node
        persistent = node.persistent
        is_own_term = 0 < persistent.served_term == persistent.term and quorum.is_vote_free(node, persistent.term)
        term = persistent.term if is_own_term else persistent.term + 1
        if node.settings.majority > 1:
            node.move(Cause.ADOPTING, now_ns)
            node.advert_due_ns = None
        if node.settings.asks_arbiter:
            node.claimed_term = persistent.term + 1
            quorum.ask_arbiter(node, is_adoption=True)
            return
        roles.claim_term(node, term, now_ns)

    def _on_link(self, is_up: bool, now_ns: int) -> None:
        node = self._node
        was_known = node.has_link is not None
        node.has_link = is_up
        if is_up:
            node.faults.discard(Fault.LINK)
            if node.role is Role.SUSPENDED and node.listen_deadline_ns is None:
                roles.listen(node, now_ns)
            roles.recover(node, Cause.LINK_UP, now_ns)
            if not was_known:
                self._start(now_ns)
        else:
            node.faults.add(Fault.LINK)
            self._lose_link(now_ns)

    def _lose_link(self, now_ns: int) -> None:
        node = self._node
        match node.role:
            case Role.MASTER:
                roles.suspend(node, Cause.LINK_DOWN, now_ns)
            case Role.SUSPENDED:
                node.listen_deadline_ns = None
            case Role.PROMOTING:
                roles.demote(node, Cause.LINK_DOWN, now_ns)
            case Role.BACKUP:
                roles.settle_faults(node, now_ns)
            case Role.INIT:
                self._start(now_ns)
            case _:
                pass

    def _on_worker_ready(self, event: WorkerReady, now_ns: int) -> None:
        node = self._node
        node.faults.discard(Fault.WORKER)
        node.adopts = event.mfsmaster_serves
        if node.role is Role.INIT:
            node.listen_deadline_ns = 0 if event.mfsmaster_serves and event.vip_is_held else None
            self._start(now_ns)
        else:
            roles.recover(node, Cause.WORKER_READY, now_ns)

    def _start(self, now_ns: int) -> None:
        """Leave INIT once both the link and the worker are known."""
        node = self._node
        if node.role is not Role.INIT or node.has_link is None or Fault.WORKER in node.faults:
            return
        if Fault.LINK in node.faults:
            node.give_up_address()  # one that an earlier run has left behind
            roles.fall_silent(node, Cause.LINK_DOWN, now_ns)
        elif node.listen_deadline_ns is not None:
            node.listen_deadline_ns = now_ns + node.settings.interval_ns
            node.send(now_ns)
        else:
            roles.become_backup(node, Cause.STARTED, now_ns)
            node.send(now_ns)

    def _on_worker_lost(self, now_ns: int) -> None:
        node = self._node
        node.faults.add(Fault.WORKER)
        if node.role is Role.INIT:  # what runs here is asked for again when a worker is back
            node.listen_deadline_ns = None
            node.claimed_term = 0
            return
        if node.role is Role.FAULT:
            return
        roles.fall_silent(node, Cause.WORKER_LOST, now_ns)
        if node.is_stopping:
            node.emit(Stopped())

    def _on_promotion_ready(self, event: PromotionReady, now_ns: int) -> None:
        node = self._node
        if node.role is not Role.PROMOTING or event.term != node.claimed_term:
            return
        if event.version and node.promoted is not None:
            node.promoted = replace(node.promoted, version=event.version)
        node.ready_version = event.version
        if node.settings.majority > 1:
            node.is_ready = True
            support.on_support(node, now_ns)
        elif node.advert_due_ns is not None and now_ns - node.advert_due_ns >= node.settings.late_wake_ns:
            node.is_ready = True  # said long ago, perhaps: what else the worker has said since comes first
        else:
            roles.serve_promoted(node, now_ns)

    def _on_promotion_finished(self, event: PromotionFinished, now_ns: int) -> None:
        node = self._node
        if event.term != node.claimed_term:
            return
        if node.role is Role.DEMOTING and node.is_aborting:
            node.is_aborting = False
            if event.is_ok:
                node.emit(StartDemotion(event.term, 0))
            else:
                roles.finish_demotion(node, now_ns)
        elif node.role in CONTENDING and not event.is_ok:
            node.raise_demotion(now_ns)
            node.is_plan_over = True
            roles.demote(node, Cause.PROMOTION_FAILED, now_ns)

    def _on_demotion_finished(self, event: DemotionFinished, now_ns: int) -> None:
        node = self._node
        if node.role is Role.DEMOTING and not node.is_aborting and event.term == node.claimed_term:
            if not event.is_ok:
                node.resigned_term = 0
            roles.finish_demotion(node, now_ns)

    def _on_vip_claimed(self) -> None:
        # Not at once: who was cut off hears its successor's announcement before its adverts, and would call clients
        # back. Two intervals also bound how often two hosts with one address answer each other (RFC 5227, 2.4).
        if self._node.role is Role.MASTER:
            self._node.emit(AnnounceVip(2 * self._node.settings.interval_ns))

    def _on_mfsmaster_lost(self, may_restart: bool, now_ns: int) -> None:
        node = self._node
        if node.role is Role.MASTER and may_restart and not node.is_stopping:
            node.give_up_address()
            node.move(Cause.MFSMASTER_LOST, now_ns)
            node.is_plan_started, node.is_plan_over = True, False
            node.is_ready = False
            node.send(now_ns)
            node.emit(StartPromotion(node.claimed_term))
        elif node.role in (Role.MASTER, Role.SUSPENDED):
            node.raise_demotion(now_ns)
            roles.demote(node, Cause.MFSMASTER_FAILS, now_ns)
