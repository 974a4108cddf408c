"""Two candidates open one term and each has only its own vote: it costs an exchange of adverts, and no plan."""

from collections.abc import Callable
from typing import Any

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Cause, Flags, Role
from tests.unit.election.bench import FRESH, SECOND, THIRD, Bench, S, in_backup

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
