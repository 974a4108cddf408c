"""When a switchover begins: the successor is to serve just before the chunkservers look for a master."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycarpd.daemon.moment import GRID_NS, LEAD_MS, NS_PER_MS, PROMOTION_MS, SPARE_MS, patience_ns, promotion_ms

PHASES = {"assemble": 10, "start-mfsmaster": 400, "take-address": 5, "await-chunkservers": 900}


@pytest.mark.parametrize(("phases", "expected_ms"), [(PHASES, 415), ({}, PROMOTION_MS), ({"kill": 9}, PROMOTION_MS)])
def test_a_promotion_is_as_long_as_the_last_one(phases: dict[str, int], expected_ms: int) -> None:
    assert promotion_ms(phases) == expected_ms


@given(now_ns=st.integers(min_value=0, max_value=2**62), is_early=st.booleans())
def test_the_chunkservers_look_when_the_successor_awaits_them(now_ns: int, is_early: bool) -> None:
    waited_ns = patience_ns(now_ns, PHASES, is_early=is_early)
    assert 0 <= waited_ns < GRID_NS
    begins_ns = now_ns + waited_ns + LEAD_MS * NS_PER_MS
    expected_ns = begins_ns + (207 if is_early else 415 + SPARE_MS) * NS_PER_MS
    assert expected_ns % GRID_NS == 0
