"""PROMOTE and DEMOTE as the real Runner sees them, with steps that work on a simulated host.

The names, their order and what their failure means are those of the takeover room; a test compares the two.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from pycarpd.sim.agenda import NS_PER_MS
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.host import Host, PlanFate
from pycarpd.takeover.step import OnFailure, PlanSpec, StepFault, StepSpec, UndoScope, Verb

PROMOTE = "promote"
DEMOTE = "demote"
HOLD = "hold"
LEVEL = "level"
AWAIT_SUCCESSOR = "await-successor"
AWAIT_TERM = "await-term"
WAITS_NS = {
    AWAIT_SUCCESSOR: 4_000 * NS_PER_MS,
    "await-promotion": 8_000 * NS_PER_MS,
    AWAIT_TERM: 9_000 * NS_PER_MS,
}
"""The steps that wait for the election's word, and for how long."""
GATE_NS = 10_000 * NS_PER_MS
EARLY = "early-address"
TAKE_ADDRESS = "take-address"
KILL = "kill-mfsmaster"
PROVED_BEFORE = "install"
ADDRESS_TIMEOUT_NS = 4_000 * NS_PER_MS
_STOPS = UndoScope.STOPS_SERVING
_REPORT = OnFailure.REPORT

Answer = StepFault | None


@dataclass(slots=True)
class Operation:
    """One plan on one host: what it was asked for, what it has learnt, and how the heartbeat is asked."""

    host: Host
    plan: str
    label: str
    term: int
    has_successor: bool
    want_address: Callable[[], None] = field(default=lambda: None)
    release_address: Callable[[], None] = field(default=lambda: None)
    version: int = 0
    """What a half of a switchover has found."""
    is_foreign: bool = False
    is_speculative: bool = False
    """Whether the plan was begun before the term was won."""


def spec_of(operation: Operation) -> PlanSpec:
    """Return the plan's steps; their bounds are the habits' of the host."""
    timeout_ns = operation.host.habits.plan_timeout_ns
    if operation.plan == PROMOTE:
        is_speculative = operation.is_speculative
        prepare = _prepare(timeout_ns, is_speculative=is_speculative)
        return PlanSpec(PROMOTE, (*prepare, *_serve(timeout_ns, is_speculative=is_speculative), *_report(timeout_ns)))
    if operation.plan in (HOLD, LEVEL):
        return PlanSpec(operation.plan, _handover(operation.plan, timeout_ns))
    return PlanSpec(DEMOTE, _demotion(timeout_ns, has_successor=operation.has_successor))


def _prepare(timeout_ns: int, *, is_speculative: bool) -> tuple[StepSpec, ...]:
    on_failure = OnFailure.ABORT if is_speculative else _REPORT
    return (
        StepSpec("preserve", timeout_ns),
        StepSpec(EARLY, timeout_ns, on_failure=on_failure, undo=UndoScope.ALWAYS),
        StepSpec("stop-metalogger", timeout_ns),
        StepSpec("end-mfsmaster", timeout_ns, has_check=True),
        StepSpec("assemble", timeout_ns),
        StepSpec("install", timeout_ns),
    )


def _serve(timeout_ns: int, *, is_speculative: bool) -> tuple[StepSpec, ...]:
    wait = (StepSpec(AWAIT_TERM, WAITS_NS[AWAIT_TERM] + timeout_ns),) if is_speculative else ()
    return (
        StepSpec("start-mfsmaster", timeout_ns, undo=_STOPS),
        StepSpec("probe", timeout_ns),
        *wait,
        StepSpec("close-gate", timeout_ns, on_failure=_REPORT, undo=UndoScope.ALWAYS, has_check=True),
        StepSpec(TAKE_ADDRESS, ADDRESS_TIMEOUT_NS + timeout_ns, undo=_STOPS, commits=True),
        StepSpec("admit-servers", timeout_ns, on_failure=_REPORT),
        StepSpec("wake-servers", timeout_ns, on_failure=_REPORT),
        StepSpec("await-chunkservers", timeout_ns, on_failure=_REPORT),
        StepSpec("release-locks", timeout_ns, on_failure=_REPORT),
        StepSpec("open-gate", timeout_ns, on_failure=_REPORT),
        StepSpec("wake-clients", timeout_ns, on_failure=_REPORT),
    )


