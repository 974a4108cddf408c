"""Calling the servers back while mfsmaster still loads, and letting them in when it was looked at.

Chunkservers and metaloggers try to connect once a second. So that this second passes while mfsmaster loads, the gate is
closed for everybody as soon as the files are preserved, the address is taken early where a lease allows it, and the old
connections are reset. The connections that are opened too early are kept (see linux.latecomers) and arrive the moment
the plan lets servers in, after it has committed.
"""

import logging
import socket
import threading
import time

from pycarpd.linux.tickle import is_ipv4, send_tickles
from pycarpd.takeover.actions import undo_close_gates
from pycarpd.takeover.context import NS_PER_S, Context
from pycarpd.takeover.step import StepFault

logger = logging.getLogger(__name__)

ADDRESS_WITHIN_S = 0.2
_POLL_S = 0.004


def take_early(context: Context, cancel: threading.Event) -> StepFault | None:
    """Keep everybody out, then ask for the address and call the servers; without a gate nothing is asked for."""
    fault = close_early(context, cancel)
    if fault is not None or not context.settings.takes_address_early:
        return fault
    context.want_address()
    if _is_here(context, cancel):
        return wake_servers(context, cancel)
    logger.info("the address does not come early: no lease yet, or no fence")
    return None


def close_early(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Close the gate for clients, hold the servers, and keep what they ask for meanwhile."""
    for waiting in context.waiting:
        refusal = waiting.open()
        if refusal is not None:  # they come a second later then
            logger.warning("early connections are not kept detail=%s", refusal)
    # It has to outlast loading the metadata, or peers would reach a mfsmaster whose version nobody has looked at;
    # recovery opens it sooner when this process dies.
    longer_s = context.settings.start_timeout_ns // NS_PER_S
    faults = [fault for gate in context.gates if (fault := gate.keep_out(longer_s)) is not None]
    context.is_gate_closed = not faults
    return StepFault("GATE_NOT_CLOSED", str(faults[0])) if faults else None


def undo_early(context: Context) -> StepFault | None:
    """Undo take_early(); the address goes with the news that the promotion is over."""
    for waiting in context.waiting:
        waiting.close()
    context.is_gate_closed = False
    return undo_close_gates(context)


def gate_is_closed(context: Context) -> bool:
    """Check for closing it once more."""
    return context.is_gate_closed


def admit_servers(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Let chunkservers and metaloggers in, those first that have asked already."""
    faults = [fault for gate in context.gates if (fault := gate.release()) is not None]
    for waiting in context.waiting:
        logger.info("early connections let in: %s", waiting.release())
    return StepFault("SERVERS_NOT_ADMITTED", str(faults[0])) if faults else None


def wake_servers(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Wake the chunkservers and metaloggers of the dead master."""
    ports = context.settings.ports
    return _tickle(context, frozenset({ports.metaloggers, ports.chunkservers}))


def wake_clients(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Wake the clients of the dead master."""
    return _tickle(context, frozenset({context.settings.ports.clients}))


def _tickle(context: Context, ports: frozenset[int]) -> StepFault | None:
    """Make the dead master's peers find out now: their stale connections answer, and get a reset."""
    peers = [
        (each.address, each.port, each.service_port) for each in context.old_connections if each.service_port in ports
    ]
    if not peers:
        return None
    results = [send_tickles(address, peers) for address in context.settings.virtual_addresses if is_ipv4(address)]
    faults = [result.fault for result in results if result.fault is not None]
    return StepFault("TICKLE_FAILED", str(faults[0])) if faults else None


def _is_here(context: Context, cancel: threading.Event) -> bool:
    """Wait for the address for a moment: what is sent in its name before it is here is answered to nobody."""
    addresses = [each for each in context.settings.virtual_addresses if is_ipv4(each)]
    deadline = time.monotonic() + ADDRESS_WITHIN_S
    while not all(map(_is_local, addresses)):
        if time.monotonic() > deadline or cancel.wait(_POLL_S):
            return False
    return True


def _is_local(address: str) -> bool:
    """Tell whether this host has an address: only then can a socket be bound to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as attempt:
        try:
            attempt.bind((address, 0))
        except OSError:
            return False
    return True
