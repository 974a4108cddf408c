"""HOLD and LEVEL: the two halves of a switchover, each undone unless the election says that it goes on.

HOLD runs beside a serving mfsmaster: the gate keeps its clients waiting until the version stands still, and the version
is told. Nothing is acknowledged from then on, so a successor with that version has every operation. LEVEL runs on the
successor: the metalogger is stopped, which empties its buffer, and what the files prove is told. Then both wait. HOLD
is asked at the end whether mfsmaster still is where it was, and leaves the gate closed, for the demotion that follows.
LEVEL leaves the metalogger stopped, for the promotion. Called off, or never answered, they go back to where they were.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pycarpd.linux.connections import QueuedBytes, queued_bytes
from pycarpd.moosefs.chain import ChainRefusal
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.moosefs.probe import LiveMaster, ProbeFault, probe
from pycarpd.takeover import actions
from pycarpd.takeover.actions import ContextStep
from pycarpd.takeover.context import NS_PER_S, Context
from pycarpd.takeover.following import follow_again
from pycarpd.takeover.step import Plan, StepFault, StepSpec, UndoScope

HOLD = "hold"
LEVEL = "level"

_PROBE_TIMEOUT_S = 1.0
_SETTLE_WITHIN_S = 1.5
_PATIENCE_S = 0.2
_SETTLE_TIMEOUT_NS = 4 * NS_PER_S
_POLL_S = 0.01
_UNCHANGED_MIN = 3
"""So many answers in a row with one version: each is of a later round of mfsmaster's loop, which reads every socket."""
HOLD_ANSWER_WITHIN_S = 4.0
"""Longer than the election waits, shorter than the gate stays closed by itself."""
LEVEL_ANSWER_WITHIN_S = 8.0


@dataclass(slots=True)
class Parley:
    """How a waiting step speaks with the election: ``told`` and ``confirmed`` are called in the step's thread."""

    told: Callable[[int], None]
    confirmed: Callable[[], None]
    version: int = 0
    answers: "queue.SimpleQueue[None]" = field(default_factory=queue.SimpleQueue)

    def go_on(self) -> None:
        """Let the waiting step end well; from any thread."""
        self.answers.put(None)

    def await_word(self, within_s: float, cancel: threading.Event) -> StepFault | None:
        """Wait for ``go_on``; the fault says why it did not come."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if cancel.is_set():
                return StepFault("CALLED_OFF", "the switchover was called off")
            try:
                self.answers.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            return None
        return StepFault("NO_WORD", f"nothing was heard of the switchover for {within_s:g} s")


def settle(context: Context, cancel: threading.Event) -> StepFault | None:
    """Wait until mfsmaster has answered all that it was asked before the gate was closed."""
    parley = _parley_of(context)
    began = time.monotonic()
    deadline = began + _SETTLE_WITHIN_S
    version, unchanged = 0, 0
    while time.monotonic() < deadline:
        live = _ask(context)
        if isinstance(live, ProbeFault):
            return StepFault("PROBE_FAILED", f"{live.code.value}: {live.detail}")
        is_patient = time.monotonic() < began + _PATIENCE_S
        is_still = live.version == version and _is_drained(context, is_patient=is_patient)
        unchanged = unchanged + 1 if is_still else 0
        version = live.version
        if unchanged >= _UNCHANGED_MIN:
            parley.version = version
            return None
        if cancel.wait(_POLL_S):
            return StepFault("CALLED_OFF", "the switchover was called off")
    return StepFault("NOT_SETTLED", f"its version still changes after {_SETTLE_WITHIN_S:g} s with the clients held")


def await_successor(context: Context, cancel: threading.Event) -> StepFault | None:
    """Tell the version, wait for the successor, and look once more."""
    parley = _parley_of(context)
    parley.told(parley.version)
    fault = parley.await_word(HOLD_ANSWER_WITHIN_S, cancel)
    if fault is not None:
        return fault
    live = _ask(context)
    if isinstance(live, ProbeFault):
        return StepFault("PROBE_FAILED", f"{live.code.value}: {live.detail}")
    if live.version != parley.version:
        return StepFault("MOVED_ON", f"version {live.version} is served, the successor has {parley.version}")
    parley.confirmed()
    return None


def prove_level(context: Context, _cancel: threading.Event) -> StepFault | None:
    """See what the files prove now that the metalogger has written all it had."""
    follower = context.follower or ChainFollower(context.settings.data_path, context.kept.prepared)
    chain = follower.prove(expected_metaid=context.request.expected_metaid)
    if isinstance(chain, ChainRefusal):
        return StepFault(chain.code.value, chain.text)
    context.chain = chain
    return None


def await_promotion(context: Context, cancel: threading.Event) -> StepFault | None:
    """Tell what the files prove, and wait for the promotion."""
    parley = _parley_of(context)
    if context.chain is None:
        return StepFault("NOT_PROVED", "there is no proved chain to tell of")
    parley.told(context.chain.version)
    return parley.await_word(LEVEL_ANSWER_WITHIN_S, cancel)


def hold_plan(plan_id: str, parameters: tuple[tuple[str, str], ...]) -> Plan[Context]:
    """Return the plan that holds the clients of a serving mfsmaster; *parameters* travel in the journal."""
    wait_ns = round(HOLD_ANSWER_WITHIN_S * NS_PER_S) + actions.QUICK_TIMEOUT_NS
    steps = (
        ContextStep(
            StepSpec("hold-clients", actions.QUICK_TIMEOUT_NS, undo=UndoScope.ALWAYS),
            actions.close_gates,
            actions.undo_close_gates,
        ),
        ContextStep(StepSpec("settle", _SETTLE_TIMEOUT_NS), settle),
        ContextStep(StepSpec("await-successor", wait_ns), await_successor),
    )
    return Plan(HOLD, plan_id, parameters, steps)


def level_plan(plan_id: str, parameters: tuple[tuple[str, str], ...]) -> Plan[Context]:
    """Return the plan that makes a standby's files level; *parameters* travel in the journal."""
    wait_ns = round(LEVEL_ANSWER_WITHIN_S * NS_PER_S) + actions.QUICK_TIMEOUT_NS
    steps = (
        ContextStep(
            StepSpec("stop-metalogger", actions.METALOGGER_TIMEOUT_NS),
            actions.stop_metalogger,
            follow_again,
        ),
        ContextStep(StepSpec("prove-level", actions.FILES_TIMEOUT_NS), prove_level),
        ContextStep(StepSpec("await-promotion", wait_ns), await_promotion),
    )
    return Plan(LEVEL, plan_id, parameters, steps)


def _parley_of(context: Context) -> Parley:
    if context.parley is None:
        raise RuntimeError("a switchover's plan was begun without anybody to speak with")
    return context.parley


def _ask(context: Context) -> LiveMaster | ProbeFault:
    return probe(context.settings.probe_host, context.settings.ports.clients, _PROBE_TIMEOUT_S)


def _is_drained(context: Context, *, is_patient: bool) -> bool:
    """Tell whether no client's request is unread and no metalogger lacks a change that was sent to it.

    A metalogger that is cut off is not waited for longer than a moment: perhaps it is not the successor's. Where the
    kernel does not say, the unchanged version alone has to do.
    """
    ports = context.settings.ports
    asked, streamed = queued_bytes(ports.clients), queued_bytes(ports.metaloggers)
    is_read = not isinstance(asked, QueuedBytes) or asked.unread == 0
    is_sent = not is_patient or not isinstance(streamed, QueuedBytes) or streamed.unsent == 0
    return is_read and is_sent
