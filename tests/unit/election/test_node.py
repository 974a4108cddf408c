"""What one answer of the election may hold together."""

from pycarpd.election import effects as fx
from tests.unit.election.bench import S, in_promoting


def test_an_address_given_up_is_not_given_back_by_what_the_same_answer_said_before() -> None:
    bench = in_promoting()
    node = bench.elector._node
    node.effects = [fx.AttachVip(node.claimed_term, bench.now + S), fx.RenewLease(bench.now + S), fx.AnnounceVip()]
    node.has_early_address = True
    node.give_up_address()
    assert node.effects == [fx.DetachVip(), fx.AnnounceVip()]
    assert not node.has_early_address
