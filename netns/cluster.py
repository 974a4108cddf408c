"""A whole cluster: hosts, a real MooseFS with a first file system, a mount, and pycarpd on every metadata host.

The first file system is made by hand on m1 (started from the empty metadata, written to, stopped once so that a
whole base is saved); then pycarpd is started on every host at once: m1 promotes from its own files, the others have
none and their metaloggers download from m1. `manual` stops short of pycarpd: m1 serves, the others run metaloggers.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from netns.capture import Capture
from netns.commands import LaboratoryError, bound_to_parent, eventually, must, run, spawn
from netns.moosefs import MooseFS, answers
from netns.owner import Owner, Record
from netns.pycarpd import Daemons, Settings, Status
from netns.topology import VIP_CIDR, Topology
from netns.watch import Change, read_changes

REPOSITORY: Final = Path(__file__).parents[1]
FIRST: Final = "m1"
_MASTER_WITHIN_S: Final = 90.0
_READY_WITHIN_S: Final = 120.0
_FIRST_FILES: Final = 3
_STEADY_S: Final = 1.5
"""Longer than it takes pycarpd to look at its files anew."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a cluster consists of.

    ``small_disk_mb`` puts each metadata host's files on a tmpfs of that size (0: a directory).
    """

    hosts: int = 3
    chunkservers: int = 1
    clients: int = 1
    others: int = 0
    small_disk_mb: int = 0
    settings: Settings = field(default_factory=Settings)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all hosts."""
        kinds = (("m", self.hosts), ("cs", self.chunkservers), ("c", self.clients), ("u", self.others))
        return tuple(f"{kind}{number}" for kind, count in kinds for number in range(1, count + 1))


def _silent(_text: str) -> None:
    pass


