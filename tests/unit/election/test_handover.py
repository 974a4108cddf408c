"""The planned handover, from either side: in order it moves the role, whatever else happens leaves it where it is."""

from dataclasses import replace
from typing import Any

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.handover import HANDOVER_MAX_NS, LEVEL_MAX_NS, RETRY_AFTER_NS
from pycarpd.election.model import Arbiter, Cause, Flags, Handover, Role
from tests.unit.election.bench import FRESH, ME, MS, SECOND, THIRD, Bench, S, in_backup, in_master

VERSION = 130


def master_with_standbys(**changes: Any) -> Bench:
    """A MASTER that has just heard two standbys which could take over."""
    bench = in_master(**changes)
    standbys_report(bench)
    return bench


def standbys_report(bench: Bench) -> None:
    for other in (SECOND, THIRD):
        bench.hear(Role.BACKUP, bench.term, by=other)


def holding(**changes: Any) -> Bench:
    bench = master_with_standbys(**changes)
    bench.tell(ev.SwitchoverAsked(SECOND.node_id))
    assert bench.got(fx.HoldClients) == [fx.HoldClients(bench.term)]
    return bench


def offering(**changes: Any) -> Bench:
    bench = holding(**changes)
    bench.tell(ev.ClientsHeld(bench.term, VERSION))
    return bench


def confirming(**changes: Any) -> Bench:
    bench = offering(**changes)
    answer(bench, VERSION)
    return bench


def answer(bench: Bench, version: int, **changes: Any) -> None:
    bench.hear(Role.BACKUP, bench.term, by=SECOND, handover=Handover(ME.node_id, version), **changes)


def end_of(bench: Bench) -> fx.SwitchoverEnded:
    (ended,) = bench.got(fx.SwitchoverEnded)
    assert isinstance(ended, fx.SwitchoverEnded)
    return ended


def test_a_master_hands_over_in_order() -> None:
    bench = holding()
    assert bench.role() is Role.MASTER
    bench.tell(ev.ClientsHeld(bench.term, VERSION))
    assert [send.advert.handover for send in bench.got(fx.Send)] == [Handover(SECOND.node_id, VERSION)]
    answer(bench, VERSION)
    assert bench.got(fx.ConfirmHandover) == [fx.ConfirmHandover(bench.term, VERSION)]
    assert bench.role() is Role.MASTER
    bench.tell(ev.HandoverConfirmed(bench.term))
    assert bench.causes[-1] == (Role.MASTER, Cause.SWITCHOVER)
    assert end_of(bench) == fx.SwitchoverEnded("", "", SECOND.node_id)
    kinds = [type(effect) for effect in bench.effects]
    assert kinds[0] is fx.DetachVip
    assert fx.StartDemotion in kinds
    assert bench.got(fx.StartDemotion)[0].successor == 0, "its files stay until somebody else serves"
    bench.tell(ev.DemotionFinished(bench.elector._node.claimed_term))
    resigned = [send.advert for send in bench.got(fx.Send) if Flags.RESIGNED in send.advert.flags]
    assert resigned
    assert all(advert.handover == Handover(SECOND.node_id, VERSION) for advert in resigned)


def test_the_best_candidate_is_the_freshest_then_the_one_of_the_highest_priority() -> None:
    bench = master_with_standbys()
    bench.hear(Role.BACKUP, bench.term, by=THIRD, priority=200)
    bench.tell(ev.SwitchoverAsked())
    assert bench.elector._node.handing is not None
    assert bench.elector._node.handing.peer_id == THIRD.node_id
    bench = master_with_standbys()
    bench.hear(Role.BACKUP, bench.term, by=THIRD, priority=200, freshness=replace(FRESH, version=99))
    bench.tell(ev.SwitchoverAsked())
    assert bench.elector._node.handing is not None
    assert bench.elector._node.handing.peer_id == SECOND.node_id


