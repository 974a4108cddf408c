"""The stage for split brain: a cluster with a writer on each side, a prober at each host's port, and a judge's record.

The same code plays the scenarios for people (`./netns/lab exposure`) and for the tests.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise
from typing import Final, Self

from netns.answers import Stretch, answers, exposure_ns, last_answer_ns, stretches
from netns.capture import Kind, Sighting
from netns.cluster import Cluster, Options
from netns.commands import LaboratoryError, boottime_ns, eventually
from netns.faults import find, heal, inject
from netns.owner import Owner
from netns.pycarpd import Settings
from netns.topology import SWITCH, VIP
from netns.writer import Writer, read_log

SETTLE_WITHIN_S: Final = 90.0
_WRITES_WITHIN_S: Final = 60.0
_FILES_BEFORE: Final = 10
_STOP_WITHIN_S: Final = 8.0
_CALM_LOOKS: Final = 2
_serial = count(1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the witnesses saw in one scenario. All times in ms, counted from the fault where they are moments.

    ``exposure_ms``: how long two hosts answered for the VIP. ``old_until_ms``: the old master's last answer before
    another's first, None if it never answered after the fault. ``new_from_ms``: the successor's first answer, None
    where the master stayed. ``gap_ms``: the longest time in which no client was acknowledged a file. ``lost``:
    acknowledged files that are gone.
    """

    scenario: str
    master: str
    successor: str
    exposure_ms: float
    old_until_ms: float | None
    new_from_ms: float | None
    gap_ms: float
    files: int
    lost: int
    answers: int
    stretches: tuple[Stretch, ...] = ()

    @property
    def has_returned(self) -> bool:
        """Tell whether the old master answered again after another host had."""
        first_ns = min((s.began_ns for s in self.stretches if s.host != self.master), default=None)
        return first_ns is not None and any(s.host == self.master and s.ended_ns > first_ns for s in self.stretches)


@dataclass(slots=True)
class Play:
    """One scenario while it is played."""

    theatre: "Theatre"
    master: str
    began_ns: int = field(default_factory=boottime_ns)

    @property
    def cluster(self) -> Cluster:
        """Return the cluster it is played on."""
        return self.theatre.cluster

    @property
    def others(self) -> list[str]:
        """Return the other hosts with pycarpd."""
        return [host for host in self.cluster.daemons.hosts if host != self.master]

    def inject(self, fault: str, argument: str = "") -> None:
        """Bring a fault about on the master; the first one begins the scenario."""
        inject(self.cluster, fault, self.master, argument)

    def heal(self, fault: str, argument: str = "") -> None:
        """Mend a fault of the master."""
        heal(self.cluster, fault, self.master, argument)

    def sleep_until(self, seconds: float) -> None:
        """Wait until so long after the scenario's beginning."""
        time.sleep(max(0.0, seconds - (boottime_ns() - self.began_ns) / 1e9))

    def await_successor(self, within_s: float = 30.0) -> str:
        """Wait until another host says MASTER and has the VIP; returns it."""

        def successor() -> str | None:
            holders = self.cluster.topology.holders_of(VIP)
            look = self.cluster.daemons.look
            return next((h for h in self.others if h in holders and look(h).get("role") == "MASTER"), None)

        return eventually(successor, within_s, f"a host other than {self.master} serves", every_s=0.1)

    def said(self) -> list[Sighting]:
        """Return what was said for the VIP since the scenario began."""
        return self.theatre.said(self.began_ns)


