"""Starting mfsmaster within a time that its metadata explains, and proving what the live one serves.

Exit status 0 of a start proves nothing (S7): the running mfsmaster is asked for its version and metaid. Its version may
be beyond the proved one only by changes that it makes of itself, on its timers, and those stand in its own changelog.
"""

import threading
from pathlib import Path

from pycarpd.moosefs.chain import Chain
from pycarpd.moosefs.faults import ServiceFault
from pycarpd.moosefs.probe import LiveMaster, ProbeFault, probe
from pycarpd.takeover.actions import to_seconds
from pycarpd.takeover.context import NS_PER_S, Context
from pycarpd.takeover.step import StepFault

SELF_MADE = frozenset(
    (
        b"EMPTYTRASH",
        b"EMPTYSUSTAINED",
        b"EMPTYRESERVED",
        b"FREEINODES",
        b"IDLE",
        b"SESDEL",
        b"SESDISCONNECTED",
        b"RELEASE",
        b"RENUMERATEEDGES",
        b"QUOTA",
        b"CHUNKDEL",
    )
)
"""Changes that mfsmaster makes without being asked by anybody (MooseFS 1.6 to 4.59)."""
SELF_MADE_MAX = 1000
_PROBE_TIMEOUT_S = 5.0
_READ_BYTES = 1024 * 1024
_LOG_WAIT_S = 0.05
_LOG_LOOKS = 40
"""mfsmaster writes its changelog through a process of its own: two seconds for what it has applied already."""
_START_BASE_S = 60
_LOADED_BYTES_PER_S = 2_000_000
"""A thirtieth of what was measured (67 MB in a second): a slow disk and a busy host are no reason to give up."""


def start_timeout_ns(chain: Chain | None, upper_bound_ns: int) -> int:
    """Return how long loading that chain may take: a minute and what its size explains, at most the configured time."""
    if chain is None:
        return upper_bound_ns
    try:
        size = chain.base.stat().st_size
    except OSError:
        return upper_bound_ns
    size += sum(piece.end_offset - piece.offset for piece in chain.tail)
    return min(upper_bound_ns, (_START_BASE_S + size // _LOADED_BYTES_PER_S) * NS_PER_S)


def start_mfsmaster(context: Context, cancel: threading.Event) -> StepFault | None:
    """Start mfsmaster on the installed files."""
    timeout_ns = context.start_timeout_ns or context.settings.start_timeout_ns
    started = context.mfsmaster.start(to_seconds(timeout_ns), cancel)
    if isinstance(started, ServiceFault):
        return StepFault(started.code.value, started.detail)
    context.mfsmaster_pid = started.pid
    return None


def prove_live(context: Context, cancel: threading.Event) -> StepFault | None:
    """Ask the running mfsmaster for its version and metaid, and account for every change beyond the proved version."""
    settings, chain = context.settings, context.chain
    if chain is None:
        return StepFault("NOT_ASSEMBLED", "there is no proved chain to compare with")
    live = probe(settings.probe_host, settings.ports.clients, _PROBE_TIMEOUT_S)
    if isinstance(live, ProbeFault):
        return StepFault("PROBE_FAILED", f"{live.code.value}: {live.detail}")
    if live.metaid != chain.metaid:
        return StepFault("WRONG_METAID", f"metaid {live.metaid:#x} is served, expected {chain.metaid:#x}")
    if live.version == chain.version or (live.version > chain.version and context.request.is_address_held):
        return None
    return _account_for(live, chain.version, settings.data_path, cancel)


def _account_for(live: LiveMaster, expected: int, data_path: Path, cancel: threading.Event) -> StepFault | None:
    beyond = live.version - expected
    wrong = StepFault("WRONG_VERSION", f"version {live.version} is served, expected {expected}")
    if not 0 < beyond <= SELF_MADE_MAX:
        return wrong
    for _ in range(_LOG_LOOKS):
        found = _changes(data_path, expected, live.version)
        if len(found) == beyond:
            strange = sorted(set(found.values()) - SELF_MADE)
            names = ", ".join(name.decode(errors="replace") for name in strange)
            return StepFault("WRONG_VERSION", f"{wrong.detail}: beyond it there is {names}") if strange else None
        if cancel.wait(_LOG_WAIT_S):
            break
    return wrong


def _changes(data_path: Path, first: int, end: int) -> dict[int, bytes]:
    """Return the operations numbered *first* up to *end* in mfsmaster's newest changelogs, by number."""
    found: dict[int, bytes] = {}
    for name in ("changelog.0.mfs", "changelog.1.mfs"):
        for line in _last_lines(data_path / name):
            digits, _, rest = line.partition(b": ")
            if digits.isdigit() and first <= int(digits) < end:
                found[int(digits)] = rest.partition(b"|")[2].partition(b"(")[0]
    return found


def _last_lines(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - _READ_BYTES))
            return log.read(_READ_BYTES).splitlines(keepends=True)
    except OSError:
        # Not there (yet): the caller looks again and then says which changes it could not account for.
        return []
