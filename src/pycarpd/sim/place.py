"""Where a simulated node lives, and who is told of what it decides."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.sim.dialect import Dialect
from pycarpd.sim.etcd import SimEtcd
from pycarpd.sim.host import Host
from pycarpd.sim.network import Network

if TYPE_CHECKING:
    from pycarpd.sim.node import SimNode


class Observer(Protocol):
    """Who is told of everything a node decides, after it was carried out."""

    def decided(self, node: "SimNode", event: ev.Event, effects: tuple[fx.Effect, ...]) -> None:
        """Take note of one decision."""

    def mark(self, what: str) -> None:
        """Take note of something rare."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node lives. ``is_sealed``: adverts travel as bytes, with every digest made and verified."""

    host: Host
    network: Network
    rng: Random
    observer: Observer
    is_sealed: bool
    dialect: Dialect = Dialect.PRESENT
    is_among_older: bool = False
    etcd: SimEtcd | None = None
