"""What the steps of PROMOTE and DEMOTE work on: this host's services and files, and what the plan has learnt."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pycarpd.election.model import PeerConnection
from pycarpd.moosefs.chain import Chain
from pycarpd.moosefs.chunklocks import ChunkLock
from pycarpd.moosefs.companion import Companion
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.takeover.datafiles import Kept
from pycarpd.takeover.preserve import Preserved
from pycarpd.takeover.prune import KeepBounds
from pycarpd.takeover.step import StepFault

if TYPE_CHECKING:
    from pycarpd.takeover.switchover import Parley

NS_PER_S = 1_000_000_000


class Gate(Protocol):
    """What keeps clients from the virtual address's client port; see linux.gate.ClientGate."""

    def close(self) -> object | None:
        """Close the gate; returns None or a value that says why it could not be closed."""

    def keep_out(self, longer_s: int) -> object | None:
        """Close it for new connections to the held ports too, for so much longer; returns None or why it is not."""

    def release(self) -> object | None:
        """Let new connections to the held ports in; returns None or a value that says why they are not."""

    def open(self) -> object | None:
        """Open the gate at once; returns None or a value that says why it could not be opened."""

    def remove(self) -> object | None:
        """Open the gate and leave nothing of it; returns None or a value that says why not."""


class Waiting(Protocol):
    """Connections that come before mfsmaster listens; see linux.latecomers.Latecomers."""

    def open(self) -> object | None:
        """Begin to keep them; returns None or a value that says why they are not kept."""

    def release(self) -> object:
        """Let them arrive now."""

    def close(self) -> None:
        """Forget them."""


@dataclass(frozen=True, slots=True)
class Ports:
    """mfsmaster's three ports as its configuration has them."""

    metaloggers: int = 9419
    chunkservers: int = 9420
    clients: int = 9421


@dataclass(frozen=True, slots=True)
class TakeoverSettings:
    """This host's MooseFS, frozen. ``uid`` and ``gid`` are WORKING_USER and WORKING_GROUP.

    ``start_timeout_ns`` bounds loading the metadata whatever its size; see liveness.start_timeout_ns().
    ``replication_delay_s`` is mfsmaster's REPLICATIONS_DELAY_INIT.
    """

    data_path: Path
    master_config: Path
    metalogger_config: Path
    uid: int
    gid: int
    virtual_addresses: tuple[str, ...]
    ports: Ports = Ports()
    also_start: tuple[str, ...] = ()
    start_timeout_ns: int = 1800 * NS_PER_S
    chunkserver_wait_ns: int = 2 * NS_PER_S
    first_chunkserver_wait_ns: int = 10 * NS_PER_S
    """While there is not a single one. They try again each five seconds (MASTER_RECONNECTION_DELAY)."""
    keep: KeepBounds = field(default_factory=KeepBounds)
    probe_host: str = "127.0.0.1"
    fence_timeout_ns: int = 0
    """How long the site's fence command may take; 0 where there is none."""
    replication_delay_s: int = 60
    takes_address_early: bool = False
    """Whether there is a lease that allows the address before mfsmaster answers."""

    @property
    def chunkserver_wait_max_ns(self) -> int:
        """For how long clients are kept out for chunkservers at most."""
        return max(self.chunkserver_wait_ns, self.first_chunkserver_wait_ns)


@dataclass(frozen=True, slots=True)
class Request:
    """What one plan is asked to do. ``label`` names its archive; see prune.label().

    ``expected_metaid`` None accepts any one file system that is not empty. ``minimum_version``: what the voters
    relied on. ``is_address_held``: an in-place restart, so chunkservers may have changed the live version already.
    ``is_foreign``: what the metalogger has written may be no part of the successor's lineage.
    ``inherits``: the old master handed over with every client answered, so no lock is left by an answer that got lost.
    ``is_speculative``: begun before the term was won; then the plan waits for it.
    ``successor_version``: the metadata version at which another node was promoted, as far as it is known;
    ``master_version`` the one that it serves by now, as its adverts tell.
    """

    label: str
    term: int
    realtime_ns: int
    expected_metaid: int | None = None
    minimum_version: int = 0
    is_address_held: bool = False
    has_successor: bool = False
    successor_version: int | None = None
    is_foreign: bool = False
    inherits: bool = False
    master_version: int | None = None
    is_speculative: bool = False


def unheard() -> None:
    """Answer a wish that nobody hears."""


def _granted() -> bool:
    return True


@dataclass(slots=True)
class Context:
    """Shared by the steps of one plan, which run one after the other in one thread.

    ``want_address`` says that the virtual addresses may come early.
    ``take_address`` asks the heartbeat for the virtual addresses and returns whether it holds them now;
    ``release_address`` whether they are gone. ``old_connections`` are the dead master's.
    ``follower`` has followed the data directory while this host stood by; None: its files are read whole.
    """

    settings: TakeoverSettings
    request: Request
    mfsmaster: Mfsmaster
    metalogger: Mfsmetalogger
    gates: tuple[Gate, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    companions: tuple[Companion, ...] = ()
    want_address: Callable[[], None] = unheard
    take_address: Callable[[], bool] = _granted
    release_address: Callable[[], bool] = _granted
    old_connections: tuple[PeerConnection, ...] = ()
    follower: ChainFollower | None = None
    preserved: Preserved | None = None
    chain: Chain | None = None
    is_gate_closed: bool = False
    mfsmaster_pid: int | None = None
    start_timeout_ns: int | None = None
    locks: Future[tuple[ChunkLock, ...]] | None = None
    """What the changelog leaves locked, looked for while mfsmaster loads."""
    operations_lost: int | None = None
    metalogger_was_running: bool = True
    fence: Callable[[threading.Event], StepFault | None] | None = None
    """Makes sure that the old master is dead, where a fence command is configured."""
    parley: "Parley | None" = None
    """With whom a switchover's plans speak."""

    @property
    def kept(self) -> Kept:
        """Return the directories kept inside DATA_PATH."""
        return Kept(self.settings.data_path)

    @property
    def archive(self) -> Path:
        """Return this plan's archive."""
        return self.kept.archive / self.request.label

    @property
    def staging(self) -> Path:
        """Return where this plan assembles."""
        return self.kept.staging / self.request.label
