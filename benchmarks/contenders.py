"""Who takes part: pycarpd, and what it replaces. Each brings a stand from rest to "m1 serves, a standby could"."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from benchmarks.stand import FIRST, Stand
from netns.pycarpd import Settings
from netns.recipes.daemons import PRIORITIES, Keepalived, Ucarp

READY_WITHIN_S: Final = 60.0


def ranked(hosts: tuple[str, ...]) -> dict[str, int]:
    """Return the hosts' priorities, which are keepalived's too."""
    return dict(zip(hosts, PRIORITIES, strict=False))


class Contender(Protocol):
    """One way of moving the virtual address and mfsmaster."""

    def start(self) -> None:
        """Start everything; returns when m1 serves and whoever comes next could take over."""

    def stop(self) -> None:
        """End everything of it at once, but no mfsmaster."""


class Pycarpd:
    """pycarpd on all three hosts, with a majority."""

    def __init__(self, stand: Stand, profile: str) -> None:
        self._stand = stand
        self._profile = profile

    def start(self) -> None:
        """Start pycarpd everywhere and wait until it says itself that it is ready."""
        cluster = self._stand.cluster
        huge_pages = cluster.daemons.settings.huge_pages
        settings = Settings(self._profile, "majority", huge_pages=huge_pages)
        cluster.daemons.settings = settings.with_priorities(ranked(self._stand.hosts))
        cluster.daemons.write_configs()
        for host in self._stand.hosts:
            cluster.daemons.start(host)
        cluster.wait_role(FIRST, "MASTER", READY_WITHIN_S)
        cluster.wait_ready(READY_WITHIN_S)

    def stop(self) -> None:
        """Kill all of it."""
        self._stand.end_pycarpd()


class Recipe:
    """ucarp or keepalived with the recipe's scripts, on m1 and as many standbys as it copes with."""

    def __init__(self, stand: Stand, daemon: Ucarp | Keepalived, hosts: int) -> None:
        self._stand = stand
        self._daemon = daemon
        self._hosts = stand.hosts[:hosts]

    def start(self) -> None:
        """Start m1's daemon, which starts mfsmaster, then the metaloggers, then the standbys' daemons."""
        self._daemon.start(FIRST, 0)
        self._stand.wait_m1_serves()
        self._stand.start_metaloggers()
        for rank, host in enumerate(self._hosts):
            if rank:
                self._daemon.start(host, rank)

    def stop(self) -> None:
        """Kill the daemons and their scripts."""
        for host in self._stand.hosts:
            self._daemon.stop(host)


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender as it is named on the command line, and in words."""

    name: str
    title: str
    make: Callable[[Stand], Contender]


def _ucarp(stand: Stand) -> Contender:
    # Of two ucarp standbys both would promote: the script keeps the winner from advertising for longer than they wait.
    return Recipe(stand, Ucarp(stand.cluster.topology, stand.owner, stand.cluster.moosefs), hosts=2)


def _keepalived(interval_s: float) -> Callable[[Stand], Contender]:
    def make(stand: Stand) -> Contender:
        cluster = stand.cluster
        return Recipe(stand, Keepalived(cluster.topology, stand.owner, cluster.moosefs, interval_s), hosts=3)

    return make


CONTENDERS: Final = (
    Entry("pycarpd", "pycarpd, default profile (250 ms x 3)", lambda stand: Pycarpd(stand, "default")),
    Entry("pycarpd-fast", "pycarpd, fast profile (10 ms x 3)", lambda stand: Pycarpd(stand, "fast")),
    Entry("ucarp", "ucarp (1 s x 3) with the recipe", _ucarp),
    Entry("keepalived", "keepalived (1 s x 3) with the recipe", _keepalived(1.0)),
    Entry("keepalived-fast", "keepalived (10 ms x 3) with the recipe", _keepalived(0.01)),
)


def entries(names: str) -> tuple[Entry, ...]:
    """Return the contenders of a comma-separated list, all for an empty one; raises KeyError with an unknown name."""
    known = {entry.name: entry for entry in CONTENDERS}
    return tuple(known[name.strip()] for name in names.split(",")) if names else CONTENDERS
