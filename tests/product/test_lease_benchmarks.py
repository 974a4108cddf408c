"""The measurements of the lease run, and what they show holds here too: the fence closes, and nobody takes over."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
LATE_MS_MAX = 50
COST_US_MAX = 1000


def measured(target: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Return a measurement's exit status and its figures."""
    command = [sys.executable, "-m", "benchmarks.command", *arguments, "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=ROOT)
    assert target.exists(), done.stderr
    return done.returncode, [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]


def test_the_fence_is_measured(tmp_path: Path) -> None:
    _status, (cost, stopped, killed) = measured(tmp_path / "f", "fence", "--renewals", "200", "--rounds", "2")
    assert cost["renewals"] == 200
    assert 0 < cost["median_us"] < COST_US_MAX
    assert (stopped["how"], killed["how"]) == ("SIGSTOP", "SIGKILL")
    assert max(*stopped["late_ms"], *killed["late_ms"]) < LATE_MS_MAX


def test_false_takeovers_are_counted_beside_keepalived(tmp_path: Path) -> None:
    status, (ours, theirs) = measured(tmp_path / "f", "jitter", "--minutes", "0.1")
    assert (ours["who"], theirs["who"]) == ("pycarpd", "keepalived")
    assert ours["adverts"] > 10
    assert theirs["adverts"] > 10
    assert sum(ours["late_counts"]) == ours["adverts"]
    assert (status == 0) is (ours["takeovers"] == 0)