def _report(timeout_ns: int) -> tuple[StepSpec, ...]:
    names = ("start-metalogger", "start-companions", "prune")
    return tuple(StepSpec(name, timeout_ns, on_failure=_REPORT) for name in names)


def _demotion(timeout_ns: int, *, has_successor: bool) -> tuple[StepSpec, ...]:
    archiving = (
        StepSpec("stop-metalogger", timeout_ns, has_check=True),
        StepSpec("archive-files", timeout_ns, has_check=True),
        StepSpec("close-archive", timeout_ns, commits=True),
        StepSpec("list-lost", timeout_ns, on_failure=_REPORT),
    )
    return (
        StepSpec(KILL, timeout_ns, has_check=True),
        StepSpec("remove-gate", timeout_ns, on_failure=_REPORT),
        StepSpec("stop-companions", timeout_ns, on_failure=_REPORT),
        *(archiving if has_successor else ()),
        StepSpec("start-metalogger", timeout_ns, on_failure=_REPORT, has_check=True),
        StepSpec("prune", timeout_ns, on_failure=_REPORT),
    )


def _handover(plan: str, timeout_ns: int) -> tuple[StepSpec, ...]:
    if plan == HOLD:
        return (
            StepSpec("hold-clients", timeout_ns, undo=UndoScope.ALWAYS),
            StepSpec("settle", timeout_ns),
            StepSpec(AWAIT_SUCCESSOR, WAITS_NS[AWAIT_SUCCESSOR] + timeout_ns),
        )
    return (
        StepSpec("stop-metalogger", timeout_ns),
        StepSpec("prove-level", timeout_ns),
        StepSpec("await-promotion", WAITS_NS["await-promotion"] + timeout_ns),
    )


def duration_ns(operation: Operation, step: str, verb: Verb) -> int:
    """Return how long the step takes on this host."""
    habits = operation.host.habits
    if verb is Verb.CHECK:
        return 0
    if verb is Verb.UNDO:
        return habits.undo_ns if step == "start-mfsmaster" else 0
    return {
        "start-mfsmaster": habits.promotion_ns,
        "await-chunkservers": habits.completion_ns,
        "settle": habits.completion_ns // 2,
        "end-mfsmaster": habits.demotion_ns,
        KILL: habits.demotion_ns,
    }.get(step, 0)


def is_done(operation: Operation, step: str) -> bool:
    """Answer a step's check."""
    host = operation.host
    match step:
        case "end-mfsmaster" | "kill-mfsmaster":
            return not host.has_mfsmaster
        case "stop-metalogger" | "archive-files":
            return host.data.own is None and not operation.is_foreign
        case "close-gate":
            return host.are_all_kept_out
        case _:
            return host.has_metalogger


def file_writes(operation: Operation, step: str) -> tuple[Callable[[], None], ...]:
    """Return what the step does to the files in the way, one write after the other: power may be lost at each."""
    data = operation.host.data
    match step:
        case "install":
            if data.preserved_for != operation.label:
                raise CheckFailedError("S8: files are displaced that were not preserved")
            return (lambda: data.displace(operation.label), data.place)
        case "archive-files":
            return (lambda: data.displace(operation.label),)
        case _:
            return ()


def run(operation: Operation, step: str) -> Answer:
    """Let the step have its effect, but for its file_writes(), which come first."""
    host = operation.host
    if host.fateful_step == step and host.fate is PlanFate.FAILS:
        return StepFault("BROKEN", "as the seed wants it")
    work = WORK.get(step)
    return work(operation) if work is not None else None


def _preserve(operation: Operation) -> Answer:
    data = operation.host.data
    data.preserved, data.preserved_for = data.best, operation.label
    return None


def _metalogger(operation: Operation, *, runs: bool) -> Answer:
    operation.host.has_metalogger = runs
    return None


def _gate(operation: Operation, *, is_closed: bool) -> Answer:
    operation.host.gate_until_ns = operation.host.now_ns + GATE_NS if is_closed else 0
    operation.host.are_all_kept_out = False
    return None


def _admit(operation: Operation) -> Answer:
    operation.host.are_all_kept_out = False
    return None


