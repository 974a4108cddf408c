"""The measurements of the lease run, and what they show holds here too: the fence closes, and nobody takes over."""

from pathlib import Path

import pytest

from tests.product.measuring import measured

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]

LATE_MS_MAX = 50
COST_US_MAX = 1000


def test_the_fence_is_measured(tmp_path: Path) -> None:
    _status, (cost, stopped, killed) = measured(tmp_path, "fence", "--renewals", "200", "--rounds", "2")
    assert cost["renewals"] == 200
    assert 0 < cost["median_us"] < COST_US_MAX
    assert (stopped["how"], killed["how"]) == ("SIGSTOP", "SIGKILL")
    assert max(*stopped["late_ms"], *killed["late_ms"]) < LATE_MS_MAX


def test_false_takeovers_are_counted_beside_keepalived(tmp_path: Path) -> None:
    status, (_machine, ours, theirs) = measured(tmp_path, "jitter", "--minutes", "0.1")
    assert (ours["who"], theirs["who"]) == ("pycarpd", "keepalived")
    assert ours["adverts"] > 10
    assert theirs["adverts"] > 10
    assert sum(ours["late_counts"]) == ours["adverts"]
    assert (status == 0) is (ours["takeovers"] == 0)


def test_a_heartbeat_that_lives_is_measured_beside_keepalived_and_bare_loops(tmp_path: Path) -> None:
    status, records = measured(tmp_path, "hotpath", "--rounds", "10", "--live", "4")
    assert status == 0
    costs = [record for record in records if record["kind"] == "residence"]
    assert [cost["contender"] for cost in costs] == ["pycarpd-fast"] * 3 + ["keepalived-fast"] * 3 + ["floor"] * 3
    assert all(cost["percent"] > 0 for cost in (*costs[:3], *costs[6:]))
    assert [sum(cost["is_master"] for cost in costs[at : at + 3]) for at in (0, 3, 6)] == [1, 1, 1]
    assert all(cost["late_mb"] > 0 and cost["early_mb"] > 0 for cost in costs)  # the kernel may take pages back
