"""The stage of the failover scenarios: one whole cluster, what it must be like between them, and a client that writes.

Everything is judged from outside: addresses as each host's kernel has them, lock files, captures on the switch, the
client's own log. pycarpd is asked only whether a standby could take over.
"""

import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

from netns.cluster import Cluster, Options
from netns.commands import LaboratoryError, boottime_ns, eventually
from netns.faults import find, heal, inject
from netns.moosefs import answers
from netns.owner import Owner
from netns.pycarpd import Settings
from netns.topology import VIP
from netns.watch import Change
from netns.writer import Acknowledged, Writer, WriterReport, read_log
from tests.product.accounts import archives, branches, made_unheard, speaks_of, told_last, unexplained

T = TypeVar("T")

SETTLE_WITHIN_S = 120.0
WRITES_WITHIN_S = 60.0
WRITERS = 2
FILES_BEFORE = 20
FILES_AFTER = 30
STOP_WITHIN_S = 15.0
GAP_MS = 30_000
"""Longer than any takeover here lasts on a busy machine by far; how quick one is, the benchmarks measure."""
NS_PER_S = 1_000_000_000
_names = (f"w{number}" for number in itertools.count(1))


class _Control(http.client.HTTPConnection):
    """The control socket of one pycarpd: a status in milliseconds, where pycarpctl takes a second of CPU time."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def within(predicate: Callable[[], T | None], within_s: float, what: str) -> T:
    """Return the first truthy value of the predicate, asked ten times a second; fails after *within_s*."""
    return eventually(predicate, within_s, what, every_s=0.1)


@dataclass(slots=True)
class Stage:
    """A cluster of three metadata hosts, a chunkserver and a client, healthy between scenarios."""

    owner: Owner
    cluster: Cluster
    arbiter: str
    lines: tuple[str, ...] = ()
    """Further lines of [cluster] in every host's configuration."""
    restarted_on: set[int] = field(default_factory=set)
    """Workers that have restarted mfsmaster in place: they hand over when it dies again within minutes."""
    is_used_up: bool = False
    """A scenario has made of it what no other one wants."""

    @classmethod
    def build(cls, arbiter: str = "none", lines: tuple[str, ...] = ()) -> Self:
        """Build the cluster and bring it up."""
        owner = Owner()
        try:
            settings = Settings(arbiter=arbiter, cluster_lines=tuple(("", line) for line in lines))
            cluster = Cluster.build(owner, Options(settings=settings))
            cluster.start()
        except BaseException:
            owner.keep_files = True
            owner.release()
            raise
        return cls(owner, cluster, arbiter, lines)

    def close(self, *, keep_files: bool) -> None:
        """Take the cluster down; with *keep_files* logs and captures stay."""
        self.owner.keep_files = keep_files
        self.owner.release()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the metadata hosts."""
        return self.cluster.daemons.hosts

    def others(self, host: str) -> list[str]:
        """Return the other metadata hosts."""
        return [name for name in self.hosts if name != host]

    def status(self, host: str) -> dict[str, Any]:
        """Return a host's status, empty when its pycarpd does not answer."""
        control = _Control(self.cluster.topology.host_directory(host) / "run" / "control.sock")
        try:
            control.request("GET", "/status")
            answer: dict[str, Any] = json.loads(control.getresponse().read())
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return {}
        finally:
            control.close()
        return answer

    def role(self, host: str) -> str:
        """Return the role a host says it has, "" when it does not answer."""
        return str(self.status(host).get("role", ""))

    def priority_of(self, host: str, seen_by: str) -> int:
        """Return a host's priority as another one has heard it, 0 if it has not."""
        members = self.status(seen_by).get("members", [])
        return next((int(m.get("priority") or 0) for m in members if m["name"] == host), 0)

    def pid(self, host: str, what: str) -> int:
        """Return the main process of that name on a host, 0 if there is none."""
        found = find(self.cluster, host, what)
        return found[0].pid if found else 0

    def log(self, host: str) -> str:
        """Return all that pycarpd on a host has said."""
        path = self.cluster.daemons.log(host)
        return path.read_text(errors="replace") if path.exists() else ""

    def unrest(self, hosts: tuple[str, ...] = ()) -> tuple[str, str]:
        """Return the master and "", or what is not as it must be: one master, one VIP, one mfsmaster, ready standbys.

        *hosts* are those that are to take part, all of them if none is named.
        """
        present = hosts or self.hosts
        serving = [host for host in self.cluster.moosefs.serving_hosts() if host in present]
        holders = [host for host in self.cluster.topology.holders_of(VIP) if host in present]
        if len(serving) != 1 or holders != serving:
            return "", f"mfsmaster on {serving}, VIP on {holders}"
        (master,) = serving
        statuses = {host: self.status(host) for host in present}
        troubles = [f"{h}: {t}" for h, s in statuses.items() if (t := self._trouble(h, s, is_master=h == master))]
        return master, "; ".join(troubles)

    def _trouble(self, host: str, status: dict[str, Any], *, is_master: bool) -> str:
        wanted = "MASTER" if is_master else "BACKUP"
        if status.get("role") != wanted:
            return f"role {status.get('role')}, wanted {wanted}"
        if not is_master and not status["freshness"]["promotable"]:
            return f"not promotable: {status['freshness']['why_not']}"
        if self.cluster.moosefs.lock_holder(host, "mfsmetalogger") is None:
            return "its mfsmetalogger does not run"
        return ""

    def settle(self, within_s: float = SETTLE_WITHIN_S, hosts: tuple[str, ...] = ()) -> str:
        """Wait until all is as it must be, twice in a row, and return the master; raises AssertionError."""
        deadline = time.monotonic() + within_s
        calm = 0
        while True:
            master, unrest = self.unrest(hosts)
            calm = 0 if unrest or not master else calm + 1
            if calm == 2:
                return master
            if time.monotonic() >= deadline:
                raise AssertionError(f"not settled after {within_s:g} s: {unrest}")
            time.sleep(0.3)

    def is_healthy(self) -> bool:
        """Tell whether the next scenario can use the cluster as it is."""
        try:
            self.settle(60.0)
            return all(answers(mount) for mount in self.cluster.mounts.values())
        except (AssertionError, LaboratoryError):
            return False

    def fresh_master(self) -> str:
        """Return the master, one whose worker has not restarted mfsmaster in place yet (it hands over if need be).

        No standby is held back by what has failed on it in an earlier scenario.
        """
        master = self.settle()
        for host in self.others(master):
            if self.status(host).get("demotion"):
                self.cluster.daemons.stop(host)
                self.cluster.daemons.start(host)
        master = self.settle()
        if self.pid(master, "worker") in self.restarted_on:
            self.cluster.daemons.stop(master)
            self.cluster.daemons.start(master)
            master = self.settle()
        self.restarted_on.add(self.pid(master, "worker"))
        return master

    @contextmanager
    def scenario(
        self, *, gap_ms: float = GAP_MS, is_planned: bool = False, may_fail: bool = False
    ) -> Iterator["Scene"]:
        """Let a client write all the while.

        Afterwards the cluster is whole again, the client has gone on, waited no longer than *gap_ms*, and was given no
        error (unless it *may_fail*, because two masters served). Every file that was acknowledged to it is there to
        the last byte, but for those of which an operation speaks that a former master had not told anybody else, or
        that a killed one could tell nobody at all (the last of each writer); with *is_planned* there is no such file.

        The client writes two files at a time. A chunk that mfsmaster had locked for a writer whose answer died with
        the host stays locked for two minutes: MooseFS makes that one file wait, whoever takes over.
        """
        client = self.cluster.clients[0]
        older = archives(self.cluster)
        names = [next(_names) for _ in range(WRITERS)]
        writers = [Writer(self.owner, self.cluster.mounts[client], name) for name in names]
        try:
            for writer in writers:
                writer.wait_for(FILES_BEFORE, WRITES_WITHIN_S)
            scene = Scene(self, writers, self.settle(), boottime_ns())
            yield scene
            scene.successor = self.settle()
            scene.await_files(len(scene.files()) + FILES_AFTER)
        finally:
            reports = _stop(writers)
        mount = self.cluster.moosefs.mount(client, f"verify-{names[0]}")
        verdicts = [writer.verify(mount) for writer in writers]
        self.cluster.moosefs.unmount(mount)
        lost = self._lost_since(older, self.settle())
        for writer, told, verdict in zip(writers, reports, verdicts, strict=True):
            assert verdict.checked == told.acknowledged
            files, failures = read_log(writer.log)[0], writer.failures()
            in_flight = told_last(files, scene.killed_ns)
            damaged = [damage for damage in unexplained(verdict, lost) if damage.name not in in_flight]
            assert not damaged, f"{verdict}; lost operations: {lost}"
            assert verdict.is_good or not is_planned, f"{verdict}; lost operations: {lost}"
            unheard = made_unheard(failures, files, scene.killed_ns)
            failed = [f for f in failures if f.name not in unheard and not speaks_of(f.name, verdict.directory, lost)]
            assert may_fail or not failed, f"the client was given errors: {failed[:3]}"
        assert scene.longest_gap_ms() < gap_ms, f"{reports}"
        self.settle()

    def _lost_since(self, older: set[Path], master: str) -> list[str]:
        """Return the operations that former masters have lost; a list of their own, where there is one, is the same."""
        left = branches(self.cluster, master, older)
        for branch in left:
            listed = branch.listed()
            assert listed in (None, branch.lost), f"{branch.place} lists {listed}, but lost are {branch.lost}"
        return [line for branch in left for line in branch.lost]


