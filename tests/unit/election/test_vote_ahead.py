"""A candidate says that it is writing its claim down, and the voters' disks write at the same time."""

from dataclasses import replace
from typing import Any

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Flags, Persistent, Role
from tests.unit.election.bench import FRESH, ME, SECOND, THIRD, Bench, S, in_backup

LEASE_MS = 750
WELCOMING = Flags.PROMOTABLE | Flags.NO_MASTER
OPENING = WELCOMING | Flags.OPENS_TERM


def backup(**changes: Any) -> Bench:
    """Return a node that has lost its master and waits for a majority, as SECOND does not welcome anybody yet."""
    bench = in_backup(**({"arbiter": Arbiter.MAJORITY} | changes))
    bench.wait(S)
    assert bench.role() is Role.BACKUP
    return bench


def opening(bench: Bench, term: int = 5, **changes: Any) -> list[Persistent]:
    bench.hear(Role.BACKUP, term, **({"flags": OPENING} | changes))
    return [e.persistent for e in bench.got(fx.Persist)]


def test_a_candidate_says_so_before_its_claim_is_on_disk() -> None:
    bench = backup()
    bench.writes = False
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    (said,) = [e.advert for e in bench.got(fx.Send)]
    assert (said.role, said.term, said.hold_ms) == (Role.BACKUP, 5, 0)
    assert Flags.OPENS_TERM in said.flags
    assert (said.vote_term, said.vote_for) == (0, 0)


def test_it_is_said_once() -> None:
    bench = backup()
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    said = [e.advert for e in [*bench.got(fx.Send), *(e for e in bench.wait(S) if isinstance(e, fx.Send))]]
    assert [Flags.OPENS_TERM in each.flags for each in said].count(True) == 1


def test_without_votes_there_is_nothing_to_say() -> None:
    bench = in_backup()
    said = [e.advert for e in bench.wait(2 * S) if isinstance(e, fx.Send)]
    assert bench.role() is Role.PROMOTING
    assert not any(Flags.OPENS_TERM in each.flags for each in said)


def test_a_voter_has_its_vote_on_disk_when_the_claim_comes_and_is_bound_by_that_alone() -> None:
    bench = backup()
    (written,) = opening(bench)
    assert written.vote == (6, SECOND.node_id)
    told = [(e.advert.vote_term, e.advert.vote_for) for e in bench.got(fx.Send)]
    assert told == [(6, SECOND.node_id)]
    assert not bench.elector._node.is_bound(bench.now)
    bench.hear(Role.PROMOTING, 6, hold_ms=LEASE_MS)
    assert not bench.got(fx.Persist)
    assert bench.elector._node.is_bound(bench.now)


def test_it_is_one_vote_in_that_term() -> None:
    bench = backup()
    opening(bench)
    assert opening(bench, by=THIRD) == []
    bench.hear(Role.PROMOTING, 6, by=THIRD, hold_ms=LEASE_MS)
    assert bench.elector._node.persistent.vote == (6, SECOND.node_id)


def test_a_voter_lets_the_claim_come_before_its_own_turn() -> None:
    bench = backup()
    opening(bench)
    bench.wait(3 * bench.elector._node.settings.interval_ns - 1)
    assert bench.role() is Role.BACKUP
    bench.wait(S)
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    assert (bench.role(), bench.term) == (Role.PROMOTING, 7)


@pytest.mark.parametrize(
    "changes",
    [
        {"freshness": replace(FRESH, version=FRESH.version - 1)},
        {"freshness": None},
        {"flags": WELCOMING},
        {"is_proven": False},
    ],
    ids=["older files", "unknown files", "does not open", "not proven"],
)
def test_no_vote_is_written_for_whom_none_would_be_given(changes: dict[str, Any]) -> None:
    bench = backup(preempt=False)
    bench.tell(ev.Commanded(ev.OperatorCommand.PAUSE))
    assert opening(bench, **changes) == []
    assert opening(bench, is_proven=True)


def test_who_has_a_master_writes_no_vote() -> None:
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.hear(Role.MASTER, 6, by=THIRD, hold_ms=LEASE_MS)
    assert opening(bench, term=6) == []


def test_with_a_vote_told_already_the_plan_begins_when_the_own_one_is_on_disk() -> None:
    bench = backup()
    bench.writes = False
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    (wanted,) = bench.got(fx.Persist)
    bench.hear(Role.BACKUP, 6, flags=WELCOMING, vote_term=6, vote_for=ME.node_id)
    assert not bench.got(fx.StartPromotion)
    bench.tell(ev.StatePersisted(wanted.persistent))
    assert bench.got(fx.StartPromotion) == [fx.StartPromotion(6)]
    assert [e.advert.role for e in bench.got(fx.Send)] == [Role.PROMOTING]
    assert not bench.got(fx.AttachVip)
