"""What goes wrong, drawn from the seed. Each run has only some kinds of faults, so that none hides another (swarm).

A fault is drawn with its moment, its node and its own dice before anything happens, so that leaving one out of a
failing run leaves the others as they were.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

from pycarpd.election import events as ev
from pycarpd.election.events import OperatorCommand
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S
from pycarpd.sim.host import Doom, DoomMoment, Host, PlanFate
from pycarpd.sim.network import Path, Weather
from pycarpd.sim.node import SimNode
from pycarpd.sim.world import World

Fault = Callable[[World, SimNode, Random], None]

OUTAGE_MAX_MS = 6000
"""Most outages are of the order of the master-down interval, where the interesting races are."""
PAUSES_MS = (10, 60, 300, 760, 1500, 5000, 11_000, 30_000)
RESTART_MAX_MS = 1500
WRITES_MAX = 16
REPLAYED = 20
UNREPLICATED_MAX = 300
UNWRITTEN_MAX = 3
PROMOTING_STEPS = ("assemble", "install", "start-mfsmaster", "probe")
STEPS = (
    *PROMOTING_STEPS,
    "preserve",
    "stop-metalogger",
    "end-mfsmaster",
    *PROMOTING_STEPS,
    "close-gate",
    "await-chunkservers",
    "kill-mfsmaster",
    "hold-clients",
    "settle",
    "prove-level",
    "archive-files",
    "start-metalogger",
)


def _outage_ns(rng: Random) -> int:
    return rng.randint(1, OUTAGE_MAX_MS) * NS_PER_MS


def _is_heads(rng: Random) -> bool:
    return bool(rng.getrandbits(1))


def start_when_ended(world: World, node: SimNode) -> None:
    """Start the daemon if it does not run, once nothing of it runs any more."""
    if node.is_orphaned:
        world.agenda.after(NS_PER_S // 10, lambda: start_when_ended(world, node))
    elif node.elector is None:
        node.start()


def _start_after(world: World, node: SimNode, delay_ns: int) -> None:
    """Let the supervisor, or a reboot, start the daemon."""
    world.agenda.after(delay_ns, lambda: start_when_ended(world, node))


def crash(world: World, node: SimNode, rng: Random) -> None:
    """Take the host's power away, and boot it again later."""
    node.crash()
    _start_after(world, node, _outage_ns(rng))


def crash_at_a_write(world: World, node: SimNode, rng: Random) -> None:
    """Take the host's power away before, in, or after one of its next writes, which may be those of a takeover."""
    node.host.doom = Doom(rng.randint(1, WRITES_MAX), rng.choice(list(DoomMoment)))

    if _is_heads(rng):
        for server in world.servers():
            server.post(ev.Commanded(OperatorCommand.RESIGN))

    def boot() -> None:
        if node.host.doom is not None:
            node.host.doom = None
        elif node.elector is None:
            world.mark("power was lost at a write")
            _start_after(world, node, 0)

    world.agenda.after(2 * _outage_ns(rng), boot)


def restart(world: World, node: SimNode, rng: Random) -> None:
    """End the daemon in a clean way, or with mfsmaster left running, and start it again."""
    node.stop(keep_serving=_is_heads(rng))

    def start() -> None:
        if node.elector is None:
            _start_after(world, node, 0)
        else:
            world.agenda.after(NS_PER_S, start)

    world.agenda.after(_outage_ns(rng), start)


def pause(world: World, node: SimNode, rng: Random) -> None:
    """Take the processor away from the heartbeat process."""
    del world
    node.pause(rng.choice(PAUSES_MS) * NS_PER_MS)


def freeze(world: World, node: SimNode, rng: Random) -> None:
    """Let the host stand still with its clock, as a virtual machine may."""
    del world
    node.freeze(rng.choice(PAUSES_MS) * NS_PER_MS)


def lose_worker(world: World, node: SimNode, rng: Random) -> None:
    """Kill the worker process and start it again, beside its heartbeat."""
    elector = node.elector
    node.lose_worker()

    def start() -> None:
        if node.elector is elector and elector is not None:
            node.start_worker()

    world.agenda.after(_outage_ns(rng), start)


def kill_worker(world: World, node: SimNode, rng: Random) -> None:
    """Kill the worker process; the supervisor starts both anew."""
    node.kill_worker()
    _start_after(world, node, rng.randint(1, RESTART_MAX_MS) * NS_PER_MS)


def kill_heartbeat(world: World, node: SimNode, rng: Random) -> None:
    """Kill the heartbeat process; the supervisor starts both anew when the worker has ended."""
    node.kill_heartbeat()
    _start_after(world, node, rng.randint(1, RESTART_MAX_MS) * NS_PER_MS)


