"""What the processes of the daemon say to each other. Every message that concerns a claim carries its term.

``ToHeartbeat`` and ``ToWorker`` travel on the SOCK_SEQPACKET pair between heartbeat and worker, ``FromSupervisor``
and ``ToSupervisor`` on the pair that each of them shares with the supervisor. Whoever reads end-of-file there knows
that the other process is gone.
"""

from dataclasses import dataclass

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Cause, Freshness, PeerConnection, Persistent, Role


@dataclass(frozen=True, slots=True)
class WorkerHello:
    """The worker is ready; tells whether it found a mfsmaster that answers."""

    mfsmaster_serves: bool


@dataclass(frozen=True, slots=True)
class Persisted:
    """The state is on disk."""

    persistent: Persistent


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """mfsmaster answers with the expected version in that term and asks for the address."""

    term: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class EarlyAddress:
    """The plan of that term keeps everybody out and would have the address before mfsmaster answers."""

    term: int


@dataclass(frozen=True, slots=True)
class PlanEnded:
    """The PROMOTE plan (or, not ``is_promotion``, the DEMOTE plan) of the term is over."""

    term: int
    is_promotion: bool
    is_ok: bool


@dataclass(frozen=True, slots=True)
class StandbyNews:
    """The DEMOTE plan beside the term's master is over to its last step; ``has_archived`` what was in the way."""

    term: int
    is_ok: bool
    has_archived: bool


@dataclass(frozen=True, slots=True)
class MfsmasterGone:
    """The mfsmaster of this serving node died or hangs."""

    may_restart: bool


@dataclass(frozen=True, slots=True)
class FreshnessNews:
    """What this host's files prove now, and the digest of its mfsexports.cfg, 0 where it is not known.

    ``has_files``: there are some, whatever they prove. ``is_settled``: no metalogger could have more in its buffer.
    """

    freshness: Freshness | None
    why_not: str
    exports_digest: int = 0
    has_files: bool = False
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionsNews:
    """Who is connected to this host's mfsmaster."""

    connections: tuple[PeerConnection, ...]


@dataclass(frozen=True, slots=True)
class OperatorNews:
    """An operator's command, by its word."""

    command: str


HandoverReport = ev.SwitchoverAsked | ev.ClientsHeld | ev.HandoverConfirmed | ev.FilesLevel | ev.HandoverFailed
"""What the worker says of a switchover is what the election hears."""

ArbiterReport = ev.TermGranted | ev.TermLost
"""What the worker says of an arbiter outside the cluster is what the election hears."""

ToHeartbeat = (
    HandoverReport
    | ArbiterReport
    | WorkerHello
    | Persisted
    | EarlyAddress
    | AttachRequest
    | PlanEnded
    | StandbyNews
    | MfsmasterGone
    | FreshnessNews
    | ConnectionsNews
    | OperatorNews
)


@dataclass(frozen=True, slots=True)
class PersistRequest:
    """Write and fsync this."""

    persistent: Persistent


@dataclass(frozen=True, slots=True)
class PeerNews:
    """One other member, as the heartbeat last heard it; ages in ms, None for never."""

    name: str
    address: str
    role: Role | None
    term: int
    priority: int
    demotion: int
    is_witness: bool
    is_promotable: bool
    is_paused: bool
    is_proven: bool
    hears_me: bool
    heard_ms: int | None
    freshness: Freshness | None
    has_same_config: bool
    has_same_exports: bool = True
    has_files: bool = False
    patience_ms: int = 0
    """For how much longer than others it may be silent."""


@dataclass(frozen=True, slots=True)
class PromoteRequest:
    """Run the PROMOTE plan; ``connections`` are the old master's, as its adverts named them.

    ``minimum_version`` is what this node's adverts have told the voters; ``is_address_held``: the address is here.
    ``peers`` are the other members as heard up to this moment, by which it is judged who has to be fenced; None where
    the site has no fence command.
    """

    term: int
    connections: tuple[PeerConnection, ...]
    minimum_version: int = 0
    is_address_held: bool = False
    inherits: bool = False
    peers: tuple[PeerNews, ...] | None = None


