"""A pause lasts until an operator ends it, whatever restarts meanwhile (P1)."""

from dataclasses import dataclass, field

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.events import OperatorCommand
from pycarpd.election.model import Role
from pycarpd.sim.agenda import NS_PER_S
from pycarpd.sim.checkers import Effects, require
from pycarpd.sim.node import SimNode

DURABLE_NS = 4 * NS_PER_S
"""After so long a pause is on the slowest disk; one that was lost with its host before was never acknowledged."""


@dataclass(slots=True)
class Pause:
    """One pause: the life of the node in which it was asked for, and from when to when that life has run with it."""

    epoch: int
    since_ns: int
    until_ns: int


@dataclass(slots=True)
class PauseKeeper:
    """Remembers what operators have asked for, which no restart can make it forget."""

    pauses: dict[str, Pause] = field(default_factory=dict)

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Follow commands and restarts, and see who opens a term."""
        now_ns, epoch = node.host.agenda.now_ns, node.host.epoch
        match event:
            case ev.Commanded(command=OperatorCommand.PAUSE):
                self.pauses.setdefault(node.name, Pause(epoch, now_ns, now_ns))
            case ev.Commanded(command=OperatorCommand.RESUME):
                self.pauses.pop(node.name, None)
            case _:
                pass
        pause = self.pauses.get(node.name)
        if pause is None:
            return
        if pause.epoch == epoch:
            pause.until_ns = now_ns
        is_durable = node.host.disk.is_paused or pause.until_ns - pause.since_ns >= DURABLE_NS
        is_binding = pause.epoch == epoch or is_durable
        for effect in effects:
            if isinstance(effect, fx.Transition) and (effect.was, effect.role) == (Role.BACKUP, Role.PROMOTING):
                require(not is_binding, "P1: a paused node opens no term", node)
