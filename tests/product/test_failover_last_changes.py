"""The last changes decide who succeeds, also those that are in a metalogger's buffer when a candidate is elected."""

import pytest

from tests.product.stage import Stage

ARBITER = "majority"
CRASHES_MAX = 24
"""One in four makes the first in line give way: otherwise it has seen already that the other knows more."""
GAVE_WAY = 'cause="a standby has newer metadata"'
TABLE = "lag"
RULES = "  chain input { type filter hook input priority 0; policy accept; tcp sport 9419 drop; }"

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def test_a_candidate_gives_way_to_the_standby_that_has_the_last_changes_in_its_buffer(stage: Stage) -> None:
    """The filter takes some 40 ms to be installed, in which the other standby's metalogger gets a few changes more.

    A buffer holds 4 KiB, or a second's: mostly nobody can see them yet when votes are asked for.
    """
    for _ in range(CRASHES_MAX):
        master = stage.fresh_master()
        first, other = stage.others(master)
        topology = stage.cluster.topology
        with stage.scenario() as scene:
            said = len(stage.log(first))
            topology.filter(first, TABLE, RULES, family="inet")
            scene.inject("crash", master)
            topology.unfilter(first, TABLE, family="inet")
            successor = scene.await_master(not_on=master)
            scene.await_writes()
            has_given_way = GAVE_WAY in stage.log(first)[said:]
            scene.heal("crash", master)
        scene.assert_no_overlap(master)
        if has_given_way:
            assert successor == other
            return
    pytest.fail(f"of {CRASHES_MAX} crashes none made the first in line give way")
