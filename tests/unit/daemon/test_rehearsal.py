"""The election that a standby plays in its mind: when, how far, and that nothing of it stays."""

import gc
from dataclasses import replace

import pytest

from pycarpd.daemon.rehearsal import BEGINS_BEFORE_NS, INTERVAL_NS_MAX, Rehearsal
from pycarpd.election.model import Arbiter
from pycarpd.election.settings import ElectionSettings
from tests.unit.election.bench import settings as election_settings
from tests.unit.wire.cluster import mixed
from tests.unit.wire.cluster import settings as codec_settings

MS = 1_000_000
INTERVAL_NS = 10 * MS
HEARD_NS = 10**12
FAST = election_settings(arbiter=Arbiter.MAJORITY, interval_ns=INTERVAL_NS)


def prepared(settings: ElectionSettings = FAST) -> Rehearsal:
    rehearsal = Rehearsal(settings, codec_settings() if settings.strict else mixed())
    rehearsal.master_heard(HEARD_NS, settings.patience_ns // MS)
    rehearsal.prepare(HEARD_NS)
    return rehearsal


@pytest.mark.parametrize(("silent_ms", "is_played"), [(10, False), (26, False), (27, True), (28, True), (29, False)])
def test_it_is_played_just_before_the_master_is_lost(silent_ms: int, is_played: bool) -> None:
    rehearsal = prepared()
    assert rehearsal.next_deadline() == HEARD_NS + 30 * MS - BEGINS_BEFORE_NS
    assert rehearsal.on_time(HEARD_NS + silent_ms * MS) is is_played


def test_a_candidate_wins_and_gets_the_address_each_time() -> None:
    rehearsal = Rehearsal(FAST, codec_settings())
    for number in range(5):
        now_ns = HEARD_NS + number * 1000 * MS
        rehearsal.master_heard(now_ns, 30)
        rehearsal.prepare(now_ns)
        assert rehearsal.on_time(now_ns + 27 * MS)
        assert not rehearsal.on_time(now_ns + 28 * MS)  # once for each time that it was prepared
        assert rehearsal.next_deadline() is None


def test_a_master_that_is_heard_again_puts_it_off() -> None:
    rehearsal = prepared()
    rehearsal.master_heard(HEARD_NS + 20 * MS, 30)
    assert not rehearsal.on_time(HEARD_NS + 27 * MS)
    assert rehearsal.on_time(HEARD_NS + 47 * MS)


def test_a_master_that_asked_for_patience_is_missed_later() -> None:
    rehearsal = prepared(replace(FAST, told_interval_ns=5 * INTERVAL_NS))
    assert not rehearsal.on_time(HEARD_NS + 28 * MS)
    assert rehearsal.next_deadline() == HEARD_NS + 150 * MS - BEGINS_BEFORE_NS
    assert rehearsal.on_time(HEARD_NS + 147 * MS)


def test_who_wakes_too_late_has_no_time_for_it_and_waits_for_the_next_master() -> None:
    rehearsal = prepared()
    assert not rehearsal.on_time(HEARD_NS + 40 * MS)
    assert rehearsal.next_deadline() is None
    rehearsal.master_heard(HEARD_NS + 50 * MS, 30)
    assert rehearsal.on_time(HEARD_NS + 77 * MS)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("missed", [2, 5])
@pytest.mark.parametrize("priority", [1, 254])
@pytest.mark.parametrize("speculates", [False, True])
def test_whatever_is_configured_somebody_wins(missed: int, priority: int, speculates: bool, strict: bool) -> None:
    settings = replace(FAST, missed_adverts=missed, priority=priority, speculates=speculates, strict=strict)
    assert prepared(settings).on_time(HEARD_NS + missed * INTERVAL_NS - BEGINS_BEFORE_NS)


@pytest.mark.parametrize(
    "settings",
    [
        replace(FAST, arbiter=Arbiter.NONE),
        replace(FAST, arbiter=Arbiter.ETCD),
        replace(FAST, interval_ns=INTERVAL_NS_MAX + 1),
    ],
    ids=("no votes", "an arbiter's terms", "slow adverts"),
)
def test_where_it_would_save_nothing_nothing_is_played(settings: ElectionSettings) -> None:
    rehearsal = prepared(settings)
    assert rehearsal.next_deadline() is None
    assert not rehearsal.on_time(HEARD_NS + 3 * settings.interval_ns - BEGINS_BEFORE_NS)


def test_a_master_that_was_never_heard_is_not_overdue() -> None:
    rehearsal = Rehearsal(FAST, codec_settings())
    rehearsal.prepare(HEARD_NS)
    assert not rehearsal.on_time(HEARD_NS + 27 * MS)


def test_nothing_of_it_is_left_for_a_collector_that_does_not_run() -> None:
    rehearsal = prepared()
    gc.collect()
    gc.disable()
    try:
        assert rehearsal.on_time(HEARD_NS + 27 * MS)
        assert gc.collect() == 0
    finally:
        gc.enable()
