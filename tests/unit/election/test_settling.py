"""A candidate is elected on what is known; before it serves, it is known who has the last changes."""

from dataclasses import replace

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Cause, Flags, Persistent, Role
from pycarpd.election.settling import SETTLE_MAX_NS
from tests.unit.election.bench import FRESH, INTERVAL, SECOND, THIRD, Bench, S, in_backup

STANDS_BY = Flags.PROMOTABLE | Flags.NO_MASTER
SETTLED = STANDS_BY | Flags.SETTLED
NEWER = replace(FRESH, version=FRESH.version + 1)


def loading(*, is_proved: bool = True) -> Bench:
    """A candidate that SECOND and THIRD have elected and that loads mfsmaster; its own files are proved."""
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.wait(S)
    bench.hear(Role.BACKUP, 5, flags=STANDS_BY)
    bench.support(flags=STANDS_BY)
    assert bench.got(fx.StartPromotion)
    if is_proved:
        bench.tell(ev.FreshnessKnown(FRESH, "", is_settled=True))
    return bench


def hear_third(bench: Bench, **said: object) -> None:
    bench.support(by=THIRD, **said)


def told(bench: Bench) -> Flags:
    sent: list[fx.Send] = bench.got(fx.Send)
    return sent[-1].advert.flags


def test_a_candidate_gives_way_to_the_last_changes_that_come_out_of_anothers_buffer() -> None:
    bench = loading()
    hear_third(bench, flags=STANDS_BY)
    assert bench.role() is Role.PROMOTING
    hear_third(bench, flags=SETTLED, freshness=NEWER)
    assert bench.causes[-1] == (Role.PROMOTING, Cause.BEHIND_STANDBY)
    assert bench.got(fx.AbortPromotion)
    assert not bench.elector.snapshot(bench.now).demotion, "it has not failed"


def test_a_candidate_that_does_not_know_yet_what_it_has_goes_on() -> None:
    bench = loading(is_proved=False)
    hear_third(bench, flags=SETTLED, freshness=NEWER)
    assert bench.role() is Role.PROMOTING
    bench.tell(ev.FreshnessKnown(NEWER, "", is_settled=True))
    assert bench.role() is Role.PROMOTING


def test_what_is_proved_later_than_another_is_heard_is_held_against_it() -> None:
    bench = loading(is_proved=False)
    hear_third(bench, flags=SETTLED, freshness=NEWER)
    bench.tell(ev.FreshnessKnown(FRESH, "", is_settled=True))
    assert bench.role() is Role.DEMOTING


@pytest.mark.parametrize(
    "said",
    [
        {"flags": SETTLED | Flags.PAUSED},
        {"flags": SETTLED & ~Flags.PROMOTABLE},
        {"demotion": 1},
        {"freshness": replace(NEWER, metaid=1)},
    ],
)
def test_who_could_not_take_over_is_not_given_way_to(said: dict[str, object]) -> None:
    bench = loading()
    hear_third(bench, **({"flags": SETTLED, "freshness": NEWER} | said))
    assert bench.role() is Role.PROMOTING


def test_who_does_not_hear_this_candidate_is_not_given_way_to() -> None:
    bench = loading()
    bench.hear(Role.BACKUP, 5, by=THIRD, flags=SETTLED, freshness=NEWER, acks=())
    assert bench.role() is Role.PROMOTING


def test_who_hears_this_candidate_is_not_hidden_by_one_who_does_not() -> None:
    bench = loading()
    bench.hear(Role.BACKUP, 5, flags=SETTLED, freshness=NEWER, acks=())
    assert bench.role() is Role.PROMOTING
    hear_third(bench, flags=SETTLED, freshness=NEWER)
    assert bench.role() is Role.DEMOTING


def test_a_candidate_gives_way_once_for_each_master_lost() -> None:
    bench = loading()
    hear_third(bench, flags=SETTLED, freshness=NEWER)
    bench.tell(ev.PromotionFinished(6, is_ok=False))
    assert bench.role() is Role.BACKUP
    for _ in range(40):
        bench.hear(Role.BACKUP, 6, flags=SETTLED)
        bench.wait(INTERVAL)
        if bench.role() is Role.PROMOTING:
            break
    bench.support(flags=SETTLED)
    assert bench.got(fx.StartPromotion)
    bench.hear(Role.BACKUP, 6, by=THIRD, flags=SETTLED, freshness=NEWER)
    assert bench.role() is Role.PROMOTING


def test_who_is_ready_waits_until_the_others_have_settled() -> None:
    bench = loading()
    hear_third(bench, flags=STANDS_BY)
    bench.support(flags=SETTLED)
    bench.tell(ev.PromotionReady(bench.term))
    assert bench.role() is Role.PROMOTING
    hear_third(bench, flags=SETTLED)
    assert bench.role() is Role.MASTER


def test_who_is_ready_waits_for_others_only_so_long() -> None:
    bench = loading()
    hear_third(bench, flags=STANDS_BY)
    bench.support(flags=SETTLED)
    claimed = bench.now
    bench.tell(ev.PromotionReady(bench.term))
    bench.wait(SETTLE_MAX_NS)
    assert bench.role() is Role.MASTER
    assert bench.now == claimed + SETTLE_MAX_NS


@pytest.mark.parametrize("flags", [Flags.NO_MASTER, STANDS_BY | Flags.PAUSED])
def test_who_could_not_take_over_is_not_waited_for(flags: Flags) -> None:
    bench = loading()
    hear_third(bench, flags=flags)
    bench.support(flags=SETTLED)
    bench.tell(ev.PromotionReady(bench.term))
    assert bench.role() is Role.MASTER


def lost(*, by: Role) -> Bench:
    """A standby that has just heard of a candidate, or still hears its master."""
    bench = in_backup(arbiter=Arbiter.MAJORITY, persistent=Persistent(5, 5, 5, SECOND.node_id))
    bench.hear(Role.MASTER, 5, hold_ms=750, freshness=replace(FRESH, lineage=5))
    if by is Role.PROMOTING:
        bench.hear(Role.BACKUP, 5, by=THIRD, priority=254)  # whose turn comes first
        bench.wait(760_000_000)
        bench.hear(Role.PROMOTING, 6, by=THIRD, hold_ms=750, freshness=replace(FRESH, lineage=5))
        assert bench.got(fx.PreserveFiles)
    return bench


def test_a_standby_says_at_once_that_it_has_settled() -> None:
    bench = lost(by=Role.PROMOTING)
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    assert not bench.got(fx.Send)
    bench.tell(ev.FreshnessKnown(NEWER, "", is_settled=True))
    assert Flags.SETTLED in told(bench)
    bench.tell(ev.FreshnessKnown(NEWER, "", is_settled=True))
    assert not bench.got(fx.Send), "once is enough"


def test_a_standby_whose_master_serves_has_not_settled() -> None:
    bench = lost(by=Role.MASTER)
    bench.tell(ev.FreshnessKnown(FRESH, "", is_settled=True))
    bench.wait(INTERVAL)
    assert Flags.SETTLED not in told(bench)


def test_who_follows_a_master_again_has_more_to_come() -> None:
    bench = lost(by=Role.PROMOTING)
    bench.tell(ev.FreshnessKnown(FRESH, "", is_settled=True))
    bench.hear(Role.MASTER, 6, by=THIRD, hold_ms=750, freshness=replace(FRESH, lineage=6))
    assert Flags.SETTLED not in told(bench)
