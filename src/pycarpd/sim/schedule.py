"""Which faults a run has: drawn from a seed as a list of moments that can be shortened, and inflicted on a world."""

from dataclasses import dataclass, replace
from random import Random

from pycarpd.election import events as ev
from pycarpd.election.events import OperatorCommand
from pycarpd.sim import faults
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S
from pycarpd.sim.faults import FAULTS, Fault
from pycarpd.sim.host import PlanFate
from pycarpd.sim.node import SimNode
from pycarpd.sim.world import World

SHARES = (0.08, 0.2, 0.5)
"""Of all kinds of faults a run has few, some, or half: a race of two kinds is rare among twenty others."""
FAULTS_NS = 30 * NS_PER_S
RESUMED_AT_MOST = 40
MEAN_GAPS_MS = (300, 1000, 4000)


@dataclass(frozen=True, slots=True)
class Moment:
    """One fault: when (true time after the beginning of the faults), on which node, with which dice."""

    at_ns: int
    fault: str
    node: str
    seed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Which faults a run draws from, how often, for how long."""

    faults: tuple[Fault, ...]
    mean_gap_ns: int
    duration_ns: int


def draw_plan(rng: Random, kinds: tuple[Fault, ...] = FAULTS, duration_ns: int = FAULTS_NS) -> Plan:
    """Draw a run's kinds of faults and their rate."""
    share = rng.choice(SHARES)
    chosen = tuple(fault for fault in kinds if rng.random() < share) or (rng.choice(kinds),)
    return Plan(chosen, rng.choice(MEAN_GAPS_MS) * NS_PER_MS, duration_ns)


def draw_moments(rng: Random, plan: Plan, names: tuple[str, ...]) -> tuple[Moment, ...]:
    """Draw the faults themselves."""
    moments = []
    at_ns = 0
    while (at_ns := at_ns + 1 + int(rng.expovariate(1 / plan.mean_gap_ns))) < plan.duration_ns:
        fault = rng.choice(plan.faults)
        moments.append(Moment(at_ns, fault.__name__, rng.choice(names), rng.getrandbits(32)))
    return tuple(moments)


def inflict_moments(world: World, moments: tuple[Moment, ...], duration_ns: int) -> None:
    """Run the world under the faults; what they have planned to get well is left to do so."""
    began_ns = world.agenda.now_ns
    for moment in moments:
        world.run_for(max(0, began_ns + moment.at_ns - world.agenda.now_ns))
        world.history.append(f"{world.agenda.now_ns / NS_PER_S:9.3f} {moment.node} FAULT {moment.fault}")
        world.mark(f"fault: {moment.fault}")
        faults.BY_NAME[moment.fault](world, world.nodes[moment.node], Random(moment.seed))
    world.run_for(max(0, began_ns + duration_ns - world.agenda.now_ns))


def inflict(world: World, plan: Plan) -> None:
    """Draw and inflict faults, let outages end, then mend everything."""
    inflict_moments(world, draw_moments(world.rng, plan, tuple(world.nodes)), plan.duration_ns)
    world.run_for(2 * faults.OUTAGE_MAX_MS * NS_PER_MS)
    mend(world, tuple(world.nodes.values()))


def _resume(world: World, node: SimNode, attempts: int) -> None:
    """Let an operator end the node's pause, again and again while it is not running or about to end."""
    node.post(ev.Commanded(OperatorCommand.RESUME))
    if attempts:
        world.agenda.after(NS_PER_S // 4, lambda: _resume(world, node, attempts - 1))


def mend(world: World, nodes: tuple[SimNode, ...]) -> None:
    """Make these nodes and all paths between them well, whatever was planned to get well by itself."""
    world.network.heal()
    world.network.weather = replace(world.options.weather, loss=0.0, duplication=0.0)
    for node in nodes:
        node.host.fate = PlanFate.SUCCEEDS
        node.host.why_not = ""
        node.host.disk_delay_ns = 0
        node.host.doom = None
        node.host.is_lagging = False
        node.thaw()
        node.paused_until_ns = min(node.paused_until_ns, world.agenda.now_ns)
        node.pause(0)
        node.set_link(is_up=True)
        _resume(world, node, RESUMED_AT_MOST)
        faults.start_when_ended(world, node)