def kill_all(world: World, node: SimNode, rng: Random) -> None:
    """Kill everything but mfsmaster."""
    node.kill_all()
    _start_after(world, node, _outage_ns(rng))


def lose_link(world: World, node: SimNode, rng: Random) -> None:
    """Pull the cable and plug it in again."""
    node.set_link(is_up=False)
    world.agenda.after(_outage_ns(rng), lambda: node.set_link(is_up=True))


def _cut(world: World, rng: Random, paths: Iterable[Path]) -> None:
    world.agenda.after(2 * _outage_ns(rng), world.network.cut_all(paths))


def isolate(world: World, node: SimNode, rng: Random) -> None:
    """Cut the host off without its noticing."""
    _cut(world, rng, world.network.between({node.name}))


def part(world: World, node: SimNode, rng: Random) -> None:
    """Cut the network into two parts, of any sizes."""
    side = {node.name} | {name for name in world.nodes if _is_heads(rng)}
    _cut(world, rng, world.network.between(side))


def part_around(world: World, node: SimNode, rng: Random) -> None:
    """Let two parts hear nothing of each other, but both of them hear and reach one node between them."""
    side = {name for name in world.nodes if name != node.name and _is_heads(rng)}
    paths = world.network.between(side)
    _cut(world, rng, (path for path in paths if node.name not in path))


def deafen(world: World, node: SimNode, rng: Random) -> None:
    """Let the host hear nobody, or nobody hear the host."""
    receiving = int(_is_heads(rng))
    _cut(world, rng, (path for path in world.network.between({node.name}) if path[receiving] == node.name))


def cut_one_way(world: World, node: SimNode, rng: Random) -> None:
    """Cut one direction of one path."""
    other = rng.choice([name for name in world.nodes if name != node.name])
    _cut(world, rng, [(node.name, other)])


def kill_mfsmaster(world: World, node: SimNode, rng: Random) -> None:
    """Kill mfsmaster alone, where one runs; what its writer had not written yet, metaloggers may have all the same."""
    running = [n for n in world.nodes.values() if n.host.has_mfsmaster]
    killed = rng.choice(running) if running else node
    unwritten = world.agenda.now_ns // NS_PER_MS % (UNWRITTEN_MAX + 1)
    if killed.serves and not killed.has_plan:
        killed.host.data.leave_unwritten(unwritten, killed.host.expected_version)
    killed.kill_mfsmaster()


def hang_mfsmaster(world: World, node: SimNode, rng: Random) -> None:
    """Let mfsmaster answer nobody for a while, where one runs."""
    running = [n for n in world.nodes.values() if n.host.has_mfsmaster]
    (rng.choice(running) if running else node).hang_mfsmaster(_outage_ns(rng), NS_PER_S)


def spoil_plans(world: World, node: SimNode, rng: Random) -> None:
    """Let one step of the host's plans fail, hang, or start other files than those that were proved, for a while."""
    fates = [
        PlanFate.FAILS,
        PlanFate.FAILS,
        PlanFate.HANGS,
        PlanFate.STARTS_OTHER_FILES,
        PlanFate.STARTS_OTHER_FILES,
        PlanFate.CANNOT_BE_UNDONE,
    ]
    node.host.fate = rng.choice(fates)
    node.host.fateful_step = rng.choice(STEPS)

    def mend() -> None:
        node.host.fate = PlanFate.SUCCEEDS

    world.agenda.after(2 * _outage_ns(rng), mend)


def spoil_archiving(world: World, node: SimNode, rng: Random) -> None:
    """Let whoever serves give way, and be unable to put its files away for a while."""
    for server in world.servers() or [node]:
        server.host.fate, server.host.fateful_step = PlanFate.FAILS, "archive-files"
        server.post(ev.Commanded(OperatorCommand.RESIGN))

        def mend(host: Host = server.host) -> None:
            host.fate = PlanFate.SUCCEEDS

        world.agenda.after(2 * _outage_ns(rng), mend)


def spoil_files(world: World, node: SimNode, rng: Random) -> None:
    """Let the host's files prove nothing for a while."""
    node.host.why_not = "a gap in its changelogs"

    def mend() -> None:
        node.host.why_not = ""

    world.agenda.after(_outage_ns(rng), mend)


def slow_disk(world: World, node: SimNode, rng: Random) -> None:
    """Let every write of the host take long for a while."""
    node.host.disk_delay_ns = rng.choice([50, 400, 1500]) * NS_PER_MS

    def mend() -> None:
        node.host.disk_delay_ns = 0

    world.agenda.after(_outage_ns(rng), mend)


def command(world: World, node: SimNode, rng: Random) -> None:
    """Let an operator ask for something; a pause ends after a while, or when all is mended."""
    node.post(ev.Commanded(rng.choice([OperatorCommand.RESIGN, OperatorCommand.PAUSE])))
    if _is_heads(rng):
        world.agenda.after(_outage_ns(rng), lambda: node.post(ev.Commanded(OperatorCommand.RESUME)))


