"""One rehearsal: a drawn cluster under drawn faults, then a majority of it that is well and must converge.

The first phase asks for safety alone. In the second a random majority is mended, and the others stay as they are: not
running, cut off, or without a processor. Within a bound that follows from the settings one of the majority has to
serve, with everybody else of it standing by.
"""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

from pycarpd.election.model import Arbiter, Role
from pycarpd.invariant import InvariantError
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S
from pycarpd.sim.dialect import Dialect
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.host import Habits
from pycarpd.sim.network import Weather
from pycarpd.sim.node import SimNode
from pycarpd.sim.schedule import Moment, draw_moments, draw_plan, inflict_moments, mend
from pycarpd.sim.world import World, WorldOptions

FAULTS_NS = 10 * NS_PER_S
QUIET_NS = 3 * NS_PER_S // 2
LOOK_NS = 500 * NS_PER_MS
STANDBY_NS = 60 * NS_PER_S
"""A standby that cannot be made one is tried again after twice the time each time: ten seconds of faults, and more."""
BEGIN_MAX_NS = 4 * NS_PER_S
SEALED_EVERY = 10
"""In every tenth rehearsal all adverts travel as bytes, with every digest made and verified."""
CLUSTERS: tuple[tuple[int, int], ...] = ((3, 0), (3, 0), (3, 0), (3, 1), (3, 1), (5, 0), (5, 2), (2, 0))
"""Sizes and how many of the nodes are witnesses; three with one witness is "two nodes and a witness"."""
DRIFT_PPM_MAX = 499
"""Per node, so that no two clocks differ by more than the bound."""
CRASHED, CUT_OFF, PAUSED = range(3)
PREEMPTING = 0.3
SPECULATING = 0.3
WITHOUT_ARBITER = 0.1
MIXED = 0.15
"""In how many rehearsals some nodes run another version of pycarpd."""
UNPUNCTUAL = 0.2
"""In how many some nodes, half of them, had real-time scheduling refused."""
HALF = 0.5
RULE = re.compile(r"\b([SLBP]\d+): ")
FOREVER_NS = 10_000 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything about a rehearsal that a seed decides, before it begins."""

    seed: int
    options: WorldOptions
    begin_ns: int
    moments: tuple[Moment, ...]
    duration_ns: int = FAULTS_NS


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it; ``violation`` is empty when no rule was broken. Times in ns of true time."""

    seed: int
    violation: str = ""
    history: tuple[str, ...] = ()
    marks: Counter[str] = field(default_factory=Counter)
    exposure_ns: int = 0
    exposure_max_ns: int = 0
    converged_ns: int = 0

    @property
    def rule(self) -> str:
        """Return the broken rule's name, as S2; empty when none was broken."""
        found = RULE.search(self.violation)
        return found.group(1) if found else ""


def draw(seed: int, arbiter: Arbiter | None = None) -> Scenario:
    """Draw a rehearsal; without *arbiter* that is drawn too, mostly a majority."""
    rng = Random(f"scenario {seed}")
    if arbiter is None:
        arbiter = Arbiter.NONE if rng.random() < WITHOUT_ARBITER else Arbiter.MAJORITY
    options = _draw_options(rng, arbiter, is_sealed=seed % SEALED_EVERY == 0)
    # Drawn apart, so that what else a seed means is what it has always meant.
    options = replace(options, speculates=Random(f"speculation {seed}").random() < SPECULATING)
    names = tuple(f"meta{number}" for number in range(1, options.nodes + 1))
    options = replace(options, unpunctual=_draw_unpunctual(Random(f"punctuality {seed}"), names))
    moments = draw_moments(rng, draw_plan(rng, duration_ns=FAULTS_NS), names)
    return Scenario(seed, options, rng.randint(0, BEGIN_MAX_NS), moments)


def _draw_options(rng: Random, arbiter: Arbiter, *, is_sealed: bool) -> WorldOptions:
    nodes, witnesses = rng.choice(CLUSTERS)
    return WorldOptions(
        nodes=nodes,
        witnesses=frozenset(f"meta{nodes - number}" for number in range(witnesses)),
        arbiter=arbiter,
        preempt=rng.random() < PREEMPTING,
        priorities={f"meta{number}": rng.choice([50, 100, 100, 200]) for number in range(1, 6)},
        weather=Weather(100_000, rng.choice([200_000, 3 * NS_PER_MS])),
        drift_ppm_max=rng.choice([0, DRIFT_PPM_MAX]),
        is_sealed=is_sealed,
        dialects=_draw_dialects(rng, nodes),
        habits=Habits(
            wake_ns=rng.choice([0, 2 * NS_PER_MS]),
            persist_ns=rng.choice([1, 20]) * NS_PER_MS,
            journal_ns=rng.choice([0, 5]) * NS_PER_MS,
            promotion_ns=rng.choice([50, 400, 2000]) * NS_PER_MS,
            demotion_ns=rng.choice([20, 300, 1500]) * NS_PER_MS,
            plan_timeout_ns=3 * NS_PER_S,
        ),
    )


