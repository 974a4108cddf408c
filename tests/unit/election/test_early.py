"""The address before mfsmaster answers: under a lease of a majority, for the plan that asked, and gone with either."""

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Ack, Arbiter, Flags, Role
from tests.unit.election.bench import INTERVAL, ME, NONCE, SECOND, THIRD, Bench, S, in_backup

WELCOMING = Flags.PROMOTABLE | Flags.NO_MASTER


def elected() -> Bench:
    """Return a candidate whose plan runs under a lease."""
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.wait(S)
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    bench.support()
    assert bench.got(fx.StartPromotion)
    return bench


def early() -> Bench:
    bench = elected()
    bench.tell(ev.AddressWanted(bench.term))
    assert [type(effect) for effect in bench.effects] == [fx.AttachVip, fx.RenewLease]
    assert bench.role() is Role.PROMOTING
    return bench


def test_the_address_comes_only_to_the_term_that_is_claimed_and_once() -> None:
    bench = elected()
    assert not bench.tell(ev.AddressWanted(bench.term - 1))
    assert bench.tell(ev.AddressWanted(bench.term))
    assert not bench.tell(ev.AddressWanted(bench.term))


def test_without_votes_that_count_there_is_no_early_address() -> None:
    bench = in_backup()
    bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING
    assert not bench.tell(ev.AddressWanted(bench.term))


def test_a_wish_without_a_lease_waits_for_one() -> None:
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.wait(S)
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    bench.hear(Role.BACKUP, bench.term, vote_term=bench.term, vote_for=ME.node_id, acks=(Ack(ME.node_id, NONCE, 1),))
    assert bench.got(fx.StartPromotion)
    assert not bench.tell(ev.AddressWanted(bench.term))
    bench.support()
    assert bench.got(fx.AttachVip)


def test_the_lease_is_renewed_and_the_address_goes_when_it_is_not() -> None:
    bench = early()
    bench.wait(INTERVAL)
    bench.support()
    assert bench.got(fx.RenewLease)
    until_ns = bench.got(fx.RenewLease)[-1].until_ns
    bench.wait(until_ns - bench.now)
    assert bench.got(fx.DetachVip)
    assert bench.role() is Role.PROMOTING
    bench.support()
    assert bench.got(fx.AttachVip)


@pytest.mark.parametrize(
    "event",
    [
        ev.LinkChanged(is_up=False),
        ev.WorkerLost(),
        ev.StopRequested(),
        ev.PromotionFinished(6, is_ok=False),
        ev.Commanded(ev.OperatorCommand.RESIGN),
    ],
)
def test_the_address_goes_first_whatever_ends_the_promotion(event: ev.Event) -> None:
    bench = early()
    assert isinstance(bench.tell(event)[0], fx.DetachVip)
    assert bench.role() not in (Role.PROMOTING, Role.MASTER)


def test_the_address_goes_before_a_better_claim_is_answered() -> None:
    bench = early()
    effects = bench.hear(Role.MASTER, bench.term + 1, by=THIRD, served_term=bench.term + 1)
    assert isinstance(effects[0], fx.DetachVip)
    assert bench.role() is Role.DEMOTING


def test_a_promotion_that_is_ready_keeps_the_address() -> None:
    bench = early()
    bench.support(by=SECOND)
    bench.tell(ev.PromotionReady(bench.term))
    assert bench.role() is Role.MASTER
    assert bench.got(fx.AttachVip)
    assert not bench.got(fx.DetachVip)
    assert bench.elector.snapshot(bench.now).master_id == ME.node_id


def test_the_wish_of_an_earlier_plan_does_not_count_for_a_restart_in_place() -> None:
    bench = early()
    bench.tell(ev.PromotionReady(bench.term))
    bench.tell(ev.PromotionFinished(bench.term, is_ok=True))
    bench.tell(ev.MfsmasterLost(may_restart=True))
    assert bench.role() is Role.PROMOTING
    bench.support()
    assert not bench.got(fx.AttachVip)
    assert bench.tell(ev.AddressWanted(bench.term))