@dataclass(frozen=True, slots=True)
class AbortRequest:
    """End the PROMOTE plan of the term and undo it."""

    term: int


@dataclass(frozen=True, slots=True)
class DemoteRequest:
    """Run the DEMOTE plan; ``successor`` is the name of the node that serves now, empty if unknown.

    ``is_foreign``: the metalogger's files are to be archived too. ``successor_version`` is where the successor's
    history left this host's, ``master_version`` what it serves, as its adverts tell.
    """

    term: int
    successor: str
    is_foreign: bool = False
    successor_version: int | None = None
    master_version: int | None = None


@dataclass(frozen=True, slots=True)
class PreserveRequest:
    """Keep the metadata files as they are now."""

    term: int


@dataclass(frozen=True, slots=True)
class AttachAnswer:
    """The address is here (or, not ``is_attached``, the node may not have it any more)."""

    term: int
    is_attached: bool


@dataclass(frozen=True, slots=True)
class TransitionNews:
    """The role changed."""

    was: Role
    role: Role
    cause: Cause
    term: int
    master: str


@dataclass(frozen=True, slots=True)
class LogNews:
    """A line for the log; ``level`` as in the logging module."""

    level: int
    text: str


QUEUE_OVERFLOW, SEND_FAILURES, LATENESS_SUM_US = "queue_overflow", "send_failures", "lateness_sum_us"


@dataclass(frozen=True, slots=True)
class StatusNews:
    """What the heartbeat knows of the election at one moment.

    ``counters`` holds, by name, those of the verdicts on datagrams, and the three named above.
    """

    role: Role
    term: int
    served_term: int
    master: str
    vip_held: bool
    fence_open: bool | None
    lease_remaining_ms: int
    demotion: int
    is_paused: bool
    can_split: bool
    live_members: int
    faults: tuple[str, ...]
    freshness: Freshness | None
    why_not: str
    peers: tuple[PeerNews, ...]
    degradations: tuple[tuple[str, str, str], ...]
    counters: tuple[tuple[str, int], ...]
    lateness_us: tuple[int, ...]
    adverts_sent: int
    messages_dropped: int


@dataclass(frozen=True, slots=True)
class SwitchoverNews:
    """The role is given away to that node (``code`` empty), or it is not: ``code`` and ``detail`` say why."""

    code: str
    detail: str
    successor: str


HandoverWish = fx.HoldClients | fx.ConfirmHandover | fx.LevelFiles | fx.EndHandover
"""What the election wants done for a switchover is what the worker hears."""

SpeculationWish = fx.Speculate | fx.CancelSpeculation
"""What the election wants done beforehand is what the worker hears."""

ArbiterWish = fx.AskArbiter | fx.ReleaseTerm
"""What the election wants of an arbiter outside the cluster is what the worker hears."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The heartbeat ends on purpose; whatever mfsmaster is to do has been said before."""


ToWorker = (
    HandoverWish
    | SpeculationWish
    | ArbiterWish
    | SwitchoverNews
    | PersistRequest
    | PromoteRequest
    | AbortRequest
    | DemoteRequest
    | PreserveRequest
    | AttachAnswer
    | TransitionNews
    | LogNews
    | StatusNews
    | Goodbye
)


@dataclass(frozen=True, slots=True)
class SettingsNews:
    """The settings, at the start and after a reload, as DaemonSettings.to_json() wrote them."""

    text: str


@dataclass(frozen=True, slots=True)
class StopOrder:
    """End; with ``keep_serving`` mfsmaster and address stay for the daemon that follows."""

    keep_serving: bool


@dataclass(frozen=True, slots=True)
class ReadyNews:
    """The process has started and does its work."""


FromSupervisor = SettingsNews | StopOrder
ToSupervisor = ReadyNews
Message = ToHeartbeat | ToWorker | FromSupervisor | ToSupervisor