def _draw_unpunctual(rng: Random, names: tuple[str, ...]) -> frozenset[str]:
    if rng.random() >= UNPUNCTUAL:
        return frozenset()
    return frozenset(name for name in names if rng.random() < HALF)


def _draw_dialects(rng: Random, nodes: int) -> dict[str, Dialect]:
    if rng.random() >= MIXED:
        return {}
    return {f"meta{number}": rng.choice(list(Dialect)) for number in range(1, nodes + 1)}


def perform(scenario: Scenario) -> Result:
    """Run a rehearsal to its end, or to the first broken rule."""
    world = World(scenario.seed, scenario.options)
    violation = ""
    converged_ns = 0
    for dialect in set(scenario.options.dialects.values()):
        world.mark(f"a node of another version: {dialect.name.lower()}")
    if scenario.options.unpunctual:
        world.mark("a node whose adverts may be late")
    if scenario.options.speculates:
        world.mark("a cluster that speculates")
    if scenario.options.arbiter is Arbiter.NONE:
        world.mark("a cluster without an arbiter")
    world.mark(f"a cluster of {scenario.options.nodes}, {len(scenario.options.witnesses)} of them witnesses")
    try:
        world.start()
        world.run_for(scenario.begin_ns)
        inflict_moments(world, scenario.moments, scenario.duration_ns)
        converged_ns = converge(world, _core(world))
    except CheckFailedError as failure:
        violation = str(failure).partition("\n")[0]
    except InvariantError as bug:
        violation = f"seed={scenario.seed} t={world.agenda.now_ns / NS_PER_S:.3f}s B1: a bug was noticed: {bug}"
    reachability = world.reachability
    return Result(
        scenario.seed,
        violation,
        tuple(world.history),
        world.marks,
        reachability.exposure_ns,
        reachability.exposure_max_ns,
        converged_ns,
    )


def _core(world: World) -> tuple[SimNode, ...]:
    """Choose who is to be well again: a majority, or everybody where none decides."""
    nodes = list(world.nodes.values())
    majority = nodes[0].settings.majority
    if majority == 1:
        return tuple(nodes)
    return tuple(world.rng.sample(nodes, world.rng.randint(majority, len(nodes))))


def converge(world: World, core: tuple[SimNode, ...]) -> int:
    """Mend the core, leave the others as ill as they are, and return how long one took to serve."""
    mend(world, core)
    for node in world.nodes.values():
        if node not in core:
            _lay_low(world, node)
    began_ns = world.agenda.now_ns
    bound_ns = world.settling_bound_ns() + world.orphans_ns()
    quiet_since_ns, changes = began_ns, world.changes
    while world.agenda.now_ns - began_ns <= bound_ns + QUIET_NS:
        world.run_for(LOOK_NS)
        if not _is_settled(core) or world.changes != changes:
            quiet_since_ns, changes = world.agenda.now_ns, world.changes
        elif world.agenda.now_ns - quiet_since_ns >= QUIET_NS:
            _await_standbys(world, core)
            return quiet_since_ns - began_ns
    if not any(node.host.freshness and not node.member.is_witness for node in core):
        world.mark("no copy of the metadata was left among those who are well")
        return 0
    names = ", ".join(node.name for node in core)
    raise CheckFailedError(world.report(f"L1: {names} do not converge in {bound_ns / NS_PER_S:.1f} s"))


def _await_standbys(world: World, core: tuple[SimNode, ...]) -> None:
    """Wait until everybody else of the core could take over; what failed to make room is tried again in time."""
    began_ns = world.agenda.now_ns
    while missing := [node.name for node in core if not _stands_by(node)]:
        if world.agenda.now_ns - began_ns > STANDBY_NS:
            raise CheckFailedError(world.report(f"L3: {', '.join(missing)} never could take over again"))
        world.run_for(LOOK_NS)


def _stands_by(node: SimNode) -> bool:
    snapshot = node.snapshot
    is_standby = node.role is Role.BACKUP and not node.member.is_witness
    return not is_standby or (snapshot is not None and not snapshot.why_not)


def _lay_low(world: World, node: SimNode) -> None:
    how = world.rng.randrange(3)
    world.mark(f"left behind: {('crashed', 'cut off', 'paused')[how]}")
    world.network.isolate(node.name)
    if how == CRASHED:
        node.crash()
    elif how == PAUSED:
        node.pause(FOREVER_NS)


def _is_settled(core: tuple[SimNode, ...]) -> bool:
    """Tell whether one of the core serves in the newest term served there, the others standing by without mfsmaster."""
    servers = [node for node in core if node.serves]
    if len(servers) != 1 or servers[0].role is not Role.MASTER or servers[0].host.is_gate_closed:
        return False
    others = [node for node in core if node is not servers[0]]
    if any(node.role is not Role.BACKUP or node.host.has_mfsmaster for node in others):
        return False
    snapshot = servers[0].snapshot
    newest = max(node.host.disk.served_term for node in core)
    return snapshot is not None and snapshot.term >= newest
