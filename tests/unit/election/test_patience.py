"""What a node that may be late asks of the others: a longer lease and a longer interval, adverts as often as before."""

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election import quorum
from pycarpd.election.model import Arbiter, Flags, Role
from pycarpd.election.timing import NS_PER_MS, NS_PER_S
from tests.unit.election.bench import INTERVAL, in_backup, in_master

TOLD = 5 * INTERVAL
MISSED = 3


@pytest.mark.parametrize("told_ns", [0, INTERVAL, TOLD])
def test_the_lease_without_votes_is_as_long_as_the_adverts_ask_the_others_to_wait(told_ns: int) -> None:
    bench = in_master(told_interval_ns=told_ns)
    (sent,) = [e.advert for e in bench.wait(INTERVAL) if isinstance(e, fx.Send)]
    patience_ns = MISSED * max(INTERVAL, told_ns)
    assert sent.interval_us * 1000 == max(INTERVAL, told_ns)
    assert bench.elector.snapshot(bench.now).lease_until_ns == bench.now + patience_ns
    assert len([e for e in bench.wait(10 * INTERVAL) if isinstance(e, fx.Send)]) == 10


def test_a_follower_waits_as_long_as_it_is_asked_to() -> None:
    bench = in_backup()
    bench.hear(Role.MASTER, 6, interval_us=TOLD // 1000)
    bench.wait(MISSED * TOLD)
    assert bench.role() is Role.BACKUP
    bench.wait(INTERVAL)
    assert bench.role() is Role.PROMOTING


def test_a_lease_of_votes_is_asked_for_as_long_and_granted_so() -> None:
    bench = in_backup(arbiter=Arbiter.MAJORITY, told_interval_ns=TOLD)
    bench.wait(NS_PER_S)
    bench.hear(Role.BACKUP, 5, flags=Flags.PROMOTABLE | Flags.NO_MASTER | Flags.SETTLED)
    assert bench.role() is Role.PROMOTING
    bench.support()
    bench.tell(ev.PromotionReady(bench.term))
    assert bench.role() is Role.MASTER
    (sent,) = [e.advert for e in bench.wait(INTERVAL) if isinstance(e, fx.Send)]
    assert sent.hold_ms * NS_PER_MS == MISSED * TOLD
    sent_ns = bench.now
    bench.support()
    assert bench.elector.snapshot(bench.now).lease_until_ns == sent_ns + quorum.shrunk(MISSED * TOLD)


@pytest.mark.parametrize(("told_ns", "live"), [(INTERVAL, 1), (2 * INTERVAL, 2), (TOLD, 2)])
def test_a_peer_is_live_for_as_long_as_its_adverts_ask(told_ns: int, live: int) -> None:
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.hear(Role.BACKUP, 5, interval_us=told_ns // 1000)
    bench.wait(5 * INTERVAL)
    assert bench.elector.snapshot(bench.now).live_members == live
    bench.wait(MISSED * (TOLD + INTERVAL))
    assert bench.elector.snapshot(bench.now).live_members == 1


def test_the_bound_of_a_hold_bounds_what_an_advert_may_ask_for() -> None:
    bench = in_backup()
    assert bench.elector._node.settings.more_patience_ns(2**32 - 1) == bench.elector._node.settings.hold_max_ns
    assert bench.elector._node.settings.more_patience_ns(1) == 0


@pytest.mark.parametrize(("told_ns", "is_back"), [(INTERVAL, True), (TOLD, False)])
def test_without_votes_a_master_whose_link_is_back_listens_as_long_as_the_slowest_may_be_silent(
    told_ns: int, is_back: bool
) -> None:
    bench = in_master()
    bench.hear(Role.BACKUP, 5, interval_us=told_ns // 1000)
    bench.tell(ev.LinkChanged(is_up=False))
    bench.tell(ev.LinkChanged(is_up=True))
    bench.wait(MISSED * INTERVAL)
    assert (bench.role() is Role.MASTER) is is_back
    bench.wait(MISSED * told_ns)
    assert bench.role() is Role.MASTER
