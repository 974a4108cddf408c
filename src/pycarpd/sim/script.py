"""Transcripts: a rehearsal written down as commands, with everything that the nodes did under each of them.

A line at the margin is a command or, after ``#``, a comment; indented lines are what happened, in milliseconds of true
time. ``perform`` takes a script and returns it with what happens now, so that comparing and recording are one thing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.events import OperatorCommand
from pycarpd.election.model import Advert, Arbiter, Flags, Role
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S
from pycarpd.sim.files import Copy
from pycarpd.sim.host import PlanFate
from pycarpd.sim.node import SimNode
from pycarpd.sim.world import UCARP_PASSWORD, VHID, VIRTUAL_ADDRESS, World, WorldOptions
from pycarpd.wire import carp

UCARP_NAME = "ucarp"
UCARP_ADDRESS = bytes([192, 0, 2, 200])
RESIGNATION = 255
COUNTER_FIRST = 1_000_000
INDENT = "  "
FOREVER_NS = 10_000 * NS_PER_S


class ScriptError(Exception):
    """A script says something that is no command."""


@dataclass(slots=True)
class Ucarp:
    """A ucarp host that claims the address for as long as it runs."""

    advbase: int
    advskew: int
    is_running: bool = True
    counter: int = COUNTER_FIRST


def perform(text: str, seed: int = 1) -> str:
    """Return the script with what happens when it is performed."""
    stage = Stage(seed)
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(INDENT):
            continue
        lines.append(line)
        words = line.partition("#")[0].split()
        if words:
            stage.perform(words)
            lines += [INDENT + happened for happened in stage.take()]
    return "\n".join(lines) + "\n"


class Stage:
    """The world that a script is performed in."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._world: World | None = None
        self._ucarp: Ucarp | None = None
        self._happened: list[str] = []
        self._said: dict[str, str] = {}

    def perform(self, words: list[str]) -> None:
        """Carry out one command."""
        command, *arguments = words
        handler = COMMANDS.get(command)
        if handler is None:
            raise ScriptError(f"unknown command {command!r}; there are: {', '.join(COMMANDS)}")
        handler(self, *arguments)

    def take(self) -> list[str]:
        """Return what happened since the last time."""
        happened, self._happened = self._happened, []
        return happened

    @property
    def world(self) -> World:
        """Return the world, which the first command makes."""
        if self._world is None:
            raise ScriptError("a script begins with 'nodes COUNT'")
        return self._world

    def nodes(self, count: str, *settings: str) -> None:
        """``nodes COUNT [majority] [preempt] [speculate] [mixed] [witness=NAME] [NAME=PRIORITY]...``: make a world."""
        options = WorldOptions(nodes=int(count))
        for setting in settings:
            options = _with_setting(options, setting)
        self._world = World(self._seed, options)
        self._world.listeners.append(self._watch)

    def start(self, *names: str) -> None:
        """``start [NAME]...``: start daemons, all by default."""
        for node in self._chosen(names):
            node.start()

    def run(self, duration_ms: str) -> None:
        """``run MS``: let time pass."""
        self.world.run_for(int(duration_ms) * NS_PER_MS)

    def skip(self, duration_ms: str) -> None:
        """``skip MS``: let time pass without noting what happens, where another script shows it."""
        self.run(duration_ms)
        self._happened.clear()

    def show(self) -> None:
        """``show``: say what is believed and what is true on each node."""
        for node in self.world.nodes.values():
            snapshot = node.snapshot
            if snapshot is None:
                believed = "not running"
            else:
                faults = "".join(f", {fault.value}" for fault in snapshot.faults)
                believed = (
                    f"{snapshot.role.name} term {snapshot.term}, master {self._name_of(snapshot.master_id)}{faults}"
                )
            truth = [w for w, is_so in (("mfsmaster", node.host.has_mfsmaster), ("serves", node.serves)) if is_so]
            self._happened.append(f"= {node.name} {' '.join([believed, *(f'[{w}]' for w in truth)])}")

    def crash(self, *names: str) -> None:
        """``crash NAME...``: take the hosts' power away."""
        for node in self._chosen(names):
            node.crash()

    def stop(self, name: str, *how: str) -> None:
        """``stop NAME [keep]``: end the daemon, with ``keep`` leaving mfsmaster and the address."""
        self._node(name).stop(keep_serving="keep" in how)

    def pause(self, name: str, duration_ms: str) -> None:
        """``pause NAME MS``: take the processor away from the heartbeat."""
        self._node(name).pause(int(duration_ms) * NS_PER_MS)

    def cut(self, sender: str, receiver: str) -> None:
        """``cut FROM TO``: cut one direction."""
        self.world.network.cut(sender, receiver)

    def isolate(self, name: str) -> None:
        """``isolate NAME``: cut a host off without its noticing."""
        self.world.network.isolate(name)

    def heal(self) -> None:
        """``heal``: mend all cuts."""
        self.world.network.heal()

    def link(self, name: str, state: str) -> None:
        """``link NAME up|down``."""
        self._node(name).set_link(is_up=state == "up")

    def worker(self, name: str, state: str) -> None:
        """``worker NAME dies|starts``."""
        if state == "dies":
            self._node(name).lose_worker()
        else:
            self._node(name).start_worker()

    def mfsmaster(self, name: str, state: str) -> None:
        """``mfsmaster NAME dies|runs``: kill it, or have it run with the address, both set up by hand."""
        host = self._node(name).host
        if state == "dies":
            self._node(name).kill_mfsmaster()
            return
        host.data.own, host.data.logger = host.data.logger, None
        host.has_mfsmaster = True
        host.kernel.vip_until_ns = FOREVER_NS

    def metadata(self, name: str, version: str) -> None:
        """``metadata NAME VERSION``: what the host's metalogger has written."""
        data = self._node(name).host.data
        known = data.logger or Copy(0)
        newest = known.history[-1][0] if known.history else 0
        more = int(version) - known.version
        data.logger = known.written(newest, more) if more > 0 else known.until(int(version))

    def kill(self, *names: str) -> None:
        """``kill NAME...``: kill all of the daemon's processes; mfsmaster and the address stay."""
        for node in self._chosen(names):
            node.kill_all()

    def freeze(self, name: str, duration_ms: str) -> None:
        """``freeze NAME MS``: let the whole host stand still, its clock included."""
        self._node(name).freeze(int(duration_ms) * NS_PER_MS)

    def promotion(self, name: str, fate: str, *step: str) -> None:
        """``promotion NAME succeeds|fails|hangs [STEP]``: what becomes of the host's plans, at that step."""
        host = self._node(name).host
        host.fate = PlanFate(fate)
        host.fateful_step = step[0] if step else "start-mfsmaster"

    def write(self, name: str, lines: str) -> None:
        """``write NAME LINES``: let its mfsmaster write what no metalogger gets."""
        host = self._node(name).host
        host.data.write(host.serving_term, int(lines))

    def lag(self, name: str, state: str) -> None:
        """``lag NAME begins|ends``: let the host's metalogger get nothing."""
        self._node(name).host.is_lagging = state == "begins"

    def files(self, name: str, *why_not: str) -> None:
        """``files NAME [REASON]``: what speaks against the host's files, nothing by default."""
        self._node(name).host.why_not = " ".join(why_not)

    def tell(self, name: str, command: str) -> None:
        """``tell NAME resign|pause|resume``: an operator's command."""
        self._node(name).post(ev.Commanded(OperatorCommand(command)))

    def switchover(self, name: str, *target: str) -> None:
        """``switchover NAME [TARGET]``: ask the master to hand over, to that node or to the best one."""
        target_id = self._node(target[0]).member.node_id if target else 0
        self._node(name).post(ev.SwitchoverAsked(target_id))

    def twin(self, name: str) -> None:
        """``twin NAME``: another process uses the node's name."""
        self._node(name).post(ev.NameClaimed())

    def replay(self, count: str) -> None:
        """``replay COUNT``: send recorded datagrams again."""
        self.world.network.replay(int(count))

    def ucarp(self, *arguments: str) -> None:
        """``ucarp ADVBASE ADVSKEW`` | ``ucarp resigns`` | ``ucarp ends``: a ucarp host that is master."""
        if arguments in (("resigns",), ("ends",)):
            self._end_ucarp(says_so=arguments == ("resigns",))
            return
        advbase, advskew = map(int, arguments)
        self._ucarp = Ucarp(advbase, advskew)
        self._claim(self._ucarp)

    def _end_ucarp(self, *, says_so: bool) -> None:
        if self._ucarp is None:
            raise ScriptError("no ucarp host runs")
        self._ucarp.is_running = False
        if says_so:
            self._send_plain(self._ucarp, RESIGNATION, RESIGNATION)

    def _claim(self, ucarp: Ucarp) -> None:
        if ucarp.is_running:
            self._send_plain(ucarp, ucarp.advbase, ucarp.advskew)
            self.world.agenda.after(ucarp.advbase * NS_PER_S, lambda: self._claim(ucarp))

    def _send_plain(self, ucarp: Ucarp, advbase: int, advskew: int) -> None:
        ucarp.counter += 1
        signer = carp.CarpSigner(UCARP_PASSWORD, VHID, VIRTUAL_ADDRESS)
        header = carp.CarpHeader(VHID, advbase, advskew, 0, ucarp.counter, signer.digest(ucarp.counter))
        payload = bytearray(carp.CARP_LENGTH)
        carp.write_header(payload, header)
        self.world.network.broadcast(UCARP_NAME, bytes(payload), UCARP_ADDRESS)

    def _node(self, name: str) -> SimNode:
        if name not in self.world.nodes:
            raise ScriptError(f"there is no node {name!r}")
        return self.world.nodes[name]

    def _chosen(self, names: tuple[str, ...]) -> list[SimNode]:
        return [self._node(name) for name in names or self.world.nodes]

    def _name_of(self, node_id: int) -> str:
        return next((m.name for m in self.world.members if m.node_id == node_id), "unknown")

    def _watch(self, node: SimNode, _event: ev.Event, effects: tuple[fx.Effect, ...]) -> None:
        for effect in effects:
            text = self._describe(effect)
            if isinstance(effect, fx.Transition):
                self._said.pop(node.name, None)
            if isinstance(effect, fx.Send):
                if self._said.get(node.name) == text:
                    continue
                self._said[node.name] = text
            if text:
                self._happened.append(f"{self.world.agenda.now_ns // NS_PER_MS:6d} {node.name} {text}")

    def _describe(self, effect: fx.Effect) -> str:
        match effect:
            case fx.Transition(was=was, role=role, cause=cause, term=term):
                return f"{was.name} -> {role.name} term {term}: {cause.value}"
            case fx.Send(advert=advert):
                return _saying(advert)
            case fx.Persist(persistent=persistent):
                vote = (
                    f" vote {persistent.vote_term} {self._name_of(persistent.vote_for)}" if persistent.vote_for else ""
                )
                lineage = f" lineage {persistent.lineage.term}" if persistent.lineage.term else ""
                paused = " paused" if persistent.is_paused else ""
                return f"persist term {persistent.term} served {persistent.served_term}{vote}{lineage}{paused}"
            case fx.StartDemotion(term=term, successor=successor, is_foreign=is_foreign):
                how = ", foreign files" if is_foreign else ""
                return f"demote term {term} successor {self._name_of(successor)}{how}"
            case fx.StartPromotion(term=term) | fx.AbortPromotion(term=term) | fx.AttachVip(term=term):
                return f"{WORDS[type(effect)]} term {term}"
            case fx.RenewLease():
                return ""
            case fx.SwitchoverEnded(code=code, successor=successor):
                return f"no handover: {code}" if code else f"hands over to {self._name_of(successor)}"
            case _:
                return WORDS[type(effect)]


