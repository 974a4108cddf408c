"""What a takeover is made of: steps with a check, a run, an undo and a bound in time, in a fixed order.

A Step promises four things, and the Runner relies on each of them:

* ``run`` either does its work or returns a StepFault having done none of it *or* only what ``undo`` takes
  back;
* ``undo`` is idempotent and works from what is on disk alone, because after a crash another process calls it;
* both return within the step's own bounds once ``cancel`` is set;
* a step that ``commits`` and returns a StepFault has certainly not had its effect.

Pure: this module and the Runner touch no file, clock or thread, so that a simulator can drive them.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from pycarpd.invariant import invariant

CANCEL_GRACE_NS = 5_000_000_000
"""How long a cancelled step may take to come back before it is reported as stuck."""

STEPS_MAX = 64
"""More steps than this in one plan is a bug, and so is a journal that names more."""

ContextT = TypeVar("ContextT")
ContextIn_contra = TypeVar("ContextIn_contra", contravariant=True)


class OnFailure(Enum):
    """What a failing step means: end the plan and undo it, or go on and say so."""

    ABORT = "abort"
    REPORT = "report"


class Verb(Enum):
    """What the Runner asks of a step."""

    CHECK = "check"
    RUN = "run"
    UNDO = "undo"


class UndoScope(Enum):
    """When a step is undone.

    A plan commits when clients may have been served: from then on its files are the file system's history
    and going back to the older ones would lose acknowledged writes.
    """

    BEFORE_COMMIT = "before-commit"
    """Only while no client can have been served: files, the metalogger."""
    STOPS_SERVING = "stops-serving"
    """On any failure, but not by recovery after the commit: a running mfsmaster may then be adopted."""
    ALWAYS = "always"
    """On any failure and by any recovery: what must not be left behind, such as a closed client gate."""


@dataclass(frozen=True, slots=True)
class StepFault:
    """Why a step failed: a stable code, and a sentence for the operator."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class StepSpec:
    """What the Runner knows of a step. Times in nanoseconds."""

    name: str
    timeout_ns: int
    on_failure: OnFailure = OnFailure.ABORT
    undo: UndoScope = UndoScope.BEFORE_COMMIT
    undo_timeout_ns: int = 60_000_000_000
    has_check: bool = False
    commits: bool = False


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """A plan as the Runner sees it: a name and the steps in their order, each name once."""

    name: str
    steps: tuple[StepSpec, ...]

    def __post_init__(self) -> None:
        names = {step.name for step in self.steps}
        invariant(len(names) == len(self.steps), "a plan names each step once")
        invariant(0 < len(self.steps) <= STEPS_MAX, "a plan has between one and STEPS_MAX steps")
        invariant(sum(step.commits for step in self.steps) <= 1, "a plan commits at most once")


class Step(Protocol[ContextIn_contra]):
    """One step of a plan; see the module's text for what it promises."""

    @property
    def spec(self) -> StepSpec:
        """Return what the Runner needs to know."""

    def is_done(self, context: ContextIn_contra) -> bool:
        """Tell whether there is nothing to do; asked only when the spec says ``has_check``."""

    def run(self, context: ContextIn_contra, cancel: threading.Event) -> StepFault | None:
        """Do the work; None is success."""

    def undo(self, context: ContextIn_contra) -> StepFault | None:
        """Take the work back, whole or part, however often asked; None is success."""


@dataclass(frozen=True, slots=True)
class Plan(Generic[ContextT]):
    """Steps to be executed in order on one context.

    ``parameters`` go into the journal: with them a recovering process builds the same plan again.
    """

    name: str
    plan_id: str
    parameters: tuple[tuple[str, str], ...]
    steps: tuple[Step[ContextT], ...]

    @property
    def spec(self) -> PlanSpec:
        """Return the plan as the Runner sees it."""
        return PlanSpec(self.name, tuple(step.spec for step in self.steps))

    def by_name(self) -> Mapping[str, Step[ContextT]]:
        """Return the steps by their names."""
        return {step.spec.name: step for step in self.steps}
