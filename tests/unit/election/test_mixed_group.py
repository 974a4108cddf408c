"""Beside ucarp: nothing is restored while a ucarp host may still serve, and what it served is not overwritten."""

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Cause, Flags, Persistent, Role
from tests.unit.election.bench import Bench, S, in_backup, in_init, in_master, in_suspended

MIXED = {"strict": False, "interval_ns": S}
WORSE = (1, 200)
BETTER = (1, 0)
DOWN_NS = 3 * (S + S * 200 // 256)
"""Three intervals of the worse ucarp host."""


def preempting() -> Bench:
    bench = in_backup(**MIXED, preempt=True)
    bench.hear_plain(*WORSE)
    return bench


def mixed_master() -> Bench:
    bench = in_backup(**MIXED)
    bench.wait(5 * S)
    bench.tell(ev.PromotionReady(bench.term))
    bench.tell(ev.PromotionFinished(bench.term, is_ok=True))
    assert bench.role() is Role.MASTER
    return bench


def test_a_worse_ucarp_host_is_told_to_yield_at_once_but_nothing_starts_until_it_is_silent() -> None:
    bench = preempting()
    assert bench.role() is Role.PROMOTING
    assert [effect.advert.role for effect in bench.got(fx.Send)] == [Role.PROMOTING]
    assert not bench.got(fx.StartPromotion)
    for _ in range(2):
        bench.wait(S)
        assert not bench.got(fx.StartPromotion)
        assert bench.got(fx.Send)
        bench.hear_plain(*WORSE)
        assert [effect.advert.role for effect in bench.got(fx.Send)] == [Role.PROMOTING]
    bench.wait(DOWN_NS)
    assert not bench.got(fx.StartPromotion)
    bench.wait(S)
    assert len(bench.got(fx.StartPromotion)) == 1


def test_a_claim_that_waits_for_a_ucarp_host_is_resigned_when_the_node_stops() -> None:
    bench = preempting()
    bench.tell(ev.StopRequested())
    assert bench.got(fx.Stopped)
    assert not bench.got(fx.AbortPromotion)
    assert [Flags.RESIGNED in effect.advert.flags for effect in bench.got(fx.Send)] == [True] * 3


def test_a_better_ucarp_host_stops_a_claim_that_waits() -> None:
    bench = preempting()
    bench.hear_plain(*BETTER)
    assert bench.role() is Role.BACKUP
    bench.wait(3 * S)
    assert not bench.got(fx.StartPromotion)


def test_after_a_ucarp_host_fell_silent_the_plan_starts_at_once_on_files_kept_as_they_were() -> None:
    bench = in_backup(**MIXED)
    bench.hear_plain(*WORSE)
    bench.wait(DOWN_NS)
    assert bench.role() is Role.BACKUP
    bench.wait(S)
    kinds = [type(effect) for effect in bench.effects]
    assert kinds.index(fx.PreserveFiles) < kinds.index(fx.StartPromotion)


def test_a_running_mfsmaster_is_not_adopted_beside_a_ucarp_host_that_claims() -> None:
    bench = in_init(persistent=Persistent(5, 5), **MIXED)
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=True, vip_is_held=True))
    bench.hear_plain(*WORSE)
    bench.wait(2 * S)
    assert bench.role() is Role.BACKUP
    assert bench.got(fx.StartDemotion)


def test_a_suspended_master_yields_to_any_ucarp_host() -> None:
    bench = mixed_master()
    bench.tell(ev.LinkChanged(is_up=False))
    assert bench.role() is Role.SUSPENDED
    bench.hear_plain(*WORSE)
    assert bench.role() is Role.DEMOTING
    assert bench.causes[-1] == (Role.SUSPENDED, Cause.OUTRANKED)


def test_a_serving_master_answers_a_worse_ucarp_host_and_yields_to_a_better_one() -> None:
    bench = mixed_master()
    bench.hear_plain(*WORSE)
    assert bench.role() is Role.MASTER
    assert bench.got(fx.AnnounceVip)
    bench.hear_plain(*BETTER)
    assert bench.role() is Role.DEMOTING


def blind_backup() -> Bench:
    bench = in_backup()
    bench.hear(Role.MASTER, 5)
    return bench


def test_a_backup_that_lost_adverts_waits_for_further_ones() -> None:
    seeing, blind = blind_backup(), blind_backup()
    blind.tell(ev.AdvertsLost())
    seeing.wait(S)
    blind.wait(S)
    assert (seeing.role(), blind.role()) == (Role.PROMOTING, Role.BACKUP)
    blind.hear(Role.MASTER, 5)
    blind.wait(S // 2)
    assert not blind.causes[2:]
    blind.wait(S)
    assert blind.causes[-1] == (Role.BACKUP, Cause.MASTER_DOWN), "what was lost before the last advert counts no more"


@pytest.mark.parametrize("role", [Role.BACKUP, Role.SUSPENDED])
def test_a_flood_without_end_delays_and_does_not_prevent(role: Role) -> None:
    bench = blind_backup() if role is Role.BACKUP else in_suspended()
    bench.tell(ev.LinkChanged(is_up=True))
    waited_ns = 0
    while bench.role() is role:
        assert waited_ns < 60 * S
        bench.tell(ev.AdvertsLost())
        bench.wait(S // 10)
        waited_ns += S // 10
    assert waited_ns > 10 * S
    assert bench.role() is (Role.PROMOTING if role is Role.BACKUP else Role.MASTER)


def test_a_resignation_that_was_heard_is_acted_on_however_much_was_lost() -> None:
    bench = blind_backup()
    bench.tell(ev.AdvertsLost())
    bench.hear(Role.BACKUP, 5, flags=Flags.PROMOTABLE | Flags.RESIGNED)
    bench.wait(S)
    assert bench.role() is Role.PROMOTING


def test_only_a_master_has_a_claim_to_repeat() -> None:
    assert in_backup().elector.claim_due_ns is None
    master = in_master()
    assert master.elector.claim_due_ns is not None
    assert master.now <= master.elector.claim_due_ns <= master.now + S
