"""A whole cluster in virtual time, from a seed: nodes, network, replication of metadata, and the rules' checkers."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Member, Role, TieBreak
from pycarpd.election.settings import ElectionSettings
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S, Agenda
from pycarpd.sim.checkers import RULES, settling_bound_ns
from pycarpd.sim.clock import HostClock
from pycarpd.sim.dialect import Dialect
from pycarpd.sim.etcd import LEASE_NS, SimEtcd
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.files import Copy
from pycarpd.sim.handovers import HandoverKeeper
from pycarpd.sim.host import Habits, Host
from pycarpd.sim.ledger import FileKeeper, HistoryKeeper, LeaseKeeper, PromiseKeeper, TermKeeper
from pycarpd.sim.marks import VoteMarks
from pycarpd.sim.network import Network, Weather
from pycarpd.sim.node import SimNode
from pycarpd.sim.pauses import PauseKeeper
from pycarpd.sim.place import Place
from pycarpd.sim.restarts import RestartKeeper
from pycarpd.sim.settling import SettlingKeeper
from pycarpd.sim.truth import Reachability
from pycarpd.wire.codec import CodecSettings
from pycarpd.wire.identity import node_id_of
from pycarpd.wire.keys import KeyRing

VHID = 10
VIRTUAL_ADDRESS = bytes([192, 0, 2, 100])
UCARP_PASSWORD = b"rehearsal"
KEY_LINE = bytes(range(32)).hex()
WRITE_EVERY_NS = 100 * NS_PER_MS
QUIET_NS = 5 * NS_PER_S
HISTORY_MAX = 400
ETCD_OUTAGES_NS = 30 * NS_PER_S
ETCD_LEASES = 4
"""How many leases of an arbiter a mended cluster may have to wait for: masters' and members'."""
UNPUNCTUAL = 5
"""How many intervals lie between the adverts that a node promises which may be late."""
ORPHAN_STEPS = 4
"""How many steps of a plan without a heartbeat may run into their bounds."""


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """What a run is about; times in ns of true time."""

    nodes: int = 3
    interval_ns: int = 250 * NS_PER_MS
    missed_adverts: int = 3
    preempt: bool = False
    speculates: bool = False
    strict: bool = True
    arbiter: Arbiter = Arbiter.NONE
    witnesses: frozenset[str] = frozenset()
    priorities: dict[str, int] = field(default_factory=dict)
    weather: Weather = field(default_factory=Weather)
    habits: Habits = field(default_factory=Habits)
    drift_ppm_max: int = 0
    is_checked: bool = True
    is_sealed: bool = True
    """Whether adverts travel as bytes through the real codec, or as they are."""
    unpunctual: frozenset[str] = frozenset()
    """Whose adverts promise no more than one in UNPUNCTUAL intervals, as of a host that refused real time."""
    dialects: dict[str, Dialect] = field(default_factory=dict)
    """Who runs another version of pycarpd."""


Listener = Callable[[SimNode, ev.Event, tuple[fx.Effect, ...]], None]


class World:
    """The cluster and all that is true about it."""

    def __init__(self, seed: int, options: WorldOptions) -> None:
        self.seed = seed
        self.options = options
        self.rng = Random(seed)
        self.agenda = Agenda()
        self.network = Network(self.agenda, self.rng)
        self.network.weather = options.weather
        self.etcd = self._build_etcd() if options.arbiter is Arbiter.ETCD else None
        self.history: deque[str] = deque(maxlen=HISTORY_MAX)
        self.masterships: list[tuple[int, str, int]] = []
        """Who became MASTER when (true time), in which term."""
        self.marks: Counter[str] = Counter()
        """What happened that is worth counting: role changes, refusals, recoveries."""
        self.changes = 0
        names = [f"meta{number}" for number in range(1, options.nodes + 1)]
        self.members = tuple(
            Member(node_id_of(name), name, bytes([192, 0, 2, 10 + number]), name in options.witnesses)
            for number, name in enumerate(names, start=1)
        )
        self.nodes = {member.name: self._build(member) for member in self.members}
        self.reachability = Reachability(tuple(self.nodes.values()), self.mark)
        handovers = HandoverKeeper(tuple(self.nodes.values()))
        keepers = (
            TermKeeper(),
            PromiseKeeper(),
            LeaseKeeper(),
            FileKeeper(),
            self.reachability,
            HistoryKeeper(lambda: self.reachability.was_split),
            PauseKeeper(),
            RestartKeeper(),
            SettlingKeeper(),
            handovers,
        )
        rules = [*RULES, *(keeper.check for keeper in keepers)]
        self.listeners: list[Listener] = rules if options.is_checked else []
        self.listeners += [self._remember, VoteMarks(self.mark).check]
        self.agenda.after(WRITE_EVERY_NS, self._write)

    def decided(self, node: SimNode, event: ev.Event, effects: tuple[fx.Effect, ...]) -> None:
        """Check and remember one decision of a node."""
        for listener in self.listeners:
            listener(node, event, effects)

    def mark(self, what: str) -> None:
        """Count something that is worth counting."""
        self.marks[what] += 1

    def start(self) -> None:
        """Start every node that does not run."""
        for node in self.nodes.values():
            if node.elector is None:
                node.start()

    def run_for(self, duration_ns: int) -> None:
        """Let time pass; a broken rule names the seed and what came before."""
        try:
            self.agenda.run_until(self.agenda.now_ns + duration_ns)
        except CheckFailedError as failure:
            raise CheckFailedError(self.report(str(failure))) from failure

    def report(self, text: str) -> str:
        """Return *text* with the seed and the last role changes."""
        return "\n".join([f"seed={self.seed} t={self.agenda.now_ns / NS_PER_S:.3f}s {text}", *self.history])

    def masters(self) -> list[SimNode]:
        """Return the nodes that believe to be MASTER."""
        return [n for n in self.nodes.values() if n.snapshot is not None and n.snapshot.role is Role.MASTER]

    def servers(self) -> list[SimNode]:
        """Return the nodes that clients can reach a mfsmaster on."""
        return [n for n in self.nodes.values() if n.serves]

    def newest_served_term(self) -> int:
        """Return the newest term that any disk knows to have been served."""
        return max(n.host.disk.served_term for n in self.nodes.values())

    def settling_bound_ns(self) -> int:
        """Return how long from now, without further faults, the cluster may need to have one MASTER."""
        demotion = max((s.demotion for n in self.nodes.values() if (s := n.snapshot) is not None), default=0)
        habits = self.options.habits
        plan_max_ns = max(habits.plan_timeout_ns, habits.promotion_ns) + habits.undo_ns + habits.demotion_ns
        arbiter_ns = ETCD_LEASES * LEASE_NS if self.etcd is not None else 0
        patient = max((node.settings for node in self.nodes.values()), key=lambda settings: settings.patience_ns)
        return arbiter_ns + settling_bound_ns(patient, demotion, plan_max_ns)

    def orphans_ns(self) -> int:
        """Return how long workers without a heartbeat may need to end what they do before their node starts anew."""
        habits = self.options.habits
        is_any = any(node.is_orphaned for node in self.nodes.values())
        return ORPHAN_STEPS * habits.plan_timeout_ns if is_any else 0

    def require_one_master(self) -> SimNode:
        """Return the one node that serves, with everybody else standing by; anything else is a failure."""
        masters = self.masters()
        if len(masters) != 1 or self.servers() != masters:
            names = ([n.name for n in masters], [n.name for n in self.servers()])
            raise CheckFailedError(self.report(f"not exactly one master: believed {names[0]}, true {names[1]}"))
        master = masters[0].snapshot
        if master is None or master.term < self.newest_served_term():
            raise CheckFailedError(self.report(f"a master of an older term survives: {master}"))
        others = [s.role for n in self.nodes.values() if n is not masters[0] and (s := n.snapshot) is not None]
        if any(role is not Role.BACKUP for role in others):
            raise CheckFailedError(self.report(f"somebody does not stand by: {others}"))
        return masters[0]

    def require_running_master(self) -> str:
        """Return the name of the one node that serves, whatever became of the others."""
        servers = self.servers()
        if len(servers) != 1 or self.masters() != servers:
            raise CheckFailedError(self.report(f"not exactly one master: {[n.name for n in servers]}"))
        return servers[0].name

    def require_settling(self) -> SimNode:
        """Run until the cluster must have settled, see that it has, and that it stays so."""
        self.run_for(self.settling_bound_ns())
        master = self.require_one_master()
        changes = self.changes
        self.run_for(QUIET_NS)
        if self.changes != changes:
            raise CheckFailedError(self.report("roles change without a fault"))
        return master

    def _build_etcd(self) -> SimEtcd:
        rng = Random(f"etcd {self.seed}")
        etcd = SimEtcd(self.agenda, self.network, rng, rng.randint(0, self.options.drift_ppm_max))
        etcd.plan_outages(ETCD_OUTAGES_NS)
        return etcd

    def _build(self, member: Member) -> SimNode:
        options = self.options
        ring = KeyRing.parse(KEY_LINE)
        if not isinstance(ring, KeyRing):
            raise TypeError(ring.rule)
        settings = ElectionSettings(
            node_id=member.node_id,
            members=self.members,
            interval_ns=options.interval_ns,
            missed_adverts=options.missed_adverts,
            priority=options.priorities.get(member.name, 100),
            preempt=options.preempt,
            speculates=options.speculates,
            arbiter=options.arbiter,
            strict=options.strict,
            tie_break=TieBreak.NUMERIC if options.strict else TieBreak.UCARP_LITTLE_ENDIAN,
            advbase=1,
            config_digest=1,
            told_interval_ns=UNPUNCTUAL * options.interval_ns if member.name in options.unpunctual else 0,
        )
        password = None if options.strict else UCARP_PASSWORD
        codec = CodecSettings(VHID, VIRTUAL_ADDRESS, member.node_id, self.members, options.strict, ring, password)
        drift = options.drift_ppm_max
        clock = HostClock(self.rng.randint(1, 1000) * NS_PER_S, self.rng.randint(-drift, drift))
        host = Host(agenda=self.agenda, clock=clock, habits=options.habits)
        if member.is_witness:
            host.data.logger = None
        return SimNode(settings, codec, self._place(host, member.name))

    def _place(self, host: Host, name: str) -> Place:
        dialects = self.options.dialects
        is_among_older = Dialect.OLDER in dialects.values()
        dialect = dialects.get(name, Dialect.PRESENT)
        return Place(host, self.network, self.rng, self, self.options.is_sealed, dialect, is_among_older, self.etcd)

    def _remember(self, node: SimNode, _event: ev.Event, effects: tuple[fx.Effect, ...]) -> None:
        for effect in effects:
            if not isinstance(effect, fx.Transition):
                continue
            self.changes += 1
            self.marks[f"{effect.was.name} -> {effect.role.name}: {effect.cause.value}"] += 1
            change = f"{effect.was.name} -> {effect.role.name} term {effect.term}: {effect.cause.value}"
            self.history.append(f"{self.agenda.now_ns / NS_PER_S:9.3f} {node.name} {change}")
            if effect.role is Role.MASTER:
                self.masterships.append((self.agenda.now_ns, node.name, effect.term))

    def _write(self) -> None:
        """Let clients write where they are served, and the standbys within reach follow."""
        if self.options.is_checked and self.options.arbiter is not Arbiter.NONE:
            self.reachability.look(self.agenda.now_ns)
        for server in self.servers():
            if not server.host.is_gate_closed:
                server.host.data.write(server.host.serving_term)
            own = server.host.data.own
            for other in self.nodes.values():
                if other is not server and own is not None and self._follows(server, other):
                    self._follow(other, own)
        self.agenda.after(WRITE_EVERY_NS, self._write)

    def _follows(self, server: SimNode, other: SimNode) -> bool:
        host = other.host
        is_off = host.is_off or host.is_lagging or host.clock.stands_since_ns is not None
        is_running = host.has_metalogger and not host.has_mfsmaster and not is_off
        is_near = self.network.reach_each_other(server.name, other.name)
        return is_running and is_near and host.has_link and not other.member.is_witness

    def _follow(self, other: SimNode, master: Copy) -> None:
        """Let a metalogger write what the master has; one that knew more forgets it."""
        logger = other.host.data.logger
        if logger is not None and logger.version > master.version:
            self.mark("a metalogger met an older master")
        other.host.data.follow(master)
