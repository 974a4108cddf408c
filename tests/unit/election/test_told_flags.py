"""Which flags a node's adverts carry: each fact about it is one flag, and none is another's."""

from typing import Any

import pytest

from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Flags, Member, Role
from tests.unit.election.bench import FRESH, ME, MEMBERS, THIRD, Bench

USUAL = Flags.PROMOTABLE | Flags.FREE


def said(bench: Bench) -> Flags:
    """What the next report says."""
    flags: Flags = bench.elector._node._advert(bench.now, 0).flags
    return flags


def standby(*, why_not: str = "", **changes: Any) -> Bench:
    """A BACKUP that follows the second member, and has heard what the third one has."""
    bench = Bench(**({"arbiter": Arbiter.MAJORITY} | changes))
    for event in (
        ev.LinkChanged(is_up=True),
        ev.WorkerReady(False, False),
        ev.FreshnessKnown(FRESH, ""),
    ):
        bench.tell(event)
    bench.hear(Role.MASTER, 6, served_term=6, hold_ms=750)
    bench.hear(Role.BACKUP, 6, by=THIRD, served_term=6)
    bench.tell(ev.FreshnessKnown(FRESH, why_not))
    assert bench.role() is Role.BACKUP
    return bench


def test_a_standby_of_a_served_cluster() -> None:
    assert said(standby()) == USUAL


def witness() -> Bench:
    members = (Member(ME.node_id, ME.name, ME.address, is_witness=True), *MEMBERS[1:])
    return standby(members=members)


def paused() -> Bench:
    bench = standby()
    bench.tell(ev.Commanded(ev.OperatorCommand.PAUSE))
    return bench


def masterless() -> Bench:
    bench = standby(why_not="a gap")
    bench.wait(20 * bench.elector._node.settings.interval_ns)
    return bench


@pytest.mark.parametrize(
    ("bench", "flags"),
    [
        (witness(), USUAL | Flags.WITNESS),
        (paused(), USUAL | Flags.PAUSED),
        (standby(why_not="a gap"), USUAL & ~Flags.PROMOTABLE),
        (masterless(), (USUAL & ~Flags.PROMOTABLE) | Flags.NO_MASTER),
        (standby(preempt=True, priority=200), USUAL | Flags.WANTS_MASTER),
        (standby(arbiter=Arbiter.NONE), (USUAL & ~Flags.FREE) | Flags.CAN_SPLIT),
    ],
    ids=("witness", "paused", "not promotable", "no master", "wants master", "can split"),
)
def test_one_fact_is_one_flag(bench: Bench, flags: Flags) -> None:
    assert said(bench) == flags


def test_what_passes_is_said_while_it_lasts() -> None:
    bench = standby()
    node = bench.elector._node
    node.opens_term = True
    assert said(bench) == USUAL | Flags.OPENS_TERM
    node.opens_term, node.settled.is_settled = False, True
    assert said(bench) == USUAL | Flags.SETTLED
    node.settled.is_settled, node.resign_repeats = False, 1
    assert said(bench) == USUAL | Flags.RESIGNED
    assert said(bench) == USUAL
