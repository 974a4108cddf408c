"""What one answer of the election holds, and what it may not hold together."""

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from tests.unit.election.bench import INTERVAL, S, in_backup, in_master, in_promoting


def test_an_address_given_up_is_not_given_back_by_what_the_same_answer_said_before() -> None:
    bench = in_promoting()
    node = bench.elector._node
    node.effects = [fx.AttachVip(node.claimed_term, bench.now + S), fx.RenewLease(bench.now + S), fx.AnnounceVip()]
    node.has_early_address = True
    node.give_up_address()
    assert node.effects == [fx.DetachVip(), fx.AnnounceVip()]
    assert not node.has_early_address


def test_anothers_claim_of_the_address_is_answered_after_its_adverts_could_have_been_heard() -> None:
    bench = in_master()
    assert bench.tell(ev.VipClaimed()) == [fx.AnnounceVip(2 * INTERVAL)]
    assert in_backup().tell(ev.VipClaimed()) == []
