"""What goes wrong, drawn from the seed. Each run has only some kinds of faults, so that none hides another (swarm)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from pycarpd.election import events as ev
from pycarpd.election.events import OperatorCommand
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S
from pycarpd.sim.host import PlanFate
from pycarpd.sim.network import Weather
from pycarpd.sim.node import SimNode
from pycarpd.sim.world import World

Fault = Callable[[World, SimNode], None]

OUTAGE_MAX_MS = 6000
"""Most outages are of the order of the master-down interval, where the interesting races are."""
REPLAYED = 20
EVEN = 0.5


def _outage_ns(world: World) -> int:
    return world.rng.randint(1, OUTAGE_MAX_MS) * NS_PER_MS


def _coin(rng: Random) -> bool:
    return rng.random() < EVEN


def crash(world: World, node: SimNode) -> None:
    """Take the host's power away, and boot it again later."""
    if node.elector is None:
        return
    node.crash()

    def boot() -> None:
        if node.elector is None:
            node.start()

    world.agenda.after(_outage_ns(world), boot)


def restart(world: World, node: SimNode) -> None:
    """End the daemon in a clean way, or with mfsmaster left running, and start it again."""
    node.stop(keep_serving=_coin(world.rng))

    def start() -> None:
        if node.elector is None:
            node.start()
        else:
            world.agenda.after(NS_PER_S, start)

    world.agenda.after(_outage_ns(world), start)


def pause(world: World, node: SimNode) -> None:
    """Take the processor away from the heartbeat process."""
    node.pause(_outage_ns(world))


def lose_worker(world: World, node: SimNode) -> None:
    """Kill the worker process and start it again."""
    elector = node.elector
    if elector is None:
        return
    node.lose_worker()

    def start() -> None:
        if node.elector is elector:
            node.start_worker()

    world.agenda.after(_outage_ns(world), start)


def lose_link(world: World, node: SimNode) -> None:
    """Pull the cable and plug it in again."""
    node.set_link(is_up=False)
    world.agenda.after(_outage_ns(world), lambda: node.set_link(is_up=True))


def isolate(world: World, node: SimNode) -> None:
    """Cut the host off without its noticing."""
    world.network.isolate(node.name)
    world.agenda.after(_outage_ns(world), world.network.heal)


def deafen(world: World, node: SimNode) -> None:
    """Let the host hear nobody, or nobody hear the host."""
    is_deaf = _coin(world.rng)
    for other in world.nodes.values():
        ends = (other.name, node.name) if is_deaf else (node.name, other.name)
        world.network.cut(*ends)
    world.agenda.after(_outage_ns(world), world.network.heal)


def cut_one_way(world: World, node: SimNode) -> None:
    """Cut one direction of one path."""
    other = world.rng.choice([n for n in world.nodes.values() if n is not node])
    world.network.cut(node.name, other.name)
    world.agenda.after(_outage_ns(world), world.network.heal)


def kill_mfsmaster(world: World, node: SimNode) -> None:
    """Kill mfsmaster alone, where it serves."""
    del node
    for server in world.servers():
        server.kill_mfsmaster()


def spoil_promotions(world: World, node: SimNode) -> None:
    """Let the host's promotions fail or hang for a while."""
    node.host.fate = world.rng.choice([PlanFate.FAILS, PlanFate.HANGS])

    def mend() -> None:
        node.host.fate = PlanFate.SUCCEEDS

    world.agenda.after(_outage_ns(world), mend)


def spoil_files(world: World, node: SimNode) -> None:
    """Let the host's files prove nothing for a while."""
    node.host.why_not = "a gap in its changelogs"

    def mend() -> None:
        node.host.why_not = ""

    world.agenda.after(_outage_ns(world), mend)


def command(world: World, node: SimNode) -> None:
    """Let an operator ask for something; a pause ends after a while."""
    chosen = world.rng.choice([OperatorCommand.RESIGN, OperatorCommand.PAUSE])
    node.post(ev.Commanded(chosen))
    world.agenda.after(_outage_ns(world), lambda: node.post(ev.Commanded(OperatorCommand.RESUME)))


def replay(world: World, node: SimNode) -> None:
    """Send again what was recorded, and broken copies of it."""
    del node
    world.network.replay(REPLAYED)
    for _ in range(REPLAYED):
        world.network.forge()


def claim_name(world: World, node: SimNode) -> None:
    """Let another process use the node's name."""
    del world
    node.post(ev.NameClaimed())


def rough_weather(world: World, node: SimNode) -> None:
    """Lose, double, delay and reorder datagrams for a while."""
    del node
    usual = world.options.weather
    world.network.weather = Weather(
        delay_min_ns=usual.delay_min_ns,
        delay_max_ns=world.rng.choice([5, 100, 400]) * NS_PER_MS,
        loss=world.rng.choice([0.0, 0.1, 0.5]),
        duplication=world.rng.choice([0.0, 0.3]),
    )

    def calm() -> None:
        world.network.weather = usual

    world.agenda.after(_outage_ns(world), calm)


HOST_FAULTS: tuple[Fault, ...] = (crash, kill_mfsmaster, spoil_promotions, spoil_files, command)
"""Faults during which at most one host may serve, even without an arbiter, as long as nodes hear each other."""

FAULTS: tuple[Fault, ...] = (
    *HOST_FAULTS,
    restart,
    pause,
    lose_worker,
    lose_link,
    isolate,
    deafen,
    cut_one_way,
    replay,
    claim_name,
    rough_weather,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which faults a run draws from, how often, for how long."""

    faults: tuple[Fault, ...]
    mean_gap_ns: int
    duration_ns: int


def draw_plan(rng: Random, faults: tuple[Fault, ...] = FAULTS) -> Plan:
    """Draw a run's kinds of faults and their rate."""
    chosen = tuple(fault for fault in faults if _coin(rng)) or (rng.choice(faults),)
    return Plan(chosen, rng.choice([300, 1000, 4000]) * NS_PER_MS, 30 * NS_PER_S)


def inflict(world: World, plan: Plan) -> None:
    """Run the world under the plan's faults, then mend everything."""
    end_ns = world.agenda.now_ns + plan.duration_ns
    while world.agenda.now_ns < end_ns:
        world.run_for(1 + int(world.rng.expovariate(1 / plan.mean_gap_ns)))
        fault = world.rng.choice(plan.faults)
        node = world.rng.choice(list(world.nodes.values()))
        world.history.append(f"{world.agenda.now_ns / NS_PER_S:9.3f} {node.name} FAULT {fault.__name__}")
        fault(world, node)
    world.run_for(2 * OUTAGE_MAX_MS * NS_PER_MS)
    mend(world)


def mend(world: World) -> None:
    """Make everything well, whatever was planned to get well by itself."""
    world.network.heal()
    world.network.weather = replace(world.options.weather, loss=0.0, duplication=0.0)
    for node in world.nodes.values():
        node.host.fate = PlanFate.SUCCEEDS
        node.host.why_not = ""
        node.set_link(is_up=True)
        node.post(ev.Commanded(OperatorCommand.RESUME))
        if node.elector is None:
            node.start()
