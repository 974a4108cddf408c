"""Drill, promotions by size and loss at a crash are measured on a real cluster; how large they are, no test asserts."""

from pathlib import Path

import pytest

from tests.product.measuring import measured

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def test_a_drill_is_measured(tmp_path: Path) -> None:
    status, (_machine, figure) = measured(tmp_path, "drill", "--inodes", "10000", "--calm", "2")
    assert status == 0
    assert figure["inodes"] >= 8000
    assert figure["drill"]["outcome"] == "ok"
    assert figure["drill"]["memory_bytes"] > 1 << 20
    assert figure["during"]["wakes"] > 0


def test_promotions_by_size_are_measured(tmp_path: Path) -> None:
    sizes = ("--inodes", "5000", "--lines", "20000", "--beside", "5000")
    status, (_machine, plain, behind) = measured(tmp_path, "scale", *sizes, "--rounds", "1")
    assert status == 0
    assert (plain["lines"], behind["lines"]) == (0, 20_000)
    mounted_again = 100  # each size is made through a mount, whose session is a handful of changes
    assert 20_000 <= behind["version"] - plain["version"] < 20_000 + mounted_again
    for each in (plain, behind):
        assert each["inodes"] >= 4000
        assert each["crash_ms"] > each["served_ms"] > 0
        assert each["bare_ms"] > 0
        assert each["steps_ms"]["start-mfsmaster"] > 0


def test_what_a_crash_loses_is_measured(tmp_path: Path) -> None:
    status, (_machine, crash, planned) = measured(tmp_path, "rpo", "--crashes", "1", "--planned", "1")
    assert status == 0
    assert (crash["how"], planned["how"]) == ("crash", "switchover")
    assert crash["acknowledged"] > crash["lost"] >= 0
    assert planned["lost"] == 0
