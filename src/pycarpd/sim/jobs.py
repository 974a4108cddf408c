"""What may be asked of a simulated worker, and whom it tells."""

from collections.abc import Callable
from dataclasses import dataclass

from pycarpd.election.events import Event
from pycarpd.sim.etcd import EtcdClient


@dataclass(frozen=True, slots=True)
class Job:
    """A plan asked for."""

    plan: str
    term: int
    has_successor: bool = False
    is_foreign: bool = False
    is_speculative: bool = False


@dataclass(frozen=True, slots=True)
class Reporting:
    """Whom a worker tells: the heartbeat its news, the world what became rare enough to be counted."""

    report: Callable[[Event], None]
    mark: Callable[[str], None]
    lose_power: Callable[[], None]
    arbiter: EtcdClient | None = None
