import json
from itertools import pairwise
from pathlib import Path

import pytest

from netns.commands import run
from netns.owner import records

pytestmark = [pytest.mark.netns, pytest.mark.product]
DEMO = Path(__file__).parents[2] / "netns" / "demo"
WITNESS_LATE_MS = 50


@pytest.mark.timeout(300)
def test_the_demonstration_is_good_and_leaves_nothing() -> None:
    before = {record.prefix for record in records()}
    told = run(str(DEMO), "--json", timeout_s=250)
    assert told.succeeded, told.output + told.errors
    outcome = json.loads(told.output)
    assert outcome["good"]
    assert outcome["new_owner"] not in (None, outcome["crashed"])
    assert outcome["longest_gap_ms"] < 3000
    assert outcome["stuck"] == 0
    assert outcome["files"]["checked"] == outcome["acknowledged"] >= 200
    assert [outcome["files"][fate] for fate in ("lost", "short", "wrong")] == [0, 0, 0]
    phases = list(outcome["phases_ms"].values())
    # Netlink's witness is a process that may be late to look; the wire's stamps are the kernel's own.
    assert all(later > earlier - WITNESS_LATE_MS for earlier, later in pairwise(phases))
    assert not [r.prefix for r in records() if r.prefix not in before and r.directory in told.errors]


def test_a_single_host_is_refused_as_a_wrong_use() -> None:
    assert run(str(DEMO), "--hosts", "1").status == 2
