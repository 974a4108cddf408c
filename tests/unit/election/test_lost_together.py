"""A term is opened without waiting for the word of a standby that is known to have heard no more of the master."""

from dataclasses import replace

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Ack, Arbiter, Flags, Persistent, Role
from tests.unit.election.bench import FRESH, INTERVAL, MS, SECOND, THIRD, Bench, in_backup, settings

LEASE_MS = 3 * INTERVAL // MS
PROMISED_NS = LEASE_MS * MS + LEASE_MS * MS // 1000
MASTERS_NONCE = 2000
LAST = 1000
"""The sequence of the last advert of the master's that this node has heard."""


def lost_with(
    acknowledged: int,
    *,
    term: int = 5,
    reports_until_ns: int = PROMISED_NS,
    role: Role = Role.BACKUP,
    flags: Flags = Flags.PROMOTABLE | Flags.FREE,
) -> Bench:
    """Return a standby at the end of its promise; the other one has reported what it has heard of the master."""
    bench = in_backup(arbiter=Arbiter.MAJORITY, persistent=Persistent(5, 5, 5, SECOND.node_id))
    fresh = replace(FRESH, lineage=5)
    bench.hear(Role.MASTER, 5, hold_ms=LEASE_MS, freshness=fresh, sequence=LAST, nonce=MASTERS_NONCE)
    began = bench.now
    acks = (Ack(SECOND.node_id, MASTERS_NONCE, acknowledged),)
    while bench.now + INTERVAL < began + reports_until_ns:
        bench.wait(INTERVAL - 1 * MS)
        bench.hear(role, term, by=THIRD, acks=acks, flags=flags)
    bench.wait(began + PROMISED_NS - bench.now)
    return bench


def said(bench: Bench) -> list[Flags]:
    return [effect.advert.flags for effect in bench.got(fx.Send)]


def test_a_term_is_opened_at_once() -> None:
    bench = lost_with(LAST)
    assert bench.role() is Role.PROMOTING


def test_opening_it_tells_what_a_report_would() -> None:
    bench = lost_with(LAST)
    (opening,) = [flags for flags in said(bench) if Flags.NO_MASTER in flags]
    assert Flags.OPENS_TERM in opening


@pytest.mark.parametrize("acknowledged", [LAST + 1, LAST - 1])
def test_who_has_heard_more_or_less_is_waited_for(acknowledged: int) -> None:
    bench = lost_with(acknowledged)
    assert bench.role() is Role.BACKUP
    assert any(Flags.NO_MASTER in flags for flags in said(bench))
    bench.hear(Role.BACKUP, 5, by=THIRD, flags=Flags.PROMOTABLE | Flags.NO_MASTER)
    assert bench.role() is Role.PROMOTING


def test_an_old_report_says_nothing() -> None:
    bench = lost_with(LAST, reports_until_ns=INTERVAL + 1)
    bench.tell(ev.TimeAdvanced())
    assert bench.role() is Role.BACKUP


def test_who_is_bound_by_another_promise_is_waited_for() -> None:
    assert lost_with(LAST, flags=Flags.PROMOTABLE).role() is Role.BACKUP


def test_who_has_heard_of_a_newer_term_and_may_follow_its_candidate_is_waited_for() -> None:
    assert lost_with(LAST, term=6).role() is Role.BACKUP


def test_a_claim_is_repeated_soon_for_a_standby_that_has_no_master_only_now() -> None:
    bench = lost_with(LAST)
    bench.wait(INTERVAL // 4)
    assert not said(bench)
    bench.hear(Role.BACKUP, 5, by=THIRD, flags=Flags.PROMOTABLE | Flags.NO_MASTER)
    bench.wait(INTERVAL // 8)
    (repeated,) = [effect.advert for effect in bench.got(fx.Send)]
    assert repeated.role is Role.PROMOTING


def test_a_standby_says_whether_a_promise_outlasts_the_one_to_its_master() -> None:
    restarted = Bench(arbiter=Arbiter.MAJORITY, persistent=Persistent(5, 5, 5, SECOND.node_id))
    restarted.tell(ev.LinkChanged(is_up=True))
    restarted.tell(ev.WorkerReady(False, False))
    restarted.hear(Role.MASTER, 5, hold_ms=LEASE_MS)
    assert not any(Flags.FREE in flags for flags in said(restarted))
    for _ in range(settings().hold_max_ns // INTERVAL + 1):
        restarted.now += INTERVAL
        restarted.hear(Role.MASTER, 5, hold_ms=LEASE_MS)
    assert all(Flags.FREE in flags for flags in said(restarted))
    assert said(restarted)


def test_who_stands_by_for_nobody_says_nothing() -> None:
    assert lost_with(LAST, role=Role.FAULT).role() is Role.BACKUP
