"""What a PROMOTE plan does otherwise when it is begun on suspicion: see election/speculation.py.

Nobody may reach mfsmaster, so a gate that cannot be closed ends the plan, and the address is not asked for. When
mfsmaster answers, the plan waits for the term; then everything that it relies on is looked at once more.
"""

import threading

from pycarpd.takeover import actions
from pycarpd.takeover.actions import ContextStep
from pycarpd.takeover.context import NS_PER_S, Context
from pycarpd.takeover.early import close_early
from pycarpd.takeover.liveness import prove_live
from pycarpd.takeover.step import StepFault, StepSpec

AWAIT_TERM = "await-term"
TERM_WITHIN_S = 9.0
"""Longer than the election keeps up what it has begun (speculation.LONGEST_NS)."""


def shut_out(context: Context, cancel: threading.Event) -> StepFault | None:
    """Keep everybody out; without a gate nothing is begun on suspicion."""
    if not context.gates:
        return StepFault("NO_GATE", "there is no virtual address to close a gate for")
    return close_early(context, cancel)


def await_term(context: Context, cancel: threading.Event) -> StepFault | None:
    """Tell what is ready, wait for the term, and look once more."""
    chain, parley = context.chain, context.parley
    if chain is None or parley is None:
        return StepFault("NOT_ASSEMBLED", "there is no proved chain, or nobody to wait for")
    parley.told(chain.version)
    fault = parley.await_word(TERM_WITHIN_S, cancel)
    if fault is not None:
        return StepFault(fault.code, "no term was won for what was loaded on suspicion")
    if context.metalogger.is_running():
        return StepFault("METALOGGER_RAN", "a metalogger has run since the files were proved")
    if chain.version < context.request.minimum_version:
        detail = f"version {chain.version} was loaded, {context.request.minimum_version} was promised"
        return StepFault("STALE", detail)
    fault = prove_live(context, cancel)
    if fault is None:
        parley.confirmed()
    return fault


def await_step() -> ContextStep:
    """Return the step."""
    wait_ns = round(TERM_WITHIN_S * NS_PER_S) + actions.QUICK_TIMEOUT_NS
    return ContextStep(StepSpec(AWAIT_TERM, wait_ns), await_term)
