"""What goes into the Runner and what comes out of it: events, commands and the outcome of a plan."""

from dataclasses import dataclass

from pycarpd.takeover.records import Record
from pycarpd.takeover.step import StepFault, Verb

ABORTED = "ABORTED"
"""The code of the fault with which a plan ends that was asked to stop."""


@dataclass(frozen=True, slots=True)
class JournalWritten:
    """The last WriteJournal is on stable storage."""


@dataclass(frozen=True, slots=True)
class JournalFailed:
    """The last WriteJournal could not be written, for example because the disk is full."""

    fault: StepFault


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer to CHECK."""

    step: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """RUN has had its effect."""

    step: str


@dataclass(frozen=True, slots=True)
class StepFailed:
    """RUN returned a fault."""

    step: str
    fault: StepFault


@dataclass(frozen=True, slots=True)
class Undone:
    """UNDO has taken the step's effect back."""

    step: str


@dataclass(frozen=True, slots=True)
class UndoFailed:
    """UNDO returned a fault."""

    step: str
    fault: StepFault


@dataclass(frozen=True, slots=True)
class AbortRequested:
    """Somebody needs the plan to end and be undone: the lease was lost, the daemon stops."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The moment of next_deadline() has come, or any other moment."""


Event = (
    JournalWritten
    | JournalFailed
    | Checked
    | StepSucceeded
    | StepFailed
    | Undone
    | UndoFailed
    | AbortRequested
    | TimePassed
)


@dataclass(frozen=True, slots=True)
class WriteJournal:
    """Append these records; they are on disk before the answer."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Execute:
    """Do this with the step."""

    step: str
    verb: Verb


@dataclass(frozen=True, slots=True)
class Cancel:
    """Tell the step in progress to come back soon."""

    step: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """The step has not come back although it was told to; the plan goes on waiting for it."""

    step: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended.

    ``undone``: everything that had to be taken back is; False with ``ok`` False means the journal is still
    open. ``committed``: clients may have been served. ``phases_ms``: each step that ran, and how long.
    """

    plan_id: str
    plan: str
    ok: bool
    failed_step: str | None = None
    fault: StepFault | None = None
    undone: bool = False
    committed: bool = False
    degraded: tuple[tuple[str, StepFault], ...] = ()
    undo_faults: tuple[tuple[str, StepFault], ...] = ()
    phases_ms: tuple[tuple[str, int], ...] = ()

    @property
    def is_called_off(self) -> bool:
        """Tell whether nothing failed: the plan was wanted no more, and everything was taken back."""
        return self.fault is not None and self.fault.code == ABORTED and self.undone and not self.undo_faults


@dataclass(frozen=True, slots=True)
class Finished:
    """The plan has ended and the Runner is free again."""

    outcome: Outcome


Command = WriteJournal | Execute | Cancel | Stuck | Finished
