"""Takeovers, elections and switchovers are measured; how long they take, no test asserts."""

from pathlib import Path

import pytest

from tests.product.measuring import measured

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def test_takeovers_are_measured_beside_ucarps(tmp_path: Path) -> None:
    options = ("--crashes", "1", "--contenders", "pycarpd-fast,ucarp")
    status, (machine, ours, theirs) = measured(tmp_path, "takeover", *options)
    assert status == 0
    assert machine["moosefs"].startswith("3.")
    assert (ours["contender"], theirs["contender"]) == ("pycarpd-fast", "ucarp")
    for crash in (ours, theirs):
        assert crash["trouble"] == ""
        assert crash["serving"] == 1, crash
        assert 0 < crash["garp_ms"] < crash["written_ms"]
    assert ours["new_owner"] in ("m2", "m3")  # m2 gives way where m3's metalogger has later changes
    assert theirs["new_owner"] == "m2"
    assert ours["steps_ms"]["start-mfsmaster"] > 0


def test_switchovers_are_measured_and_lose_nothing(tmp_path: Path) -> None:
    status, (_machine, move, verdict) = measured(tmp_path, "switchover", "--count", "1")
    assert status == 0
    assert move["code"] == "switchover-done"
    assert move["old"] != move["new"]
    assert move["gap_ms"] > 0
    assert verdict["checked"] > 0
    assert (verdict["damages"], verdict["errors"]) == ([], 0)


def test_elections_are_measured_beside_keepalived(tmp_path: Path) -> None:
    status, (_machine, ours, theirs) = measured(tmp_path, "election", "--crashes", "1")
    assert status == 0
    assert (ours["contender"], theirs["contender"]) == ("pycarpd-fast", "keepalived-fast")
    assert ours["garp_ms"] > 0
    assert theirs["garp_ms"] > 0
