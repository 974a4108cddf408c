"""An arbiter outside the cluster gives the terms: who asks, what is opened, what is given back."""

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Cause, Flags, Role
from tests.unit.election.bench import FRESH, INTERVAL, MS, Bench, S, in_backup

LEASE = 5 * S


def asked(effects: list[fx.Effect]) -> list[fx.AskArbiter]:
    return [e for e in effects if isinstance(e, fx.AskArbiter)]


def released(effects: list[fx.Effect]) -> list[bool]:
    return [e.is_free for e in effects if isinstance(e, fx.ReleaseTerm)]


def wishing() -> tuple[Bench, fx.AskArbiter]:
    """Return a BACKUP that hears no master and asks the arbiter."""
    bench = in_backup(arbiter=Arbiter.ETCD)
    (wish,) = asked(bench.wait(20 * INTERVAL))
    return bench, wish


def master() -> tuple[Bench, fx.AskArbiter]:
    bench, wish = wishing()
    bench.tell(ev.TermGranted(wish.wish, 50, bench.now + LEASE))
    bench.tell(ev.PromotionReady(50, FRESH.version))
    assert bench.role() is Role.MASTER
    return bench, wish


def test_who_hears_no_master_asks_and_says_nothing_of_it() -> None:
    bench, wish = wishing()
    assert wish.term > 5
    assert not wish.is_adoption
    assert bench.role() is Role.BACKUP
    sent = [e.advert for e in bench.wait(4 * INTERVAL) if isinstance(e, fx.Send)]
    assert sent
    assert all(a.role is Role.BACKUP for a in sent)


def test_the_term_that_was_given_is_opened_and_served_until_its_lease_ends() -> None:
    bench, wish = wishing()
    effects = bench.tell(ev.TermGranted(wish.wish, 50, bench.now + LEASE))
    assert fx.StartPromotion in {type(e) for e in effects}
    assert (bench.role(), bench.term) == (Role.PROMOTING, 50)
    until_ns = bench.now + LEASE
    effects = bench.tell(ev.PromotionReady(50, FRESH.version))
    assert fx.AttachVip(50, until_ns) in effects
    bench.wait(LEASE - 10 * MS)
    assert bench.role() is Role.MASTER
    assert fx.DetachVip() in bench.wait(20 * MS)
    assert bench.role() is Role.SUSPENDED


def test_a_grant_that_is_prolonged_prolongs_the_lease_and_restores_it() -> None:
    bench, wish = master()
    bench.wait(S)
    until_ns = bench.now + LEASE
    assert fx.RenewLease(until_ns) in bench.tell(ev.TermGranted(wish.wish, 50, until_ns))
    bench.wait(LEASE + S)
    assert bench.role() is Role.SUSPENDED
    bench.tell(ev.TermGranted(wish.wish, 50, bench.now + LEASE))
    assert bench.role() is Role.MASTER


def test_who_is_told_that_another_was_elected_ends_its_mfsmaster() -> None:
    bench, wish = master()
    bench.wait(LEASE + S)
    effects = bench.tell(ev.TermLost(wish.wish))
    assert bench.role() is Role.DEMOTING
    assert any(isinstance(e, fx.StartDemotion) for e in effects)


def test_a_resignation_gives_the_term_back_when_no_mfsmaster_runs_any_more() -> None:
    bench, _ = master()
    effects = bench.tell(ev.StopRequested())
    assert not released(effects)
    assert released(bench.tell(ev.DemotionFinished(50))) == [True]


def test_a_demotion_that_failed_lets_the_lease_run_out() -> None:
    bench, _ = master()
    bench.tell(ev.Commanded(ev.OperatorCommand.RESIGN))
    assert released(bench.tell(ev.DemotionFinished(50, is_ok=False))) == [False]


def test_a_master_that_is_heard_after_all_ends_the_asking() -> None:
    bench, wish = wishing()
    assert released(bench.hear(Role.MASTER, 6)) == [True]
    bench.tell(ev.TermGranted(wish.wish, 50, bench.now + LEASE))
    assert bench.role() is Role.BACKUP


def test_a_grant_that_an_earlier_wish_was_given_is_not_taken_for_the_answer() -> None:
    bench, first = wishing()
    bench.tell(ev.Commanded(ev.OperatorCommand.PAUSE))
    (second,) = asked(bench.tell(ev.Commanded(ev.OperatorCommand.RESUME)))
    assert second.wish > first.wish
    bench.tell(ev.TermGranted(first.wish, 50, bench.now + LEASE))
    assert bench.role() is Role.BACKUP
    bench.tell(ev.TermGranted(second.wish, 51, bench.now + LEASE))
    assert (bench.role(), bench.term) == (Role.PROMOTING, 51)


def test_a_term_that_is_not_newer_than_all_that_was_heard_is_given_back_and_a_newer_one_asked_for() -> None:
    bench, wish = wishing()
    bench.hear(Role.BACKUP, 60)
    effects = bench.tell(ev.TermGranted(wish.wish, 50, bench.now + LEASE))
    assert released(effects) == [True]
    (again,) = asked(effects)
    assert again.term == 61


def test_a_running_mfsmaster_is_left_alone_until_the_arbiter_has_given_it_a_term() -> None:
    bench = Bench(arbiter=Arbiter.ETCD)
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=True, vip_is_held=True))
    effects = bench.wait(4 * INTERVAL)
    (wish,) = asked(effects)
    assert wish.is_adoption
    assert bench.role() is Role.PROMOTING
    assert not any(isinstance(e, fx.DetachVip | fx.StartPromotion | fx.StartDemotion) for e in effects)
    effects = bench.tell(ev.TermGranted(wish.wish, 50, bench.now + LEASE))
    assert bench.role() is Role.MASTER
    assert bench.causes[-1] == (Role.PROMOTING, Cause.ADOPTED)
    assert not any(isinstance(e, fx.StartPromotion) for e in effects)


def test_no_status_says_that_it_can_split() -> None:
    bench, _ = master()
    sent = [e.advert for e in bench.wait(2 * INTERVAL) if isinstance(e, fx.Send)]
    assert sent
    assert not any(Flags.CAN_SPLIT in a.flags for a in sent)
