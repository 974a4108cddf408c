"""One Elector on a bench: its events, adverts of its peers, and a way into each of its roles."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.elector import Elector
from pycarpd.election.model import (
    Ack,
    Advert,
    Arbiter,
    Cause,
    Flags,
    Freshness,
    Handover,
    Member,
    Persistent,
    PlainAdvert,
    Role,
    TieBreak,
)
from pycarpd.election.node import Identity
from pycarpd.election.settings import ElectionSettings

MS = 1_000_000
S = 1_000_000_000
INTERVAL = 250 * MS
MEMBERS = (
    Member(1, "meta1", bytes([192, 0, 2, 11])),
    Member(2, "meta2", bytes([192, 0, 2, 12])),
    Member(3, "meta3", bytes([192, 0, 2, 13])),
)
ME, SECOND, THIRD = MEMBERS
UCARP = bytes([192, 0, 2, 200])
NONCE = 0xA11CE
FRESH = Freshness(metaid=0x5EED, version=100)
EVENT_TYPES: tuple[type[ev.Event], ...] = ev.Event.__args__


def settings(**changes: Any) -> ElectionSettings:
    usual = ElectionSettings(
        node_id=ME.node_id,
        members=MEMBERS,
        interval_ns=INTERVAL,
        missed_adverts=3,
        priority=128,
        preempt=False,
        arbiter=Arbiter.NONE,
        strict=True,
        tie_break=TieBreak.NUMERIC,
        advbase=1,
        config_digest=1,
    )
    return replace(usual, **changes)


def advert(role: Role, term: int, *, by: Member = SECOND, **changes: Any) -> Advert:
    usual = Advert(
        node_id=by.node_id,
        epoch=1,
        sequence=1,
        nonce=by.node_id * 1000,
        role=role,
        term=term,
        served_term=0,
        interval_us=INTERVAL // 1000,
        hold_ms=0,
        priority=128,
        demotion=0,
        flags=Flags.PROMOTABLE | Flags.SETTLED,
        freshness=FRESH,
        vote_term=0,
        vote_for=0,
        config_digest=1,
        acks=(Ack(ME.node_id, NONCE, 1),),
        advbase=1,
        advskew=126,
    )
    return usual._replace(**changes)


class Bench:
    """An Elector whose state is on disk at once unless ``writes`` is off; effects of the last event are kept.

    Unless ``makes_standby`` is off, the plan that makes this host a standby is over at once, and its files looked at.
    """

    def __init__(self, persistent: Persistent | None = None, **changes: Any) -> None:
        self.elector = Elector(settings(**changes), Identity(7, NONCE), persistent or Persistent(5, 5))
        self.now = 100 * S
        self.writes = True
        self.makes_standby = True
        self.effects: list[fx.Effect] = []
        self.causes: list[tuple[Role, Cause]] = []
        self._sequence = 100

    def role(self) -> Role:
        return self.elector.snapshot(self.now).role

    @property
    def term(self) -> int:
        return self.elector.snapshot(self.now).term

    def tell(self, event: ev.Event) -> list[fx.Effect]:
        """Handle an event and what it makes the disk report; return all effects."""
        self.effects = []
        self._handle(event)
        return self.effects

    def wait(self, duration_ns: int) -> list[fx.Effect]:
        """Let time pass with every deadline met in time; return all effects."""
        end, seen = self.now + duration_ns, []
        while (deadline := self.elector.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            seen += self.tell(ev.TimeAdvanced())
        self.now = end
        self.effects = seen
        return seen

    def hear(
        self, role: Role, term: int, *, by: Member = SECOND, is_proven: bool = True, **changes: Any
    ) -> list[fx.Effect]:
        """Hear a member's advert, newer than all before."""
        self._sequence += 1
        said = advert(role, term, by=by, **({"sequence": self._sequence} | changes))
        return self.tell(ev.AdvertHeard(said, by.address, is_proven, self.now))

    def support(self, *, by: Member = SECOND, **changes: Any) -> list[fx.Effect]:
        """Hear a voter that has this node's newest advert and has voted for its claim."""
        node = self.elector._node
        vote = {"vote_term": node.claimed_term, "vote_for": ME.node_id}
        acks = (Ack(ME.node_id, NONCE, node.sequence),)
        return self.hear(Role.BACKUP, node.claimed_term, by=by, acks=acks, **(vote | changes))

    def hear_plain(self, advbase: int, advskew: int) -> list[fx.Effect]:
        """Hear a ucarp host."""
        return self.tell(ev.PlainAdvertHeard(PlainAdvert(advbase, advskew, 1), UCARP, self.now))

    def got(self, kind: type[fx.Effect]) -> list[Any]:
        """Return the effects of that kind among the last ones."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def _handle(self, event: ev.Event) -> None:
        for effect in self.elector.handle(event, self.now):
            self.effects.append(effect)
            if isinstance(effect, fx.Transition):
                self.causes.append((effect.was, effect.cause))
            if isinstance(effect, fx.Persist) and self.writes:
                self._handle(ev.StatePersisted(effect.persistent))
            if isinstance(effect, fx.StartDemotion) and effect.successor and self.makes_standby:
                self._handle(ev.StandbyMade(effect.term, is_ok=True))
                self._handle(ev.FreshnessKnown(FRESH, ""))


def in_init(**changes: Any) -> Bench:
    return Bench(**changes)


def in_backup(**changes: Any) -> Bench:
    bench = Bench(**changes)
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    for other in (SECOND, THIRD):
        bench.hear(Role.BACKUP, 5, by=other)
    return bench


def in_promoting(**changes: Any) -> Bench:
    bench = in_backup(**changes)
    bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING
    return bench


def in_master(**changes: Any) -> Bench:
    bench = in_promoting(**changes)
    bench.tell(ev.PromotionReady(bench.term))
    bench.tell(ev.PromotionFinished(bench.term, is_ok=True))
    assert bench.role() is Role.MASTER
    return bench


def finish_handover(bench: Bench, *, by: Member = SECOND) -> Bench:
    """Let the handover that has begun go on to the moment at which the role is given away."""
    bench.tell(ev.ClientsHeld(bench.term, FRESH.version))
    bench.hear(Role.BACKUP, bench.term, by=by, handover=Handover(ME.node_id, FRESH.version))
    bench.tell(ev.HandoverConfirmed(bench.term))
    return bench


def in_suspended(**changes: Any) -> Bench:
    bench = in_master(**changes)
    bench.tell(ev.LinkChanged(is_up=False))
    assert bench.role() is Role.SUSPENDED
    return bench


def in_demoting(**changes: Any) -> Bench:
    bench = in_master(**changes)
    bench.tell(ev.Commanded(ev.OperatorCommand.RESIGN))
    assert bench.role() is Role.DEMOTING
    return bench


def in_fault(**changes: Any) -> Bench:
    bench = in_backup(**changes)
    bench.tell(ev.WorkerLost())
    assert bench.role() is Role.FAULT
    return bench


WAYS: dict[Role, Callable[..., Bench]] = {
    Role.INIT: in_init,
    Role.BACKUP: in_backup,
    Role.PROMOTING: in_promoting,
    Role.MASTER: in_master,
    Role.DEMOTING: in_demoting,
    Role.SUSPENDED: in_suspended,
    Role.FAULT: in_fault,
}