def _stop(writers: list[Writer]) -> list[WriterReport]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda writer: writer.stop(STOP_WITHIN_S), writers))


@dataclass(slots=True)
class Scene:
    """One scenario while it is played: who was master when it began, and what the witnesses have seen since."""

    stage: Stage
    writers: list[Writer]
    master: str
    began_ns: int
    successor: str = ""
    killed_ns: list[int] = field(default_factory=list)
    """When a mfsmaster was dead that was killed, alone or with its host."""

    def files(self) -> list[Acknowledged]:
        """Return the files acknowledged so far, in that order."""
        files = [file for writer in self.writers for file in read_log(writer.log)[0]]
        return sorted(files, key=lambda file: file.done_ns)

    def await_files(self, count: int) -> None:
        """Wait until so many files are acknowledged."""
        within(lambda: len(self.files()) >= count, WRITES_WITHIN_S, f"{count} files written")

    def longest_gap_ms(self) -> float:
        """Return the longest time in which no file was acknowledged."""
        return max((b.done_ns - a.done_ns for a, b in pairwise(self.files())), default=0) / 1e6

    def inject(self, fault: str, host: str, argument: str = "") -> int:
        """Bring a fault about; returns when (CLOCK_BOOTTIME)."""
        has_mfsmaster = self.stage.pid(host, "mfsmaster") != 0
        at_ns = inject(self.stage.cluster, fault, host, argument).at_ns
        if (fault, argument) == ("kill", "heartbeat") and has_mfsmaster:
            within(lambda: self.stage.pid(host, "mfsmaster") == 0, 60, f"the worker has killed mfsmaster on {host}")
            self.killed_ns.append(boottime_ns())
        elif fault == "crash" or (fault, argument) == ("kill", "mfsmaster"):
            self.killed_ns.append(boottime_ns())
        return at_ns

    def heal(self, fault: str, host: str, argument: str = "") -> int:
        """Mend a fault; returns when (CLOCK_BOOTTIME)."""
        return heal(self.stage.cluster, fault, host, argument).at_ns

    @staticmethod
    def now() -> int:
        """Return CLOCK_BOOTTIME, the clock of all witnesses."""
        return boottime_ns()

    def await_writes(self, within_s: float = WRITES_WITHIN_S) -> None:
        """Wait until the client writes again: until a file that it begins from now on is acknowledged."""
        asked_ns = boottime_ns()
        within(lambda: any(f.began_ns > asked_ns for f in self.files()), within_s, "a file written afterwards")

    def await_master(self, not_on: str = "", within_s: float = WRITES_WITHIN_S) -> str:
        """Wait until a host other than *not_on* says MASTER, has the VIP and a mfsmaster; returns it."""
        cluster = self.stage.cluster

        def successor() -> str | None:
            serving = set(cluster.moosefs.serving_hosts()) & set(cluster.topology.holders_of(VIP)) - {not_on}
            return next((host for host in serving if self.stage.role(host) == "MASTER"), None)

        return within(successor, within_s, f"a host other than {not_on or 'none'} serves")

    def vip_changes(self) -> list[Change]:
        """Return where the VIP came and went since the scenario began, as the kernels told."""
        return [c for c in self.stage.cluster.changes() if c.at_ns > self.began_ns and c.detail == VIP]

    def assert_no_overlap(self, *dead: str) -> None:
        """Assert that at no time two hosts had the VIP; *dead* hosts, which nothing could reach, do not count."""
        holders = {self.master} - set(dead)
        for change in self.vip_changes():
            if change.host in dead:
                continue
            (holders.add if change.what == "address-added" else holders.discard)(change.host)
            assert len(holders) <= 1, f"{sorted(holders)} had the VIP together: {self.vip_changes()}"

    def gap_ms_around(self, at_ns: int) -> float:
        """Return how long the client waited for the first file that was done after a moment."""
        done = [file.done_ns for file in self.files()]
        before = max((d for d in done if d <= at_ns), default=self.began_ns)
        after = min((d for d in done if d > at_ns), default=boottime_ns())
        return (after - before) / 1e6
