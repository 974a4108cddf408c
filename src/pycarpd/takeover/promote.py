"""PROMOTE: from the metalogger's files to a served virtual address, or back to exactly where it began.

The address comes only after mfsmaster has answered with the expected version. From the moment it is asked for,
clients may have been served: the plan commits there, and its files are never rolled back afterwards. The
in-place restart of a mfsmaster that died alone is the same plan; its own files are part of the chain then.
"""

import threading
from ipaddress import ip_address

from pycarpd.linux.tickle import send_tickles
from pycarpd.moosefs.probe import ProbeFault, list_servers
from pycarpd.takeover import actions
from pycarpd.takeover.actions import ContextStep, to_seconds
from pycarpd.takeover.assemble import assemble, discard_staging, install, preserve
from pycarpd.takeover.context import NS_PER_S, Context, Request, TakeoverSettings
from pycarpd.takeover.following import follow_again
from pycarpd.takeover.liveness import prove_live, start_mfsmaster
from pycarpd.takeover.locks import release_locks
from pycarpd.takeover.step import OnFailure, Plan, StepFault, StepSpec, UndoScope
from pycarpd.takeover.stonith import fence_steps

PROMOTE = "promote"
_PROBE_TIMEOUT_S = 5.0
_POLL_S = 0.02
_POLLS_UNCHANGED = 15
_IPV4 = 4
_TAKE_ADDRESS_TIMEOUT_NS = 5 * NS_PER_S


