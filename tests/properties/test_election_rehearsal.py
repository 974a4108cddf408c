"""Whole clusters under faults from a seed; what is true of them in any case, and that the checkers can fail at all.

To look at a failure: ``rehearse(SEED)``; its message has the role changes before it.
"""

from collections.abc import Callable
from random import Random

import pytest

from pycarpd.election import events as ev
from pycarpd.election import roles
from pycarpd.election.events import OperatorCommand, StatePersisted
from pycarpd.election.model import Persistent, Role
from pycarpd.election.node import Node
from pycarpd.sim import faults, schedule
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.host import Habits, PlanFate
from pycarpd.sim.network import Weather
from pycarpd.sim.node import SimNode
from pycarpd.sim.worker import SimWorker
from pycarpd.sim.world import World, WorldOptions

SEEDS = range(40)
QUIET_SEEDS = range(6)
MUTANT_SEEDS = range(60)
RANKED = {"meta1": 254, "meta2": 190, "meta3": 126}


def drawn_options(rng: Random) -> WorldOptions:
    """Draw a cluster: its size, ranks, weather and how long things take on its hosts."""
    return WorldOptions(
        nodes=rng.choice([2, 3, 3, 5]),
        preempt=rng.random() < 0.3,
        strict=rng.random() < 0.8,
        priorities={f"meta{number}": rng.choice([50, 100, 100, 200]) for number in range(1, 6)},
        weather=Weather(100_000, rng.choice([200_000, 3 * NS_PER_MS])),
        drift_ppm_max=rng.choice([0, 200]),
        habits=Habits(
            wake_ns=rng.choice([0, 2 * NS_PER_MS]),
            persist_ns=rng.choice([1, 20]) * NS_PER_MS,
            promotion_ns=rng.choice([50, 400, 2000]) * NS_PER_MS,
            demotion_ns=rng.choice([20, 300, 1500]) * NS_PER_MS,
        ),
    )


def rehearse(seed: int, kinds: tuple[faults.Fault, ...] = faults.FAULTS) -> World:
    """Run a drawn cluster under drawn faults until it has settled."""
    rng = Random(seed)
    world = World(seed, drawn_options(rng))
    world.start()
    schedule.inflict(world, schedule.draw_plan(rng, kinds))
    world.require_settling()
    return world


def settled(options: WorldOptions | None = None) -> World:
    """Return a cluster of three, ranked, with meta1 as its master for some seconds."""
    world = World(1, options or WorldOptions(priorities=RANKED))
    world.start()
    world.run_for(5 * NS_PER_S)
    assert world.require_one_master().name == "meta1"
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_after_any_faults_one_master_of_the_newest_served_term_is_left(seed: int) -> None:
    world = rehearse(seed)
    assert world.masterships


@pytest.mark.parametrize("seed", QUIET_SEEDS)
def test_without_faults_the_first_master_stays(seed: int) -> None:
    world = World(seed, drawn_options(Random(seed)))
    world.start()
    world.run_for(60 * NS_PER_S)
    world.require_one_master()
    assert len({term for _, _, term in world.masterships}) == len(world.masterships) == 1


@pytest.mark.parametrize("seed", range(100, 110))
def test_when_nodes_hear_each_other_at_most_one_host_serves(seed: int) -> None:
    rng = Random(seed)
    world = World(seed, WorldOptions(nodes=3, priorities=RANKED))

    def only_one(node: SimNode, event: ev.Event, effects: object) -> None:
        del node, event, effects
        if len(world.servers()) > 1:
            raise CheckFailedError("two hosts serve")

    world.listeners.append(only_one)
    world.start()
    schedule.inflict(world, schedule.draw_plan(rng, faults.HOST_FAULTS))
    world.require_settling()


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_run(seed: int) -> None:
    assert list(rehearse(seed).history) == list(rehearse(seed).history)


def test_of_equal_candidates_one_is_left_after_one_exchange_of_adverts() -> None:
    world = World(3, WorldOptions(nodes=5))
    world.start()
    world.run_for(910 * NS_PER_MS)
    candidates = [n for n in world.nodes.values() if n.snapshot and n.snapshot.role is Role.PROMOTING]
    assert len(candidates) == 1
    world.run_for(5 * NS_PER_S)
    assert world.require_one_master() is candidates[0]


def test_a_failed_promotion_passes_the_turn_on_well_before_the_failing_node_tries_again() -> None:
    world = settled()
    world.nodes["meta2"].host.fate = PlanFate.FAILS
    world.nodes["meta1"].crash()
    world.run_for(3 * NS_PER_S)
    assert world.require_running_master() == "meta3"
    assert [name for _, name, _ in world.masterships] == ["meta1", "meta3"]


def test_a_resignation_is_taken_up_within_the_successors_skew_once_mfsmaster_is_gone() -> None:
    world = settled()
    began_ns = world.agenda.now_ns
    world.nodes["meta1"].post(ev.Commanded(OperatorCommand.RESIGN))
    world.run_for(3 * NS_PER_S)
    served_ns, name, _ = world.masterships[-1]
    habits, interval_ns = world.options.habits, world.options.interval_ns
    assert name == "meta2"
    assert served_ns - began_ns <= habits.demotion_ns + habits.promotion_ns + interval_ns // 2


def test_the_lone_survivor_promotes_itself_again_after_a_failure() -> None:
    world = settled()
    for name in ("meta1", "meta2"):
        world.nodes[name].crash()
    survivor = world.nodes["meta3"]
    survivor.host.fate = PlanFate.FAILS
    world.run_for(5 * NS_PER_S)
    assert not world.masters()
    survivor.host.fate = PlanFate.SUCCEEDS
    world.run_for(20 * NS_PER_S)
    assert world.require_running_master() == "meta3"


@pytest.mark.parametrize("count", [1, 50, 500])
def test_replayed_and_forged_datagrams_change_nothing(count: int) -> None:
    world = settled()
    world.nodes["meta1"].crash()
    world.run_for(5 * NS_PER_S)
    changes = world.changes
    for _ in range(5):
        world.network.replay(count)
        for _ in range(count):
            world.network.forge()
        world.run_for(NS_PER_S)
    assert world.changes == changes


def test_a_rebooted_node_is_not_led_by_a_recorded_master() -> None:
    world = settled()
    world.nodes["meta1"].crash()
    world.run_for(5 * NS_PER_S)
    world.nodes["meta3"].crash()
    world.nodes["meta3"].start()
    world.network.replay(500)
    world.run_for(3 * NS_PER_S)
    snapshot = world.nodes["meta3"].snapshot
    assert snapshot is not None
    assert snapshot.master_id == world.nodes["meta2"].member.node_id


def _forget_to_detach(node: Node) -> None:
    """Keep the address."""


def _report_before_writing(worker: SimWorker, persistent: Persistent) -> None:
    worker._reporting.report(StatePersisted(persistent))


def _renew_whatever_lapsed(node: Node, *_: object) -> None:
    """Serve on after a late wake-up."""


def _may_always_promote(node: Node, _now_ns: int) -> bool:
    return not node.faults and not node.is_stopping


MUTANTS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "the address stays": (Node, "give_up_address", _forget_to_detach),
    "claims before the disk": (SimWorker, "persist", _report_before_writing),
    "no suspension": (roles, "suspend", _renew_whatever_lapsed),
    "candidates without files": (Node, "may_promote", _may_always_promote),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, bug = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, bug)
    for seed in MUTANT_SEEDS:
        try:
            rehearse(seed)
        except CheckFailedError:
            return
    pytest.fail(f"{len(MUTANT_SEEDS)} seeds did not notice: {name}")
