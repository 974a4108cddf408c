"""Two candidates open one term and each has only its own vote: it costs an exchange of adverts, and no plan."""

from collections.abc import Callable
from typing import Any

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Cause, Flags, Role
from tests.unit.election.bench import FRESH, INTERVAL, ME, SECOND, THIRD, Bench, S, in_backup

LEASE_MS = 750
WELCOMING = Flags.PROMOTABLE | Flags.NO_MASTER

OWN: dict[str, Any] = {"vote_term": 6, "vote_for": SECOND.node_id, "hold_ms": LEASE_MS}


def candidate(priority: int = 128) -> Bench:
    """Return a candidate of term 6 that hears of nobody but SECOND: the third has died with its role."""
    bench = in_backup(arbiter=Arbiter.MAJORITY, priority=priority)
    bench.wait(2 * S)
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    assert (bench.role(), bench.term) == (Role.PROMOTING, 6)
    return bench


def test_the_better_one_goes_on_to_the_next_term_as_soon_as_the_other_has_given_way() -> None:
    bench = candidate(priority=200)
    bench.hear(Role.PROMOTING, 6, **OWN)
    assert bench.term == 6
    bench.hear(Role.BACKUP, 6, flags=WELCOMING, vote_term=6, vote_for=SECOND.node_id)
    assert [e.persistent.vote for e in bench.got(fx.Persist)] == [(7, ME.node_id)]
    assert [(e.advert.role, e.advert.term) for e in bench.got(fx.Send)] == [(Role.PROMOTING, 7)]
    bench.support()
    assert bench.got(fx.StartPromotion) == [fx.StartPromotion(7)]


def test_the_next_term_is_not_said_before_it_is_on_disk() -> None:
    bench = candidate(priority=200)
    bench.writes = False
    bench.hear(Role.BACKUP, 6, flags=WELCOMING, vote_term=6, vote_for=SECOND.node_id)
    (wanted,) = bench.got(fx.Persist)
    assert not bench.got(fx.Send)
    assert not any(isinstance(e, fx.Send) for e in bench.wait(INTERVAL // 2))
    bench.tell(ev.StatePersisted(wanted.persistent))
    assert [e.advert.term for e in bench.got(fx.Send)] == [7]


def test_a_term_in_which_somebody_could_vote_still_is_not_left() -> None:
    bench = candidate(priority=200)
    bench.hear(Role.BACKUP, 5, by=THIRD, flags=WELCOMING)
    bench.hear(Role.BACKUP, 6, flags=WELCOMING, vote_term=6, vote_for=SECOND.node_id)
    assert bench.term == 6
    assert not bench.got(fx.Persist)


def test_nobody_goes_on_beside_a_master() -> None:
    bench = candidate(priority=200)
    bench.hear(Role.BACKUP, 6, vote_term=6, vote_for=SECOND.node_id)
    assert bench.term == 6


def test_the_worse_one_says_at_once_that_its_vote_is_spent() -> None:
    bench = candidate(priority=100)
    bench.hear(Role.PROMOTING, 6, **OWN)
    assert bench.role() is Role.BACKUP
    said = bench.got(fx.Send)[-1].advert
    assert (said.role, said.vote_term, said.vote_for) == (Role.BACKUP, 6, ME.node_id)
    assert Flags.NO_MASTER in said.flags


def test_the_worse_one_votes_at_once_for_a_claim_of_the_next_term() -> None:
    bench = candidate(priority=100)
    bench.hear(Role.PROMOTING, 7, **(OWN | {"vote_term": 7}))
    said = [(e.advert.role, e.advert.vote_term, e.advert.vote_for) for e in bench.got(fx.Send)]
    assert (Role.BACKUP, 7, SECOND.node_id) in said


def given_way() -> Bench:
    bench = candidate(priority=100)
    bench.hear(Role.PROMOTING, 6, **OWN)
    return bench


def not_elected() -> Bench:
    bench = candidate()
    bench.wait(2 * S)
    return bench


@pytest.mark.parametrize(
    ("lose", "cause"), [(given_way, Cause.DEMOTED), (not_elected, Cause.NOT_ELECTED)], ids=["gave way", "no votes"]
)
def test_a_candidate_that_no_plan_was_begun_for_asks_for_none(lose: Callable[[], Bench], cause: Cause) -> None:
    """A plan under way, which starts the metalogger of a host without a master, would delay its next promotion."""
    bench = lose()
    assert cause in [each for _, each in bench.causes]
    assert not bench.got(fx.StartDemotion)


def test_a_mfsmaster_that_was_found_is_ended_whoever_is_elected() -> None:
    bench = Bench(arbiter=Arbiter.MAJORITY)
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=True, vip_is_held=False))
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    for other in (SECOND, THIRD):
        bench.hear(Role.BACKUP, 5, by=other, freshness=FRESH)
    bench.wait(S)
    bench.hear(Role.BACKUP, 5, flags=WELCOMING, freshness=FRESH)
    assert bench.role() is Role.PROMOTING
    bench.wait(2 * S)
    assert bench.role() is Role.BACKUP
    assert [e.term for e in bench.effects if isinstance(e, fx.StartDemotion)] == [6]