@pytest.mark.parametrize(
    "changes",
    [
        {"flags": Flags(0)},
        {"flags": Flags.PROMOTABLE | Flags.PAUSED},
        {"freshness": replace(FRESH, metaid=0xBAD)},
        {"freshness": None},
        {"role": Role.SUSPENDED},
        {"acks": ()},
        {"is_proven": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whoever_could_not_take_over_is_refused(changes: dict[str, object]) -> None:
    bench = master_with_standbys()
    fields: dict[str, Any] = dict(changes)
    role, is_proven = fields.pop("role", Role.BACKUP), fields.pop("is_proven", True)
    assert isinstance(role, Role)
    bench.hear(role, bench.term, by=SECOND, is_proven=bool(is_proven), **fields)
    bench.tell(ev.SwitchoverAsked(SECOND.node_id))
    assert end_of(bench).code == "switchover-not-promotable"
    assert not bench.got(fx.HoldClients)
    assert bench.role() is Role.MASTER


def test_nobody_to_hand_over_to_is_said() -> None:
    bench = in_master()  # its peers have been silent since it took over
    bench.tell(ev.SwitchoverAsked())
    assert end_of(bench).code == "no-successor"


def test_a_standby_has_nothing_to_hand_over() -> None:
    bench = in_backup()
    bench.tell(ev.SwitchoverAsked())
    assert end_of(bench).code == "not-master"


def test_one_handover_at_a_time() -> None:
    bench = holding()
    bench.tell(ev.SwitchoverAsked(THIRD.node_id))
    assert end_of(bench).code == "switchover-busy"
    assert bench.elector._node.handing is not None
    assert bench.elector._node.handing.peer_id == SECOND.node_id


@pytest.mark.parametrize("version", [0, VERSION - 1, VERSION + 1])
def test_a_successor_that_is_not_level_is_not_handed_over_to(version: int) -> None:
    bench = offering()
    answer(bench, version)
    assert end_of(bench).code == "switchover-not-level"
    assert bench.got(fx.EndHandover) == [fx.EndHandover(bench.term)]
    assert bench.role() is Role.MASTER
    assert bench.got(fx.Send)[-1].advert.handover is None, "the successor hears at once that it is over"


def test_an_answer_to_somebody_else_or_of_somebody_else_is_none() -> None:
    bench = offering()
    bench.hear(Role.BACKUP, bench.term, by=SECOND, handover=Handover(THIRD.node_id, VERSION))
    bench.hear(Role.BACKUP, bench.term, by=THIRD, handover=Handover(ME.node_id, VERSION))
    assert not bench.got(fx.ConfirmHandover)
    assert bench.elector._node.handing is not None


@pytest.mark.parametrize("way", [holding, offering, confirming], ids=lambda way: way.__name__)
def test_a_handover_that_takes_too_long_is_called_off(way: object) -> None:
    assert callable(way)
    bench: Bench = way()
    bench.wait(HANDOVER_MAX_NS + 1)
    assert end_of(bench).code == "switchover-too-slow"
    assert bench.got(fx.EndHandover)
    assert bench.role() is Role.MASTER


def test_a_confirmation_that_comes_late_gives_nothing_away() -> None:
    bench = confirming()
    bench.elector._node.lease_until_ns = bench.now + 10 * HANDOVER_MAX_NS
    bench.now += HANDOVER_MAX_NS
    bench.tell(ev.HandoverConfirmed(bench.term))
    assert end_of(bench).code == "switchover-too-slow"
    assert bench.role() is Role.MASTER


def test_a_worker_that_fails_calls_it_off() -> None:
    bench = holding()
    bench.tell(ev.HandoverFailed(bench.term, "the gate"))
    assert end_of(bench).code == "switchover-aborted"
    assert bench.role() is Role.MASTER


def test_words_of_another_term_change_nothing() -> None:
    bench = holding()
    bench.tell(ev.ClientsHeld(bench.term - 1, VERSION))
    bench.tell(ev.HandoverConfirmed(bench.term))
    bench.tell(ev.HandoverFailed(bench.term + 1, "of old"))
    assert bench.elector._node.handing is not None
    assert bench.role() is Role.MASTER


@pytest.mark.parametrize("way", [holding, offering, confirming], ids=lambda way: way.__name__)
def test_a_master_that_loses_its_role_hands_nothing_over(way: object) -> None:
    assert callable(way)
    bench: Bench = way()
    bench.tell(ev.LinkChanged(is_up=False))
    assert bench.role() is Role.SUSPENDED
    assert end_of(bench).code == "switchover-interrupted"
    assert bench.got(fx.EndHandover)
    bench.tell(ev.HandoverConfirmed(bench.term))
    assert bench.role() is Role.SUSPENDED


def test_who_resigns_hands_over_if_anybody_could_succeed() -> None:
    bench = master_with_standbys()
    bench.tell(ev.Commanded(ev.OperatorCommand.RESIGN))
    assert bench.role() is Role.MASTER
    bench.tell(ev.ClientsHeld(bench.term, VERSION))
    answer(bench, VERSION)
    bench.tell(ev.HandoverConfirmed(bench.term))
    assert bench.causes[-1] == (Role.MASTER, Cause.RESIGNED)
    assert bench.elector.snapshot(bench.now).demotion, "or it would come next again"


def test_who_stops_resigns_in_the_plain_way_when_nobody_is_level_in_time() -> None:
    bench = master_with_standbys()
    bench.tell(ev.StopRequested())
    assert bench.role() is Role.MASTER
    bench.wait(HANDOVER_MAX_NS + 1)
    assert bench.causes[-1] == (Role.MASTER, Cause.STOPPED)
    assert bench.got(fx.StartDemotion)


def test_who_stops_without_a_candidate_resigns_at_once() -> None:
    bench = in_master()
    bench.tell(ev.StopRequested())
    assert bench.causes[-1] == (Role.MASTER, Cause.STOPPED)


def test_who_stops_and_is_suspended_meanwhile_resigns() -> None:
    bench = master_with_standbys()
    bench.tell(ev.StopRequested())
    bench.tell(ev.LinkChanged(is_up=False))
    assert bench.causes[-2:] == [(Role.MASTER, Cause.LINK_DOWN), (Role.SUSPENDED, Cause.STOPPED)]


def test_a_wish_that_came_to_nothing_is_not_looked_at_for_a_while() -> None:
    bench = in_master()
    wish: dict[str, Any] = {"flags": Flags.PROMOTABLE | Flags.WANTS_MASTER, "priority": 250, "by": SECOND}
    bench.hear(Role.BACKUP, bench.term, **wish)
    assert bench.got(fx.HoldClients)
    bench.tell(ev.HandoverFailed(bench.term, "the gate"))
    bench.hear(Role.BACKUP, bench.term, **wish)
    assert not bench.got(fx.HoldClients)
    bench.now += RETRY_AFTER_NS
    bench.elector._node.lease_until_ns = bench.now + S
    bench.hear(Role.BACKUP, bench.term, **wish)
    assert bench.got(fx.HoldClients)


def following(**changes: Any) -> Bench:
    """A BACKUP that follows SECOND, whose files are all of SECOND's lineage."""
    bench = in_backup(**changes)
    bench.hear(Role.MASTER, 6, by=SECOND)
    bench.tell(ev.StandbyMade(6, is_ok=True, has_archived=True))
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    assert bench.elector._node.may_promote(bench.now)
    return bench


def offered(**changes: Any) -> Bench:
    bench = following(**changes)
    bench.hear(Role.MASTER, 6, by=SECOND, handover=Handover(ME.node_id, VERSION))
    assert bench.got(fx.LevelFiles) == [fx.LevelFiles(6)]
    return bench


def level(**changes: Any) -> Bench:
    bench = offered(**changes)
    bench.tell(ev.FilesLevel(6, VERSION))
    return bench


def test_a_successor_says_what_its_files_prove() -> None:
    bench = level()
    assert bench.got(fx.Send)[-1].advert.handover == Handover(SECOND.node_id, VERSION)
    bench.wait(200 * MS)
    assert len(bench.got(fx.Send)) >= 3, "an answer may be lost"


def test_a_successor_that_cannot_says_so() -> None:
    bench = offered()
    bench.tell(ev.HandoverFailed(6, "a gap"))
    assert bench.got(fx.Send)[-1].advert.handover == Handover(SECOND.node_id, 0)


def test_an_offer_to_somebody_else_is_none() -> None:
    bench = following()
    bench.hear(Role.MASTER, 6, by=SECOND, handover=Handover(THIRD.node_id, VERSION))
    assert not bench.got(fx.LevelFiles)


def test_an_offer_that_is_taken_back_lets_the_metalogger_go_on() -> None:
    bench = level()
    bench.hear(Role.MASTER, 6, by=SECOND)
    assert bench.got(fx.EndHandover) == [fx.EndHandover(6)]
    bench.wait(100 * MS)
    assert all(send.advert.handover is None for send in bench.got(fx.Send))


def test_a_successor_does_not_wait_for_ever() -> None:
    bench = level()
    ended: list[object] = []
    for _ in range(LEVEL_MAX_NS // (200 * MS) + 1):
        bench.hear(Role.MASTER, 6, by=SECOND, handover=Handover(ME.node_id, VERSION))
        bench.wait(200 * MS)
        ended += bench.got(fx.EndHandover)
    assert ended


@pytest.mark.parametrize("arbiter", [Arbiter.NONE, Arbiter.MAJORITY])
def test_the_named_successor_goes_at_once(arbiter: Arbiter) -> None:
    bench = level(arbiter=arbiter)
    bench.hear(
        Role.DEMOTING,
        6,
        by=SECOND,
        flags=Flags.RESIGNED,
        handover=Handover(ME.node_id, VERSION),
        vote_term=6,
        vote_for=2,
    )
    assert bench.role() is Role.PROMOTING
    assert bench.causes[-1] == (Role.BACKUP, Cause.MASTER_RESIGNED)
    assert not bench.got(fx.EndHandover), "the metalogger stays stopped"
    if arbiter is Arbiter.NONE:
        assert bench.got(fx.StartPromotion) == [fx.StartPromotion(bench.term, inherits=True)]


def test_the_others_let_it_go_first_and_take_over_if_it_does_not() -> None:
    bench = following()
    bench.hear(Role.DEMOTING, 6, by=SECOND, flags=Flags.RESIGNED, handover=Handover(THIRD.node_id, VERSION))
    assert bench.role() is Role.BACKUP
    bench.wait(700 * MS)
    assert bench.role() is Role.BACKUP
    bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING
    assert bench.got(fx.StartPromotion) == [fx.StartPromotion(bench.term)]
