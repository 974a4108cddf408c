"""Who of the standbys opens a term when the lease has run out, and who waits for its skew."""

from dataclasses import replace
from typing import Any

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Flags, Persistent, Role
from tests.unit.election.bench import FRESH, INTERVAL, ME, MS, SECOND, THIRD, Bench, in_backup, settings

LEASE_MS = 750
PROMISED_NS = LEASE_MS * MS + LEASE_MS * MS // 1000
"""What a voter makes of it (quorum.stretched)."""


def follower(**changes: Any) -> Bench:
    """A standby that has just heard the master and the other standby."""
    bench = in_backup(arbiter=Arbiter.MAJORITY, persistent=Persistent(5, 5, 5, SECOND.node_id), **changes)
    bench.hear(Role.MASTER, 5, hold_ms=LEASE_MS, freshness=replace(FRESH, lineage=5))
    return bench


def opens_after_ns(bench: Bench, **report: Any) -> int:
    """Return how long after the master's last advert this node opens a term; the other reports all the while."""
    began, said = bench.now, {"flags": Flags.PROMOTABLE | Flags.NO_MASTER} | report
    while bench.role() is Role.BACKUP:
        assert bench.now < began + 10 * INTERVAL
        bench.hear(Role.BACKUP, 5, by=THIRD, **said)
        next_report = bench.now + INTERVAL // 4
        while bench.role() is Role.BACKUP and bench.now < next_report:
            deadline = bench.elector.next_deadline()
            bench.now = next_report if deadline is None else max(bench.now, min(deadline, next_report))
            bench.tell(ev.TimeAdvanced())
    assert bench.got(fx.Transition)
    return bench.now - began


@pytest.mark.parametrize(
    "report",
    [
        {"priority": 127},
        {"priority": 128},
        {"priority": 254, "demotion": 1},
        {"priority": 254, "flags": Flags.NO_MASTER},
        {"priority": 254, "flags": Flags.PROMOTABLE | Flags.NO_MASTER | Flags.PAUSED},
    ],
)
def test_the_first_in_line_begins_when_the_lease_has_run_out(report: dict[str, Any]) -> None:
    assert opens_after_ns(follower(), **report) == pytest.approx(PROMISED_NS, abs=MS)


@pytest.mark.parametrize("report", [{"priority": 129}, {"priority": 254}])
def test_who_hears_a_better_candidate_waits_for_its_skew(report: dict[str, Any]) -> None:
    skew_ns = INTERVAL * (256 - settings().priority) // 256
    bench = follower()
    assert opens_after_ns(bench, **report) == pytest.approx(PROMISED_NS + skew_ns, abs=MS)


def test_among_equals_the_place_in_the_list_decides() -> None:
    first = follower()
    assert first.elector._node.settings.rank < first.elector._node.settings.members.index(THIRD)
    assert opens_after_ns(first, priority=settings().priority) == pytest.approx(PROMISED_NS, abs=MS)
    assert ME is first.elector._node.settings.me
