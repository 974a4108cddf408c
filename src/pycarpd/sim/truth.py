"""Who can be reached at the virtual address, at every instant and in the kernels' own terms (S2, S5).

A virtual machine whose clock stood still comes back with a lease that the others have seen run out: no fence on that
host can know. Such an overlap is not what S2 promises against; it is measured here instead, and it may last no longer
than what was left of the very lease that was asked for before the standstill.
"""

from collections.abc import Callable

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter
from pycarpd.sim.checkers import Effects
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.node import SimNode


class Reachability:
    """At most one node is reachable with a mfsmaster; ``exposure_ns`` is for how long two were, after a freeze."""

    def __init__(self, nodes: tuple[SimNode, ...], mark: Callable[[str], None]) -> None:
        self._nodes = nodes
        self._mark = mark
        self._since_ns: int | None = None
        self.exposure_ns = 0
        self.exposure_max_ns = 0

    @property
    def was_split(self) -> bool:
        """Tell whether two have served at once: standbys may have followed either of them since."""
        return self._since_ns is not None or self.exposure_ns > 0

    def look(self, now_ns: int) -> None:
        """Look at every kernel: clients may write, and metaloggers follow, between two events of the nodes."""
        servers = [n for n in self._nodes if n.host.serves]
        is_split = len(servers) > 1
        if is_split and sum(1 for n in servers if not n.host.is_excused) > 1:
            raise CheckFailedError(f"S2: two nodes serve: {[n.name for n in servers]}")
        self._measure(now_ns, is_split=is_split)

    def check(self, node: SimNode, _event: ev.Event, effects: Effects) -> None:
        """Look at every kernel after every event."""
        if node.settings.arbiter is Arbiter.NONE:
            return
        self.look(node.host.agenda.now_ns)
        if any(isinstance(effect, fx.AttachVip) for effect in effects):
            others = [n for n in self._nodes if n is not node and n.host.is_reachable and not n.host.is_excused]
            if others and not node.host.is_excused:
                raise CheckFailedError(f"S5: {node.name} takes the address while {others[0].name} can be reached")

    def _measure(self, now_ns: int, *, is_split: bool) -> None:
        if self._since_ns is not None:
            overlap_ns = now_ns - self._since_ns
            self.exposure_ns += overlap_ns
            self.exposure_max_ns = max(self.exposure_max_ns, overlap_ns)
        if is_split and self._since_ns is None:
            self._mark("two served at once after a host had stood still")
        self._since_ns = now_ns if is_split else None
