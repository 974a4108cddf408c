"""Every event in every role: none raises, and none breaks what must hold in any role."""

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Flags, Persistent, PlainAdvert, Role
from tests.unit.election.bench import EVENT_TYPES, FRESH, SECOND, THIRD, UCARP, WAYS, S, advert

ADVERTS = tuple(
    advert(role, term, sequence=500, served_term=served, flags=flags, priority=priority)
    for role in Role
    for term in (4, 6, 7)
    for served in (0, 9)
    for flags in (Flags.PROMOTABLE, Flags.RESIGNED, Flags.WANTS_MASTER | Flags.PROMOTABLE)
    for priority in (1, 254)
)


def _events(term: int, now_ns: int) -> list[ev.Event]:
    heard = [ev.AdvertHeard(a, SECOND.address, is_proven, now_ns) for a in ADVERTS for is_proven in (True, False)]
    plain = [
        ev.PlainAdvertHeard(PlainAdvert(base, skew, 1), UCARP, now_ns) for base, skew in ((0, 1), (1, 254), (255, 255))
    ]
    of_term = [
        event
        for t in (0, term - 1, term, term + 1)
        for event in (
            ev.AddressWanted(t),
            ev.PromotionReady(t),
            ev.PromotionFinished(t, is_ok=True),
            ev.PromotionFinished(t, is_ok=False),
            ev.DemotionFinished(t),
            ev.StandbyMade(t, is_ok=True, has_archived=True),
            ev.StandbyMade(t, is_ok=False),
            ev.ClientsHeld(t, FRESH.version),
            ev.HandoverConfirmed(t),
            ev.FilesLevel(t, FRESH.version),
            ev.HandoverFailed(t, "a gap"),
            ev.TermGranted(t, term + 1, now_ns + S),
            ev.TermLost(t),
        )
    ]
    flags = [
        event
        for flag in (True, False)
        for event in (
            ev.LinkChanged(flag),
            ev.WorkerReady(flag, flag),
            ev.MfsmasterLost(flag),
            ev.SendingFailed(flag),
            ev.StopRequested(flag),
        )
    ]
    others: list[ev.Event] = [
        ev.TimeAdvanced(0),
        ev.TimeAdvanced(10 * S),
        ev.AdvertsLost(),
        ev.WorkerLost(),
        ev.StatePersisted(Persistent(99, 9)),
        ev.FreshnessKnown(FRESH, ""),
        ev.FreshnessKnown(None, "a gap"),
        ev.NameClaimed(),
        ev.VipClaimed(),
        ev.AdvertsLost(),
        *(ev.Commanded(command) for command in ev.OperatorCommand),
        ev.SwitchoverAsked(),
        ev.SwitchoverAsked(THIRD.node_id),
    ]
    return [*heard, *plain, *of_term, *flags, *others]


def _check(effects: list[fx.Effect], was: Role, role: Role) -> None:
    kinds = [type(effect) for effect in effects]
    if was is Role.MASTER and role is not Role.MASTER:
        assert kinds[0] is fx.DetachVip
    if fx.AttachVip in kinds:
        assert role in (Role.MASTER, Role.PROMOTING)
    if fx.StartPromotion in kinds:
        assert role is Role.PROMOTING
    for effect in effects:
        if isinstance(effect, fx.Send):
            is_resigned = Flags.RESIGNED in effect.advert.flags
            assert not (effect.advert.role.claims and is_resigned)


@pytest.mark.parametrize("delay_ns", [0, 100_000_000, 20 * S])
@pytest.mark.parametrize("role", Role)
def test_every_event_in_every_role(role: Role, delay_ns: int) -> None:
    probe = WAYS[role]()
    events = _events(probe.term, probe.now + delay_ns)
    for event in events:
        bench = WAYS[role]()
        bench.now += delay_ns
        before = bench.term
        effects = bench.tell(event)
        _check(effects, role, bench.role())
        assert bench.elector.snapshot(bench.now).term >= before or bench.role() is not role
        deadline = bench.elector.next_deadline()
        bench.tell(ev.TimeAdvanced())
        after = bench.elector.next_deadline()
        assert deadline is None or after is None or after > bench.now


def test_the_events_tried_are_all_there_are() -> None:
    assert {type(event) for event in _events(6, 0)} == set(EVENT_TYPES)
