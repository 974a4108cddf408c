"""What a node says it believes, where a status is made from it."""

from pycarpd.election.model import Role
from tests.unit.election.bench import INTERVAL, MS, THIRD, Bench, in_backup


def live(bench: Bench) -> int:
    return bench.elector.snapshot(bench.now).live_members


def test_a_demoted_node_counts_the_silent_out_as_soon_as_any_other() -> None:
    bench = in_backup()
    bench.elector._node.raise_demotion(bench.now)
    bench.hear(Role.BACKUP, 5)
    bench.hear(Role.BACKUP, 5, by=THIRD)
    bench.wait(4 * INTERVAL)
    assert live(bench) == 3
    bench.wait(MS)
    assert live(bench) == 1