def take_address(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Ask the heartbeat for the virtual addresses."""
    if context.take_address():
        return None
    return StepFault("ADDRESS_REFUSED", "the heartbeat did not take the virtual address")


def give_address(context: Context) -> StepFault | None:
    """Undo take_address()."""
    if context.release_address():
        return None
    return StepFault("ADDRESS_HELD", "the heartbeat did not give the virtual address up")


def _tickle(context: Context, ports: frozenset[int]) -> StepFault | None:
    """Make the dead master's peers find out now: their stale connections answer, and get a reset."""
    peers = [
        (each.address, each.port, each.service_port) for each in context.old_connections if each.service_port in ports
    ]
    if not peers:
        return None
    results = [send_tickles(address, peers) for address in context.settings.virtual_addresses if _is_ipv4(address)]
    faults = [result.fault for result in results if result.fault is not None]
    return StepFault("TICKLE_FAILED", str(faults[0])) if faults else None


def _is_ipv4(address: str) -> bool:
    return ip_address(address).version == _IPV4


def wake_servers(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Wake the chunkservers and metaloggers of the dead master."""
    ports = context.settings.ports
    return _tickle(context, frozenset({ports.metaloggers, ports.chunkservers}))


def wake_clients(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Wake the clients of the dead master."""
    return _tickle(context, frozenset({context.settings.ports.clients}))


def expected_chunkservers(context: Context) -> int:
    """Return how many chunkservers the dead master had."""
    port = context.settings.ports.chunkservers
    return sum(each.service_port == port for each in context.old_connections)


def await_chunkservers(context: Context, cancel: threading.Event) -> StepFault | None:
    """Wait until as many chunkservers have registered as there were, or for the configured time.

    A client that reads a chunk which no server has registered yet sleeps 10 s, one that writes 60 s. Copies of which
    no more come (the master has listed chunks in vain, or did not know them) are not waited for.
    """
    settings, expected = context.settings, expected_chunkservers(context)
    polls = max(1, round(to_seconds(settings.chunkserver_wait_ns) / _POLL_S))
    present, missing, unchanged = 0, 0, 0
    for _ in range(polls if expected else 0):
        servers = list_servers(settings.probe_host, settings.ports.clients, _PROBE_TIMEOUT_S)
        if not isinstance(servers, ProbeFault):
            unchanged = unchanged + 1 if (present, missing) == (servers.chunkservers, servers.copies_missing) else 0
            present, missing = servers.chunkservers, servers.copies_missing
        is_listed = missing == 0 or unchanged >= _POLLS_UNCHANGED
        if (present >= expected and is_listed) or cancel.wait(_POLL_S):
            break
    if present < expected:
        return StepFault("CHUNKSERVERS_MISSING", f"{present} of {expected} have come back")
    return None


def promote_plan(
    settings: TakeoverSettings, request: Request, plan_id: str, parameters: tuple[tuple[str, str], ...]
) -> Plan[Context]:
    """Return the plan that makes this host serve; *parameters* travel in the journal."""
    # Where the address is still here, clients must not reach mfsmaster before its version was looked at.
    early_gate = (_gate_step("keep-clients-out"),) if request.is_address_held else ()
    steps = (*fence_steps(settings), *_prepare_steps(), *early_gate, *_serve_steps(settings), *_report_steps())
    return Plan(PROMOTE, plan_id, parameters, steps)


def _gate_step(name: str) -> ContextStep:
    """Return a step that closes the gate; it opens itself after a while, so closing it is repeated."""
    spec = StepSpec(name, actions.QUICK_TIMEOUT_NS, on_failure=OnFailure.REPORT, undo=UndoScope.ALWAYS)
    return ContextStep(spec, actions.close_gates, actions.undo_close_gates)


def _prepare_steps() -> tuple[ContextStep, ...]:
    files = actions.FILES_TIMEOUT_NS
    return (
        ContextStep(StepSpec("preserve", files), preserve),
        ContextStep(
            StepSpec("stop-metalogger", actions.METALOGGER_TIMEOUT_NS),
            actions.stop_metalogger,
            follow_again,
        ),
        ContextStep(
            StepSpec("end-mfsmaster", actions.KILL_TIMEOUT_NS, has_check=True),
            actions.kill_mfsmaster,
            checks=actions.mfsmaster_is_gone,
        ),
        ContextStep(StepSpec("assemble", files), assemble, discard_staging),
        ContextStep(StepSpec("install", files), install, actions.take_files_back),
    )


def _serve_steps(settings: TakeoverSettings) -> tuple[ContextStep, ...]:
    quick, report = actions.QUICK_TIMEOUT_NS, OnFailure.REPORT
    # The step gives up by itself first, so that its own words are what the operator reads.
    start_ns = settings.start_timeout_ns + actions.KILL_TIMEOUT_NS
    wait_ns = settings.chunkserver_wait_ns + quick
    return (
        ContextStep(
            StepSpec("start-mfsmaster", start_ns, undo=UndoScope.STOPS_SERVING),
            start_mfsmaster,
            actions.undo_start,
        ),
        ContextStep(StepSpec("probe", quick), prove_live),
        _gate_step("close-gate"),
        ContextStep(
            StepSpec("take-address", _TAKE_ADDRESS_TIMEOUT_NS, undo=UndoScope.STOPS_SERVING, commits=True),
            take_address,
            give_address,
        ),
        ContextStep(StepSpec("wake-servers", quick, on_failure=report), wake_servers),
        ContextStep(StepSpec("await-chunkservers", wait_ns, on_failure=report), await_chunkservers),
        ContextStep(StepSpec("release-locks", quick, on_failure=report), release_locks),
        ContextStep(StepSpec("open-gate", quick, on_failure=report), actions.open_gates),
        ContextStep(StepSpec("wake-clients", quick, on_failure=report), wake_clients),
    )


def _report_steps() -> tuple[ContextStep, ...]:
    report = OnFailure.REPORT
    return (
        ContextStep(
            StepSpec("start-metalogger", actions.METALOGGER_TIMEOUT_NS, on_failure=report),
            actions.start_metalogger,
        ),
        ContextStep(
            StepSpec("start-companions", actions.COMPANION_TIMEOUT_NS, on_failure=report),
            actions.start_companions,
        ),
        ContextStep(StepSpec("prune", actions.FILES_TIMEOUT_NS, on_failure=report), actions.prune_kept),
    )
