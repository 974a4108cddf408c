"""What an Elector wants done. Effects are carried out in the order in which they are returned."""

from dataclasses import dataclass

from pycarpd.election.model import Advert, Cause, Persistent, Role


@dataclass(frozen=True, slots=True)
class Persist:
    """Write and fsync the state, then report it with StatePersisted."""

    persistent: Persistent


@dataclass(frozen=True, slots=True)
class Send:
    """Send the advert now."""

    advert: Advert


@dataclass(frozen=True, slots=True)
class AttachVip:
    """Put the virtual address on the interface and announce it; the lease it is put for ends at ``until_ns``."""

    term: int
    until_ns: int = 0


@dataclass(frozen=True, slots=True)
class DetachVip:
    """Take the virtual address off the interface, before anything slow."""


@dataclass(frozen=True, slots=True)
class RenewLease:
    """The node may serve until then; whatever the kernel enforces is to be prolonged accordingly."""

    until_ns: int


@dataclass(frozen=True, slots=True)
class AnnounceVip:
    """Tell the link again who owns the virtual address, at once or after so long, if the address is here still."""

    after_ns: int = 0


@dataclass(frozen=True, slots=True)
class StartPromotion:
    """Run the PROMOTE plan for the term; ``inherits``: the old master has handed over, with nothing left unanswered."""

    term: int
    inherits: bool = False


@dataclass(frozen=True, slots=True)
class AbortPromotion:
    """Stop the PROMOTE plan and undo it; reported with PromotionFinished."""

    term: int


@dataclass(frozen=True, slots=True)
class StartDemotion:
    """Run the DEMOTE plan: make this host a standby. ``successor`` is the node that serves now, 0 if unknown.

    ``is_foreign``: the metalogger's files hold, or may hold, changes that the successor never had.
    """

    term: int
    successor: int
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class PreserveFiles:
    """Keep this host's metadata files as they are at this moment: the master is lost."""

    term: int


@dataclass(frozen=True, slots=True)
class Speculate:
    """Begin the PROMOTE plan, as far as it concerns this host alone; the master is overdue. See speculation.py."""

    term: int


@dataclass(frozen=True, slots=True)
class CancelSpeculation:
    """Undo what Speculate has begun: the master was heard again, or another is elected."""

    term: int


@dataclass(frozen=True, slots=True)
class Transition:
    """The role changed."""

    was: Role
    role: Role
    cause: Cause
    term: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class HoldClients:
    """Close the gate before the clients and measure where mfsmaster stands; reported with ClientsHeld.

    What does not go on within its bounds is undone by itself, and reported with HandoverFailed.
    """

    term: int


@dataclass(frozen=True, slots=True)
class ConfirmHandover:
    """See that mfsmaster still is at that version, and keep the gate closed; reported with HandoverConfirmed."""

    term: int
    version: int


@dataclass(frozen=True, slots=True)
class LevelFiles:
    """Stop the metalogger and say what the files prove (FilesLevel); it stays stopped until a promotion begins."""

    term: int


@dataclass(frozen=True, slots=True)
class EndHandover:
    """Undo what HoldClients or LevelFiles have begun: open the gate, start the metalogger."""

    term: int


@dataclass(frozen=True, slots=True)
class SwitchoverEnded:
    """The role is given away to that node (``code`` empty), or it is not: ``code`` and ``detail`` say why."""

    code: str
    detail: str
    successor: int = 0


@dataclass(frozen=True, slots=True)
class AskArbiter:
    """Ask the arbiter for a term, ``term`` at least, until it is given or released; reported with TermGranted.

    ``wish`` is this asking's number: grants carry it, so that one for an earlier wish is not taken for the answer.
    ``is_adoption``: mfsmaster runs here already, so its metadata is newer than any standby's.
    """

    wish: int
    term: int
    is_adoption: bool


@dataclass(frozen=True, slots=True)
class ReleaseTerm:
    """Ask the arbiter no more, and give back the term that it gave; not ``is_free``: let its lease run out instead."""

    is_free: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """The election has ended here; the process may exit."""


Effect = (
    Persist
    | Send
    | AttachVip
    | DetachVip
    | RenewLease
    | AnnounceVip
    | StartPromotion
    | AbortPromotion
    | StartDemotion
    | PreserveFiles
    | Speculate
    | CancelSpeculation
    | Transition
    | HoldClients
    | ConfirmHandover
    | LevelFiles
    | EndHandover
    | SwitchoverEnded
    | AskArbiter
    | ReleaseTerm
    | Stopped
)
