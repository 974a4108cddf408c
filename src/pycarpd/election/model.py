"""The values the election speaks of: roles, causes, freshness, adverts and what must survive a restart.

They are shared by every room, so nothing here decides anything. Time is integer nanoseconds of one
node's CLOCK_BOOTTIME; durations carry their unit in the name.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag
from functools import cache
from typing import NamedTuple


class Role(IntEnum):
    """What a node is in the election. The numbers are the ones on the wire."""

    INIT = 0
    BACKUP = 1
    PROMOTING = 2
    MASTER = 3
    DEMOTING = 4
    SUSPENDED = 5
    FAULT = 6

    @property
    def claims(self) -> bool:
        """True for the roles whose adverts claim the virtual address."""
        return self in _CLAIMING


_CLAIMING = (Role.PROMOTING, Role.MASTER)
CONTENDING = (Role.MASTER, Role.PROMOTING, Role.SUSPENDED)
"""Who has a claim of its own to hold against another's."""


class Cause(Enum):
    """Why a role changed; the value is the word shown in logs, status and history."""

    STARTED = "started"
    ADOPTED = "adopted a running mfsmaster"
    MASTER_DOWN = "master-down interval ran out"
    MASTER_RESIGNED = "the master resigned"
    PREEMPTED = "preempting a worse master"
    PROMOTION_READY = "mfsmaster serves the expected version"
    PROMOTION_FAILED = "promotion failed"
    BEHIND_STANDBY = "a standby has newer metadata"
    OUTRANKED = "a better claim was heard"
    LINK_DOWN = "the interface went down"
    LINK_UP = "the interface is up"
    HANDED_OVER = "a better node asked to take over"
    LATE_WAKE = "woke up too late to trust its lease"
    LEASE_LOST = "no majority has prolonged its lease"
    NOT_ELECTED = "no majority voted for it"
    ADOPTING = "asking for votes beside a running mfsmaster"
    RESTORED = "nobody else was elected meanwhile"
    MFSMASTER_LOST = "mfsmaster died or hangs"
    MFSMASTER_FAILS = "mfsmaster failed again"
    WORKER_LOST = "the worker process died"
    WORKER_READY = "the worker process is ready"
    DUPLICATE_NAME = "another node uses this node's name"
    NAME_CLEARED = "nobody else uses this node's name any more"
    DEMOTED = "mfsmaster is stopped"
    RESIGNED = "an operator asked it to resign"
    STOPPED = "pycarpd is stopping"
    SWITCHOVER = "an operator asked for a switchover"


class Arbiter(Enum):
    """Who decides that a node may be master."""

    NONE = "none"
    MAJORITY = "majority"
    ETCD = "etcd"


class TieBreak(Enum):
    """How equal adverts are ordered by source address."""

    NUMERIC = "numeric"
    UCARP_LITTLE_ENDIAN = "ucarp-le"


class Flags(IntFlag):
    """The trailer's flag bits."""

    PROMOTABLE = 1
    PAUSED = 2
    WITNESS = 4
    RESIGNED = 8
    """The sender has stopped serving the advert's term and gives it up."""
    WANTS_MASTER = 16
    """The sender asks the master to hand over (preempt or a planned switchover)."""
    CAN_SPLIT = 32
    """The sender runs without an arbiter."""
    NO_MASTER = 64
    """The sender follows nobody and is bound by no promise: it would welcome an election (pre-vote)."""
    HAS_FILES = 128
    """The sender has metadata of some file system, whole or not: no new one is to be made."""
    OPENS_TERM = 256
    """The sender writes down that it claims the term after the advert's: who would vote for it may write meanwhile."""
    SETTLED = 512
    """The sender's freshness is all that it has: its metalogger was stopped when the master was lost (settling)."""
    FREE = 1024
    """The sender is bound by no promise that outlasts the one to the node that it follows."""


@cache
def flags_of(bits: int) -> Flags:
    """Return the flags of these bits, which must be known ones: 2048 combinations at most, five times as quickly."""
    return Flags(bits)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How new a host's metadata is: (metaid, lineage, metadata version), with what a drill has proved.

    ``lineage`` is the term of the mastership in which the files were last written or followed: 0 where that is not
    known, None in the adverts of a version of pycarpd that does not tell it.
    Sources: MooseFS 2.0+ metadata header (metaid, version); a changelog's last complete line + 1.
    """

    metaid: int
    version: int
    proved_version: int = 0
    drill_age_s: int | None = None
    age_ms: int = 0
    lineage: int | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a master's lineage left the one before it: the lineage and version of what was promoted."""

    lineage: int
    version: int


