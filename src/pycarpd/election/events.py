"""What can happen to an Elector. Every event is a fact; none says what to do about it."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from pycarpd.election.model import Advert, Freshness, Persistent, PlainAdvert


class OperatorCommand(Enum):
    """What a human may ask of the election."""

    RESIGN = "resign"
    PAUSE = "pause"
    RESUME = "resume"


class AdvertHeard(NamedTuple):
    """An authenticated, fresh advert of a member; ``is_proven`` once the sender has echoed our nonce.

    ``received_ns`` is the kernel's receive time: a queued advert must not look younger than it is.
    """

    advert: Advert
    source: bytes
    is_proven: bool
    received_ns: int


@dataclass(frozen=True, slots=True)
class PlainAdvertHeard:
    """An authenticated CARP advert without a trailer: a ucarp host claims the virtual address."""

    advert: PlainAdvert
    source: bytes
    received_ns: int


@dataclass(frozen=True, slots=True)
class TimeAdvanced:
    """The process woke for its deadline, ``late_ns`` after it; the receive queue has been drained before."""

    late_ns: int = 0


@dataclass(frozen=True, slots=True)
class AdvertsLost:
    """The receive queue was full, and something that came since the last round was dropped unheard."""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The interface went up or down."""

    is_up: bool


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker process is there; ``mfsmaster_serves`` and ``vip_is_held`` are what it found running."""

    mfsmaster_serves: bool
    vip_is_held: bool


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker process is gone; nobody can start or stop mfsmaster until it is back."""


@dataclass(frozen=True, slots=True)
class StatePersisted:
    """The state is on disk, fsynced."""

    persistent: Persistent


@dataclass(frozen=True, slots=True)
class AddressWanted:
    """The promotion keeps everybody away from mfsmaster's ports: the address may come before mfsmaster answers."""

    term: int


@dataclass(frozen=True, slots=True)
class PromotionReady:
    """mfsmaster answers with the expected version (0: not told) and metaid; only the virtual address is missing."""

    term: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class PromotionFinished:
    """The promotion's plan has ended; not ``is_ok`` means that all of it was undone."""

    term: int
    is_ok: bool


@dataclass(frozen=True, slots=True)
class DemotionFinished:
    """No mfsmaster runs on this host any more; not ``is_ok``: it could not be made sure of, so nobody is told so."""

    term: int
    is_ok: bool = True


@dataclass(frozen=True, slots=True)
class StandbyMade:
    """The DEMOTE plan that was to make this host a standby of the term's master is over, to its last step.

    Not ``is_ok``: files of an older master may still be in the way, and the plan has to be tried again.
    ``has_archived``: all files were put away, so that what lies here from now on is the master's.
    """

    term: int
    is_ok: bool
    has_archived: bool = False


@dataclass(frozen=True, slots=True)
class TermGranted:
    """The arbiter has given this node the term, or prolonged it: nobody else may serve before ``until_ns``.

    ``wish`` is the number of the asking that it answers.
    """

    wish: int
    term: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class TermLost:
    """The arbiter has given somebody else a newer term than the one that this wish was given."""

    wish: int


@dataclass(frozen=True, slots=True)
class MfsmasterLost:
    """The mfsmaster of a serving node died or hangs; ``may_restart`` if it has not just been restarted."""

    may_restart: bool


@dataclass(frozen=True, slots=True)
class FreshnessKnown:
    """What this host's own files prove; ``why_not`` is empty when the host could be promoted from them.

    Not ``has_files``: there are none at all. ``is_settled``: no metalogger runs that could have more in its buffer.
    """

    freshness: Freshness | None
    why_not: str
    has_files: bool = True
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class NameClaimed:
    """An authenticated, fresh advert came with this node's own id from another process."""


@dataclass(frozen=True, slots=True)
class VipClaimed:
    """Another hardware address claimed the virtual address on the link."""


@dataclass(frozen=True, slots=True)
class SendingFailed:
    """Three adverts in a row could not be sent (ucarp counts three as well), or sending works again."""

    is_failing: bool


@dataclass(frozen=True, slots=True)
class Commanded:
    """An operator's command."""

    command: OperatorCommand


@dataclass(frozen=True, slots=True)
class SwitchoverAsked:
    """An operator asks this master to hand over to that node, 0: to the best one."""

    target_id: int = 0


@dataclass(frozen=True, slots=True)
class ClientsHeld:
    """Clients are held at the gate, and mfsmaster stands still at that version."""

    term: int
    version: int


@dataclass(frozen=True, slots=True)
class HandoverConfirmed:
    """mfsmaster still stands where it stood when ClientsHeld was said, with the gate closed."""

    term: int


@dataclass(frozen=True, slots=True)
class FilesLevel:
    """The metalogger is stopped and this host's files prove that version."""

    term: int
    version: int


@dataclass(frozen=True, slots=True)
class HandoverFailed:
    """This host's part in the handover of that term came to nothing, and is undone."""

    term: int
    detail: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """pycarpd is to end. ``keep_serving``: it will be back in a moment, mfsmaster and the address stay."""

    keep_serving: bool = False


Event = (
    AdvertHeard
    | PlainAdvertHeard
    | TimeAdvanced
    | AdvertsLost
    | LinkChanged
    | WorkerReady
    | WorkerLost
    | StatePersisted
    | AddressWanted
    | PromotionReady
    | PromotionFinished
    | DemotionFinished
    | StandbyMade
    | TermGranted
    | TermLost
    | MfsmasterLost
    | FreshnessKnown
    | NameClaimed
    | VipClaimed
    | SendingFailed
    | Commanded
    | SwitchoverAsked
    | ClientsHeld
    | HandoverConfirmed
    | FilesLevel
    | HandoverFailed
    | StopRequested
)