def _keep_out(operation: Operation) -> Answer:
    host = operation.host
    host.are_all_kept_out = True
    host.gate_until_ns = host.now_ns + GATE_NS + host.habits.plan_timeout_ns
    return None


def _early(operation: Operation) -> Answer:
    _keep_out(operation)
    if not operation.is_speculative:
        operation.want_address()
    return None


def _end_mfsmaster(operation: Operation) -> Answer:
    host = operation.host
    host.has_mfsmaster = host.is_hung = False
    return None


def _assemble(operation: Operation) -> Answer:
    host = operation.host
    best = host.data.best
    if best is None or host.refusal:
        return StepFault("NOT_PROVED", host.refusal)
    host.data.staging = replace(best, is_whole=best.is_whole and not host.why_not)
    host.expected_version = best.version
    return None


def _start(operation: Operation) -> Answer:
    host = operation.host
    if host.data.own is None:
        return StepFault("NO_FILES", "nothing is installed")
    if host.is_reachable and not host.are_all_kept_out:
        raise CheckFailedError("S7: a mfsmaster is started where clients reach it before it was probed")
    host.has_mfsmaster, host.is_hung = True, False
    host.starts += 1
    host.serving_term = operation.term
    if host.fate is PlanFate.STARTS_OTHER_FILES:
        host.expected_version += 1
    return None


def _probe(operation: Operation) -> Answer:
    host = operation.host
    if not host.has_mfsmaster or host.is_hung or host.data.own is None:
        return StepFault("PROBE_FAILED", "nobody answers")
    if host.data.own.version != host.expected_version:
        return StepFault("WRONG_VERSION", f"{host.data.own.version} is served, expected {host.expected_version}")
    return None


def _settle(operation: Operation) -> Answer:
    host = operation.host
    if not host.has_mfsmaster or host.is_hung or host.data.own is None:
        return StepFault("PROBE_FAILED", "nobody answers")
    operation.version = host.data.own.version
    return None


def _prove_level(operation: Operation) -> Answer:
    host = operation.host
    best = host.data.best
    if best is None or host.refusal:
        return StepFault("NOT_PROVED", host.refusal)
    operation.version = best.version
    return None


def look_again(operation: Operation, step: str) -> Answer:
    """Let a step that has waited for the election's word end: mfsmaster has to be where it was."""
    host = operation.host
    if step == AWAIT_TERM:
        return StepFault("METALOGGER_RAN", "files have come meanwhile") if host.has_metalogger else _probe(operation)
    if step != AWAIT_SUCCESSOR:
        return None
    is_there = host.has_mfsmaster and not host.is_hung and host.data.own is not None
    is_same = is_there and host.data.own is not None and host.data.own.version == operation.version
    return None if is_same else StepFault("MOVED_ON", "mfsmaster is not where it was")


WORK: dict[str, Callable[[Operation], Answer]] = {
    "preserve": _preserve,
    EARLY: _early,
    "stop-metalogger": partial(_metalogger, runs=False),
    "end-mfsmaster": _end_mfsmaster,
    "assemble": _assemble,
    "start-mfsmaster": _start,
    "probe": _probe,
    "close-gate": _keep_out,
    "hold-clients": partial(_gate, is_closed=True),
    "settle": _settle,
    "prove-level": _prove_level,
    "admit-servers": _admit,
    "open-gate": partial(_gate, is_closed=False),
    KILL: _end_mfsmaster,
    "remove-gate": partial(_gate, is_closed=False),
    "start-metalogger": partial(_metalogger, runs=True),
}
"""What the steps do to a host; one that is not here only takes its time."""


def undo(operation: Operation, step: str) -> Answer:
    """Take the step back from what is on the host alone, as another process may have to."""
    host = operation.host
    if host.fate is PlanFate.CANNOT_BE_UNDONE:
        return StepFault("STUCK", "as the seed wants it")
    match step:
        case "stop-metalogger":
            host.has_metalogger = True
        case "assemble":
            host.data.staging = None
        case "install" | "archive-files":
            host.data.take_back(operation.label)
        case "start-mfsmaster":
            host.has_mfsmaster = host.is_hung = False
        case "take-address":
            operation.release_address()
        case "early-address" | "close-gate" | "hold-clients":
            host.are_all_kept_out = False
            host.gate_until_ns = 0
    return None