WORDS: dict[type[fx.Effect], str] = {
    fx.StartPromotion: "promote",
    fx.AbortPromotion: "abort promotion",
    fx.AttachVip: "attach VIP",
    fx.DetachVip: "detach VIP",
    fx.AnnounceVip: "announce VIP",
    fx.PreserveFiles: "preserve files",
    fx.Speculate: "load on suspicion",
    fx.CancelSpeculation: "take back what was loaded",
    fx.Stopped: "stopped",
    fx.HoldClients: "hold clients",
    fx.ConfirmHandover: "look once more",
    fx.LevelFiles: "stop metalogger, prove files",
    fx.EndHandover: "take the handover back",
}

COMMANDS: dict[str, Callable[..., None]] = {
    handler.__name__: handler
    for handler in (
        Stage.nodes,
        Stage.start,
        Stage.run,
        Stage.skip,
        Stage.show,
        Stage.crash,
        Stage.stop,
        Stage.pause,
        Stage.cut,
        Stage.isolate,
        Stage.heal,
        Stage.link,
        Stage.worker,
        Stage.mfsmaster,
        Stage.metadata,
        Stage.write,
        Stage.lag,
        Stage.kill,
        Stage.freeze,
        Stage.promotion,
        Stage.files,
        Stage.tell,
        Stage.switchover,
        Stage.twin,
        Stage.replay,
        Stage.ucarp,
    )
}


def _with_setting(options: WorldOptions, setting: str) -> WorldOptions:
    name, _, value = setting.partition("=")
    match name:
        case "preempt":
            return replace(options, preempt=True)
        case "speculate":
            return replace(options, speculates=True)
        case "majority":
            return replace(options, arbiter=Arbiter.MAJORITY)
        case "mixed":
            return replace(options, strict=False)
        case "witness":
            return replace(options, witnesses=options.witnesses | {value})
        case _:
            return replace(options, priorities=options.priorities | {name: int(value)})


def _saying(advert: Advert) -> str:
    words = [f"says {advert.role.name} term {advert.term}"]
    if Flags.RESIGNED in advert.flags:
        words.append("resigned")
    if advert.hold_ms:
        words.append(f"hold {advert.hold_ms} ms")
    if Flags.WANTS_MASTER in advert.flags:
        words.append("wants master")
    if advert.handover is not None:
        words.append(f"{'level' if advert.role is Role.BACKUP else 'handing over'} at {advert.handover.version}")
    return " ".join(words)
