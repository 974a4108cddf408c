"""PROMOTE: from the metalogger's files to a served virtual address, or back to exactly where it began.

Nobody reaches mfsmaster before it has answered with the expected version: until then the address is not here, or a
gate stands before its ports (see early). From the moment the address is asked for in earnest, clients may have been
served: the plan commits there, and its files are never rolled back afterwards. The in-place restart of a mfsmaster that
died alone is the same plan; its own files are part of the chain then.
"""

import threading

from pycarpd.moosefs.probe import ProbeFault, list_servers
from pycarpd.takeover import actions
from pycarpd.takeover.actions import ContextStep, to_seconds
from pycarpd.takeover.assemble import assemble, discard_staging, install, preserve
from pycarpd.takeover.beforehand import await_step, shut_out
from pycarpd.takeover.context import NS_PER_S, Context, TakeoverSettings
from pycarpd.takeover.early import (
    admit_servers,
    close_early,
    gate_is_closed,
    take_early,
    undo_early,
    wake_clients,
    wake_servers,
)
from pycarpd.takeover.following import follow_again
from pycarpd.takeover.liveness import prove_live, start_mfsmaster
from pycarpd.takeover.locks import look_for_locks, release_locks
from pycarpd.takeover.step import OnFailure, Plan, StepFault, StepSpec, UndoScope
from pycarpd.takeover.stonith import fence_steps

PROMOTE = "promote"
EARLY = "early-address"
_PROBE_TIMEOUT_S = 5.0
_POLL_S = 0.02
_POLLS_UNCHANGED = 15
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


def expected_chunkservers(context: Context) -> int | None:
    """Return how many chunkservers the dead master had; None when nobody has told this host, as after a power cut."""
    port = context.settings.ports.chunkservers
    return sum(each.service_port == port for each in context.old_connections) if context.old_connections else None


def await_chunkservers(context: Context, cancel: threading.Event) -> StepFault | None:
    """Wait until as many chunkservers have registered as there were, or for the configured time.

    A client that reads a chunk which no server has registered yet sleeps 10 s, one that writes 60 s. So the first
    chunkserver is waited for longer than the others: without one, nobody can read or write a byte, and no chunk of an
    interrupted write can be unlocked. Copies of which no more come (the master has listed chunks in vain, or did not
    know them) are not waited for. Where nobody knows how many there were, all that the metadata know of are waited for.
    """
    settings, expected = context.settings, expected_chunkservers(context)
    if expected == 0:
        return None
    present, missing, unchanged = 0, 0, 0
    polls = max(1, round(to_seconds(settings.chunkserver_wait_ns) / _POLL_S))
    for poll in range(max(polls, round(to_seconds(settings.chunkserver_wait_max_ns) / _POLL_S))):
        if poll >= polls and present:
            break
        servers = list_servers(settings.probe_host, settings.ports.clients, _PROBE_TIMEOUT_S)
        if not isinstance(servers, ProbeFault):
            unchanged = unchanged + 1 if (present, missing) == (servers.chunkservers, servers.copies_missing) else 0
            present, missing = servers.chunkservers, servers.copies_missing
            expected = servers.chunkservers_known if expected is None else expected
        is_listed = missing == 0 or unchanged >= _POLLS_UNCHANGED
        if (expected is not None and present >= expected and is_listed) or cancel.wait(_POLL_S):
            break
    if present < (expected or 0):
        return StepFault("CHUNKSERVERS_MISSING", f"{present} of {expected} have come back")
    return None


def start(context: Context, cancel: threading.Event) -> StepFault | None:
    """Start mfsmaster, and use the time in which it loads."""
    if not context.request.inherits:
        look_for_locks(context)
    return start_mfsmaster(context, cancel)


def promote_plan(
    settings: TakeoverSettings, plan_id: str, parameters: tuple[tuple[str, str], ...], *, is_speculative: bool = False
) -> Plan[Context]:
    """Return the plan that makes this host serve; *parameters* travel in the journal.

    One that *is_speculative* waits for its term before it does anything that concerns others.
    """
    prepare = _prepare_steps(is_speculative=is_speculative)
    fence, load = fence_steps(settings), _load_steps(settings)
    first = (*prepare, *load, await_step(), *fence) if is_speculative else (*fence, *prepare, *load)
    return Plan(PROMOTE, plan_id, parameters, (*first, *_serve_steps(settings), *_report_steps()))


def _prepare_steps(*, is_speculative: bool) -> tuple[ContextStep, ...]:
    files = actions.FILES_TIMEOUT_NS
    on_failure = OnFailure.ABORT if is_speculative else OnFailure.REPORT
    early = StepSpec(EARLY, actions.QUICK_TIMEOUT_NS, on_failure=on_failure, undo=UndoScope.ALWAYS)
    return (
        ContextStep(StepSpec("preserve", files), preserve),
        ContextStep(early, shut_out if is_speculative else take_early, undo_early),
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


def _load_steps(settings: TakeoverSettings) -> tuple[ContextStep, ...]:
    # The step gives up by itself first, so that its own words are what the operator reads.
    start_ns = settings.start_timeout_ns + actions.KILL_TIMEOUT_NS
    return (
        ContextStep(
            StepSpec("start-mfsmaster", start_ns, undo=UndoScope.STOPS_SERVING),
            start,
            actions.undo_start,
        ),
        ContextStep(StepSpec("probe", actions.QUICK_TIMEOUT_NS), prove_live),
    )


def _serve_steps(settings: TakeoverSettings) -> tuple[ContextStep, ...]:
    quick, report = actions.QUICK_TIMEOUT_NS, OnFailure.REPORT
    wait_ns = settings.chunkserver_wait_max_ns + quick
    return (
        ContextStep(
            StepSpec("close-gate", quick, on_failure=report, undo=UndoScope.ALWAYS, has_check=True),
            close_early,
            undo_early,
            checks=gate_is_closed,
        ),
        ContextStep(
            StepSpec("take-address", _TAKE_ADDRESS_TIMEOUT_NS, undo=UndoScope.STOPS_SERVING, commits=True),
            take_address,
            give_address,
        ),
        ContextStep(StepSpec("admit-servers", quick, on_failure=report), admit_servers),
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
