"""A switchover loses nothing, and one that is called off changes nothing: held against the files as they truly are."""

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Role
from pycarpd.sim.checkers import Effects, require
from pycarpd.sim.node import SimNode


class HandoverKeeper:
    """Looks at both hosts at the moment at which a master gives its role to a successor, or keeps it."""

    def __init__(self, nodes: tuple[SimNode, ...]) -> None:
        self._hosts = {node.member.node_id: node.host for node in nodes}

    def check(self, node: SimNode, event: ev.Event, effects: Effects) -> None:
        """Look at one decision, unless the host has lost its power in the middle of it."""
        if node.elector is None:
            return
        for effect in effects:
            if isinstance(effect, fx.SwitchoverEnded):
                if effect.code:
                    self._check_kept(node, event, effect.code)
                else:
                    self._check_given(node, effect.successor)

    def _check_given(self, node: SimNode, successor: int) -> None:
        own, host = node.host.data.own, self._hosts[successor]
        require(node.host.is_gate_closed, "switchover: the clients are held until the role is given away", node)
        is_level = own is not None and host.version >= own.version
        require(is_level or host.is_off, "switchover: the successor has every operation", node)

    def _check_kept(self, node: SimNode, event: ev.Event, code: str) -> None:
        is_leaving = isinstance(event, ev.StopRequested) or node.role is Role.DEMOTING
        is_kept = node.role is Role.MASTER or is_leaving or code in ("switchover-interrupted", "not-master")
        require(is_kept, "switchover: one that is called off leaves the master serving", node)