class Cluster:
    """One cluster, held by its owner or attached to from another process (then nothing is taken down by it)."""

    def __init__(self, topology: Topology, owner: Owner | None, settings: Settings) -> None:
        self.topology = topology
        self.owner = owner
        self.moosefs = MooseFS(topology, owner)
        self.daemons = Daemons(topology, owner, settings)
        self.mounts: dict[str, Path] = {}
        self.capture: Capture | None = None

    @classmethod
    def build(cls, owner: Owner, options: Options) -> "Cluster":
        """Make hosts and links, every configuration file, the capture and the netlink watch; no daemon runs yet."""
        topology = Topology.build(owner, options.names)
        cluster = cls(topology, owner, options.settings)
        owner.describe(options.names, options.settings.as_options())
        if options.settings.huge_pages:
            owner.use_huge_pages()  # now, so that whoever is compared with pycarpd has them too
        cluster.moosefs.prepare(small_disk_mb=options.small_disk_mb)
        cluster.daemons.prepare()
        cluster.capture = Capture(topology, owner)
        cluster._watch(owner)
        return cluster

    @classmethod
    def attach(cls, record: Record) -> "Cluster":
        """Return the cluster that another process holds."""
        topology = Topology(record.prefix, Path(record.directory), record.hosts)
        return cls(topology, None, Settings.from_options(record.options or {}))

    @property
    def directory(self) -> Path:
        """Return the directory that holds everything."""
        return self.topology.directory

    @property
    def clients(self) -> list[str]:
        """Return the names of the clients."""
        return [name for name in self.topology.hosts if name.startswith("c") and not name.startswith("cs")]

    @property
    def chunkservers(self) -> list[str]:
        """Return the names of the chunkservers."""
        return [name for name in self.topology.hosts if name.startswith("cs")]

    def create_file_system(self, say: Callable[[str], None] = _silent) -> None:
        """Make the first file system on m1, mount it on every client, and leave it cleanly stopped."""
        self.moosefs.create_file_system(FIRST)
        self.topology.add_address(FIRST, VIP_CIDR)
        self.moosefs.start_master(FIRST)
        for chunkserver in self.chunkservers:
            self.moosefs.start_chunkserver(chunkserver)
        eventually(self._has_all_chunkservers, _MASTER_WITHIN_S, "the chunkservers are connected", every_s=0.2)
        for client in self.clients:
            self.mounts[client] = self.moosefs.mount(client)
        self._ask_for_possible_copies()
        for client, mount in self.mounts.items():
            script = (
                f"cd {mount} && for i in $(seq {_FIRST_FILES}); do echo first > first-{client}-$i; done && sync -f ."
            )
            must("bash", "-c", script, timeout_s=_MASTER_WITHIN_S)
        say("the first file system is made; mfsmaster ends once, to save a base")
        self.moosefs.stop_master(FIRST)

    def start_manual(self, say: Callable[[str], None] = _silent) -> None:
        """Bring the file system up by hand: mfsmaster and VIP on m1, metaloggers on the others, no pycarpd."""
        self.create_file_system(say)
        self.moosefs.start_master(FIRST)
        for host in self.daemons.hosts:
            if host != FIRST:
                self.moosefs.start_metalogger(host)
        self.wait_mounts(_MASTER_WITHIN_S)

    def start(self, say: Callable[[str], None] = _silent) -> None:
        """Bring the file system up and hand it to pycarpd; returns when the cluster is ready."""
        self.create_file_system(say)
        self.topology.remove_address(FIRST, VIP_CIDR)
        say("starting pycarpd on every metadata host")
        # At once: a node that is alone waits for the others' reports before it promotes itself.
        for host in self.daemons.hosts:
            self.daemons.start(host)
        say("one of them becomes MASTER; the others download from it")
        self.wait_ready(_READY_WITHIN_S)

    def wait_role(self, host: str, role: str, within_s: float) -> Status:
        """Wait until pycarpd on a host says that it has a role; raises LaboratoryError with its last lines."""

        def reached() -> Status | None:
            status = self.daemons.status(host)
            return status if status.role == role else None

        try:
            return eventually(reached, within_s, f"{host} is {role}", every_s=0.2)
        except LaboratoryError as error:
            raise LaboratoryError(f"{error}\n{self.last_words(host)}") from None

    def wait_standby(self, host: str, within_s: float) -> Status:
        """Wait until a host is BACKUP, knows its master and goes on saying that it could take over.

        A former master could do so at first from its own files; it must be able to from the new master's.
        """
        since: list[float] = []

        def promotable() -> Status | None:
            status = self.daemons.status(host)
            if not _follows(status):
                since.clear()
                return None
            since.append(time.monotonic())
            return status if since[-1] - since[0] >= _STEADY_S else None

        try:
            return eventually(promotable, within_s, f"{host} is BACKUP and promotable", every_s=0.2)
        except LaboratoryError as error:
            raise LaboratoryError(f"{error}: {self.daemons.status(host).why_not}\n{self.last_words(host)}") from None

    def wait_mounts(self, within_s: float) -> None:
        """Wait until every client's mount answers; raises LaboratoryError."""
        for mount in self.mounts.values():
            eventually(partial(_reads, mount), within_s, f"{mount} answers")

    def wait_ready(self, within_s: float) -> str:
        """Wait until one host is MASTER, every other one goes on saying that it could take over, every mount answers.

        Return the master.
        """

        def settled() -> str | None:
            roles = {host: self.daemons.status(host) for host in self._electable()}
            masters = [host for host, status in roles.items() if status.role == "MASTER"]
            if len(masters) != 1 or not all(_follows(status) for host, status in roles.items() if host != masters[0]):
                since.clear()
                return None
            # On a machine that stands still now and then a standby may take over while the cluster comes up.
            since.append((masters[0], time.monotonic()))
            is_steady = since[0][0] == since[-1][0] and since[-1][1] - since[0][1] >= _STEADY_S
            return masters[0] if is_steady else None

        since: list[tuple[str, float]] = []
        try:
            master = eventually(settled, within_s, "there is one MASTER and the others could take over", every_s=0.2)
        except LaboratoryError as error:
            words = "\n".join(self.last_words(host) for host in self.daemons.hosts)
            raise LaboratoryError(f"{error}\n{words}") from None
        self.wait_mounts(within_s)
        return master

    def _electable(self) -> list[str]:
        return [host for host in self.daemons.hosts if host not in self.daemons.settings.witnesses]

    def statuses(self) -> dict[str, Status]:
        """Return what pycarpd on every metadata host says."""
        return {host: self.daemons.status(host) for host in self.daemons.hosts}

    def changes(self) -> list[Change]:
        """Return the address and link changes that netlink has told of so far."""
        return read_changes(self.directory / "netlink.jsonl")

    def last_words(self, host: str, lines: int = 15) -> str:
        """Return the end of pycarpd's log on a host."""
        log = self.daemons.log(host)
        if not log.exists():
            return f"({host}: pycarpd was never started)"
        return "\n".join(f"  {host}: {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])

    def helper(self, host: str, *arguments: str, log: str) -> None:
        """Start a module of the laboratory in a host's network; it lives until the namespace is emptied."""
        argv = self.topology.inside_net(host, sys.executable, "-m", *arguments)
        process = spawn(argv, self.directory / log, cwd=REPOSITORY)
        if self.owner is not None:
            self.owner.adopt(process)

    def with_settings(self, **changes: Any) -> None:
        """Change what the configuration says and write it anew; daemons that run are not told."""
        self.daemons.settings = replace(self.daemons.settings, **changes)
        self.daemons.write_configs()

    def _has_all_chunkservers(self) -> bool:
        if not self.chunkservers:
            return True
        return self.moosefs.chunkservers_connected(self.chunkservers[0]) == len(self.chunkservers)

    def _ask_for_possible_copies(self) -> None:
        """Set the goal to 1 where one chunkserver cannot hold the usual two copies.

        In its first ten seconds mfsmaster refuses to go on writing to a chunk that has fewer than it should (3.0
        chunks.c, csstable): a file in flight when its predecessor died would wait for them.
        """
        if len(self.chunkservers) == 1 and self.mounts:
            client, mount = next(iter(self.mounts.items()))
            must(*self.topology.inside_net(client, "mfssetgoal", "1", str(mount)))

    def _watch(self, owner: Owner) -> None:
        pairs = [f"{self.topology.namespace(host)}={host}" for host in self.topology.hosts]
        log = self.directory / "netlink.jsonl"
        argv = bound_to_parent([sys.executable, "-m", "netns.watch", str(log), *pairs])
        owner.adopt(spawn(argv, self.directory / "netlink.log", cwd=REPOSITORY))
        eventually(log.exists, _MASTER_WITHIN_S, "netlink is watched")


def _follows(status: Status) -> bool:
    return status.role == "BACKUP" and status.is_promotable and bool(status.fields.get("master"))


def _reads(point: Path) -> bool:
    """Tell whether a directory can be listed through a mount, asked by a process of its own."""
    return answers(point) and run("ls", str(point), timeout_s=3.0).succeeded
