"""What people ask of a node: to resign, to pause, to end."""

from typing import assert_never

from pycarpd.election import handover, roles
from pycarpd.election.effects import Stopped
from pycarpd.election.events import OperatorCommand
from pycarpd.election.model import CONTENDING, Cause, Role
from pycarpd.election.node import Node


def on_command(node: Node, command: OperatorCommand, now_ns: int) -> None:
    """Obey an operator. A pause lasts until it is ended, whatever restarts meanwhile."""
    match command:
        case OperatorCommand.RESIGN:
            if node.role in CONTENDING:
                handover.leave(node, Cause.RESIGNED, now_ns)
        case OperatorCommand.PAUSE:
            node.is_paused = True
            node.persist(is_paused=True)
        case OperatorCommand.RESUME:
            node.is_paused = False
            node.persist(is_paused=False)
            roles.try_promotion(node, now_ns)
        case _:
            assert_never(command)


def on_stop(node: Node, now_ns: int, *, keep_serving: bool) -> None:
    """End; a MASTER that is to be back in a moment asks its voters to wait for it."""
    node.is_stopping = True
    if node.role is Role.MASTER and keep_serving:
        node.hold_ns = node.settings.hold_max_ns
        node.send(now_ns)
        if node.settings.majority == 1:
            node.emit(Stopped())
        else:
            node.election_deadline_ns = now_ns + node.silence_ns()
    elif node.role in CONTENDING:
        handover.leave(node, Cause.STOPPED, now_ns)
    elif node.role is not Role.DEMOTING:
        node.emit(Stopped())