def switchover(world: World, node: SimNode, rng: Random) -> None:
    """Let an operator move the master, to this node or to the best one."""
    target_id = node.member.node_id if _is_heads(rng) else 0
    for server in world.servers():
        server.post(ev.SwitchoverAsked(target_id))


def replay(world: World, node: SimNode, rng: Random) -> None:
    """Send again what was recorded."""
    del node
    world.network.replay(rng.randint(1, REPLAYED))


def forge(world: World, node: SimNode, rng: Random) -> None:
    """Send broken, cut, lengthened and made-up copies of what was recorded."""
    del node
    for _ in range(rng.randint(1, REPLAYED)):
        world.network.forge()


def lose_newest(world: World, node: SimNode, rng: Random) -> None:
    """Let a serving host write many lines that no metalogger gets, and cut it off or lose it at once."""
    server = next(iter(world.servers()), node)
    if server.serves:
        server.host.data.write(server.host.serving_term, rng.randint(1, UNREPLICATED_MAX))
    (isolate if _is_heads(rng) else crash)(world, server, rng)


def lag(world: World, node: SimNode, rng: Random) -> None:
    """Let the host's metalogger get nothing for a while."""
    node.host.is_lagging = True

    def catch_up() -> None:
        node.host.is_lagging = False

    world.agenda.after(2 * _outage_ns(rng), catch_up)


def wipe_files(world: World, node: SimNode, rng: Random) -> None:
    """Remove all metadata of a host that does not serve, where another host has some."""
    del rng
    others = [n for n in world.nodes.values() if n is not node and n.host.data.best is not None]
    if not node.is_in_use and others:
        node.host.data.logger = node.host.data.own = None


def age_files(world: World, node: SimNode, rng: Random) -> None:
    """Put an older copy of the metadata in the place of a standby's, as from a backup."""
    del world
    logger = node.host.data.logger
    if not node.is_in_use and logger is not None:
        node.host.data.logger = logger.until(max(1, logger.version - rng.randint(1, UNREPLICATED_MAX)))


def reload(world: World, node: SimNode, rng: Random) -> None:
    """Let an operator change the host's priority, and whether it preempts, while it runs."""
    del world
    node.reload(replace(node.settings, priority=rng.choice([1, 50, 100, 200, 254]), preempt=_is_heads(rng)))


def twin(world: World, node: SimNode, rng: Random) -> None:
    """Let another process use the node's name for a while."""
    for number in range(rng.randint(2, 12)):
        world.agenda.after(number * node.settings.interval_ns, lambda: node.post(ev.NameClaimed()))


def claim_name(world: World, node: SimNode, rng: Random) -> None:
    """Let one advert of another process come under the node's name."""
    del world, rng
    node.post(ev.NameClaimed())


def lose_adverts(world: World, node: SimNode, rng: Random) -> None:
    """Let the node's receive queue be full for a moment."""
    del world, rng
    node.ear.has_overflown = True


def rough_weather(world: World, node: SimNode, rng: Random) -> None:
    """Lose, double, delay and reorder datagrams for a while; losses may come in bursts."""
    del node
    usual = world.options.weather
    world.network.weather = Weather(
        delay_min_ns=usual.delay_min_ns,
        delay_max_ns=rng.choice([5, 100, 400]) * NS_PER_MS,
        loss=rng.choice([0.0, 0.1, 0.5, 1.0]),
        duplication=rng.choice([0.0, 0.3]),
    )

    def calm() -> None:
        world.network.weather = usual

    longest_ms = OUTAGE_MAX_MS if world.network.weather.loss < 1 else OUTAGE_MAX_MS // 4
    world.agenda.after(rng.randint(1, longest_ms) * NS_PER_MS, calm)


HOST_FAULTS: tuple[Fault, ...] = (crash, kill_mfsmaster, spoil_plans, spoil_files, command, switchover)
"""Faults during which at most one host may serve, even without an arbiter, as long as nodes hear each other."""

FAULTS: tuple[Fault, ...] = (
    *HOST_FAULTS,
    crash_at_a_write,
    hang_mfsmaster,
    slow_disk,
    restart,
    pause,
    freeze,
    lose_worker,
    kill_worker,
    kill_heartbeat,
    kill_all,
    lose_link,
    isolate,
    part,
    part_around,
    deafen,
    cut_one_way,
    replay,
    forge,
    spoil_archiving,
    lose_newest,
    lag,
    wipe_files,
    age_files,
    reload,
    twin,
    claim_name,
    lose_adverts,
    rough_weather,
)
BY_NAME: dict[str, Fault] = {fault.__name__: fault for fault in FAULTS}