class Theatre:
    """A cluster with two clients, the second of which may be put on the master's side of a cut."""

    def __init__(self, owner: Owner, cluster: Cluster) -> None:
        self.owner = owner
        self.cluster = cluster

    @classmethod
    def build(cls, owner: Owner, settings: Settings, hosts: int) -> Self:
        """Build the cluster, bring it up, and begin to ask."""
        cluster = Cluster.build(owner, Options(hosts=hosts, clients=2, settings=settings))
        cluster.start()
        ports = [f"{host}={cluster.topology.hosts[host].mac}" for host in cluster.daemons.hosts]
        cluster.helper(SWITCH, "netns.prober", VIP, *ports, log="prober.log")
        began_ns = boottime_ns()
        theatre = cls(owner, cluster)
        asked = partial(theatre.is_answered_by_all_means, began_ns)
        eventually(asked, SETTLE_WITHIN_S, "the prober is answered by ARP and on 9421", every_s=0.2)
        return theatre

    def is_answered_by_all_means(self, since_ns: int) -> bool:
        """Tell whether the prober has been answered since a moment, by ARP and by TCP."""
        kinds = [seen.kind for seen in self.said(since_ns)]
        return kinds.count(Kind.ARP) > _FILES_BEFORE and kinds.count(Kind.SYN_ACK) > _FILES_BEFORE

    def said(self, since_ns: int) -> list[Sighting]:
        """Return what was said for the VIP since a moment."""
        return answers(self.cluster.capture.sightings() if self.cluster.capture else [], since_ns)

    def settle(self, within_s: float = SETTLE_WITHIN_S) -> str:
        """Wait until one host serves and all others could take over or vote; returns it. Raises LaboratoryError."""
        calm: list[str] = []
        last = ""

        def is_calm() -> bool:
            nonlocal last
            master, last = self._look()
            calm[:] = [*calm, master] if not last and (not calm or calm[-1] == master) else []
            return len(calm) >= _CALM_LOOKS

        try:
            eventually(is_calm, within_s, "the cluster is whole", every_s=0.3)
        except LaboratoryError:
            raise LaboratoryError(f"not whole after {within_s:g} s: {last}") from None
        return calm[-1]

    def _look(self) -> tuple[str, str]:
        serving, holders = self.cluster.moosefs.serving_hosts(), self.cluster.topology.holders_of(VIP)
        if len(serving) != 1 or serving != holders:
            return "", f"mfsmaster on {serving}, VIP on {holders}"
        for host in self.cluster.daemons.hosts:
            status = self.cluster.daemons.look(host)
            wanted = "MASTER" if host in serving else "BACKUP"
            if status.get("role") != wanted:
                return "", f"{host} is {status.get('role')}, not {wanted}"
            is_candidate = host not in self.cluster.daemons.settings.witnesses
            if wanted == "BACKUP" and is_candidate and not status["freshness"]["promotable"]:
                return "", f"{host} could not take over: {status['freshness']['why_not']}"
        return serving[0], ""

    def pids(self, host: str, *names: str) -> list[int]:
        """Return the processes of a host by name."""
        return [process.pid for name in names for process in find(self.cluster, host, name)]

    def play(self, name: str, act: Callable[[Play], None]) -> Outcome:
        """Play one scenario with a writer on each client and return what was seen.

        Afterwards the cluster is whole again and a client has gone on. Raises LaboratoryError.
        """
        master = self.settle()
        with self._writers() as writers:
            play = Play(self, master)
            act(play)
            successor = self.settle()
            healed_ns = boottime_ns()
            eventually(
                lambda: any(f.began_ns > healed_ns for w in writers for f in read_log(w.log)[0]),
                _WRITES_WITHIN_S, "a client writes after the scenario", every_s=0.2,
            )  # fmt: skip
            said = play.said()
        return self._judge(name, play, successor, said, writers)

    @contextmanager
    def _writers(self) -> Iterator[list[Writer]]:
        number = next(_serial)
        writers = [Writer(self.owner, mount, f"x{number}{client}") for client, mount in self.cluster.mounts.items()]
        try:
            for writer in writers:
                writer.wait_for(_FILES_BEFORE, _WRITES_WITHIN_S)
            yield writers
        finally:
            for writer in writers:
                writer.stop(_STOP_WITHIN_S)

    def _judge(self, name: str, play: Play, successor: str, said: list[Sighting], writers: list[Writer]) -> Outcome:
        found = stretches(said)
        first_ns = min((s.at_ns for s in said if s.host != play.master), default=None)
        old = [s for s in said if first_ns is None or s.at_ns < first_ns]
        old_ns = last_answer_ns(old, play.master)
        done = sorted(f.done_ns for w in writers for f in read_log(w.log)[0] if f.done_ns >= play.began_ns)
        gap_ns = max((b - a for a, b in pairwise([play.began_ns, *done])), default=0)
        mount = self.cluster.moosefs.mount(self.cluster.clients[0], f"verify{next(_serial)}")
        verdicts = [writer.verify(mount) for writer in writers]
        self.cluster.moosefs.unmount(mount)
        return Outcome(
            scenario=name,
            master=play.master,
            successor=successor,
            exposure_ms=exposure_ns(found) / 1e6,
            old_until_ms=None if old_ns is None else round((old_ns - play.began_ns) / 1e6, 1),
            new_from_ms=None if first_ns is None else round((first_ns - play.began_ns) / 1e6, 1),
            gap_ms=round(gap_ns / 1e6, 1),
            files=sum(v.checked for v in verdicts),
            lost=sum(v.lost + v.short + v.wrong for v in verdicts),
            answers=len(said),
            stretches=tuple(found),
        )