OLDER_MAX = 7
"""So many older branches does a master remember: a host that was away for more masterships is told of these."""


class Ack(NamedTuple):
    """What an advert says of another node: the newest advert heard from it, by nonce and sequence.

    A tuple, for each advert has one for each other member.
    """

    node_id: int
    nonce: int
    sequence: int


@dataclass(frozen=True, slots=True)
class PeerConnection:
    """A TCP connection of the master's: a client, chunkserver or metalogger that a successor must wake.

    ``address`` is the peer's packed IPv4 address, ``port`` its port, ``service_port`` the master's.
    """

    address: bytes
    port: int
    service_port: int


@dataclass(frozen=True, slots=True)
class Handover:
    """What an advert says of a planned handover: which node is concerned, and at which metadata version.

    A MASTER names its successor and the version at which its clients are held; its resignation names the one that goes
    first. A BACKUP names the master that it answers and the version that its files prove, 0 if they prove none.
    """

    node_id: int
    version: int


class Advert(NamedTuple):
    """One authenticated advert with its trailer; all integers unsigned.

    ``term`` is the newest term the sender has taken part in; for a claiming role, the term claimed.
    ``served_term`` is the newest term in which the sender knows that a mfsmaster served. ``hold_ms`` asks
    receivers to consider the sender alive that long without a further advert (0: the usual rule); where a majority
    decides it is the lease that the sender asks of those who voted for it.
    ``priority`` is the effective one, 0..255, larger is better; ``demotion`` is CARP's handicap of an ill node.

    A tuple, since one is made for each that is heard or sent: a frozen dataclass of 24 fields takes 2.4 times as long.
    """

    node_id: int
    epoch: int
    sequence: int
    nonce: int
    role: Role
    term: int
    served_term: int
    interval_us: int
    hold_ms: int
    priority: int
    demotion: int
    flags: Flags
    freshness: Freshness | None
    vote_term: int
    vote_for: int
    config_digest: int
    acks: tuple[Ack, ...]
    advbase: int
    advskew: int
    connections: tuple[PeerConnection, ...] = ()
    branch: Branch | None = None
    """Of a MASTER that knows it."""
    older: tuple[Branch, ...] = ()
    """Of a MASTER that knows them: where the lineages before its own began, newest first."""
    handover: Handover | None = None
    exports_digest: int = 0
    """Over the sender's mfsexports.cfg; 0 where it has none or cannot read it."""


@dataclass(frozen=True, slots=True)
class PlainAdvert:
    """A CARP advert without a trailer, as ucarp sends it; always a claim of the virtual address.

    Only the digest's inputs are authenticated: advbase and advskew are not.
    """

    advbase: int
    advskew: int
    counter: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """Of which mastership this host's files are, as far as it is known; ``term`` 0: not at all.

    It is true of files with that metaid and at least that version: of others nothing is known. ``branch_lineage`` and
    ``branch_version`` are where the lineage left the one before it, for a host that has served in it, or had nothing
    when it began to follow it (``version`` 0: files that end before the branch have not all come yet); else 0. In
    ``older`` is where those before it began, newest first, OLDER_MAX of them at most.
    """

    term: int = 0
    metaid: int = 0
    version: int = 0
    branch_lineage: int = 0
    branch_version: int = 0
    older: tuple[Branch, ...] = ()

    @property
    def branch(self) -> Branch | None:
        """Return where the lineage began, None if it is not known."""
        return Branch(self.branch_lineage, self.branch_version) if self.branch_version else None


@dataclass(frozen=True, slots=True)
class Persistent:
    """What a node must not forget: written and fsynced before anything that depends on it is sent."""

    term: int = 0
    served_term: int = 0
    vote_term: int = 0
    vote_for: int = 0
    is_paused: bool = False
    lineage: Lineage = Lineage()

    @property
    def vote(self) -> tuple[int, int]:
        """Return the term of the vote and for whom it is."""
        return (self.vote_term, self.vote_for)


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the cluster as the configuration names it; address is the packed IPv4 or IPv6 address."""

    node_id: int
    name: str
    address: bytes
    is_witness: bool = False
