"""What ``status --json`` and the control API say, as models. Scripts of others rely on these names.

A field is only ever added; ``schema`` grows when one changes its meaning. Durations are integers with the unit in
the name; times are ISO 8601 in UTC. A metaid is text, because 64 bits do not survive JavaScript.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pycarpd.control.reports import Report

SCHEMA: Final = 1

RoleName = Literal["INIT", "BACKUP", "PROMOTING", "MASTER", "DEMOTING", "SUSPENDED", "FAULT"]


class Model(BaseModel):
    """A frozen value of the API; unknown fields of a newer daemon are ignored by an older command."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore", serialize_by_alias=True)


class VipStatus(Model):
    """The VIP as this node's kernel has it; ``fence_open`` is None where no fence is in use."""

    addresses: tuple[str, ...]
    held: bool
    fence_open: bool | None = None


class QuorumStatus(Model):
    """Who can be counted: members heard lately (this node and paused ones included) of those needed for a majority."""

    has: bool
    heard: int
    needed: int


class FreshnessStatus(Model):
    """How new a host's metadata is and whether it could take over right now, with the reason if not."""

    metaid: str | None = None
    lineage: int | None = None
    """The term of the mastership of which the files are; 0 or None where it is not known."""
    version: int | None = None
    proved_version: int | None = None
    drill_age_s: int | None = None
    age_ms: int | None = None
    promotable: bool = False
    why_not: str | None = None


class MemberStatus(Model):
    """One member as this node hears it; ``last_heard_ms`` is None for one never heard, 0 for this node itself.

    ``state`` is a word for people: ``self``, ``heard``, ``late``, ``lost`` or ``never heard``.
    """

    name: str
    address: str
    state: Literal["self", "heard", "late", "lost", "never heard"]
    role: RoleName | None = None
    term: int | None = None
    priority: int | None = None
    demotion: int = 0
    is_witness: bool = False
    paused: bool = False
    last_heard_ms: int | None = None
    freshness: FreshnessStatus = FreshnessStatus()


class Transition(Model):
    """One change of role: when, from what to what, why, how long each phase took and what it cost."""

    time: str
    term: int
    from_role: RoleName = Field(validation_alias="from", serialization_alias="from")
    to_role: RoleName = Field(validation_alias="to", serialization_alias="to")
    cause: str
    opened_by: str | None = None
    """Of a node that became MASTER by a promotion: why it opened its term."""
    phases: dict[str, int] = {}
    """Phase to milliseconds, in the order in which they ran."""
    operations_lost: int | None = None
    """None where it is not known yet."""
    failed_step: str | None = None


class DrillStatus(Model):
    """Rehearsed restores on this host. ``number`` counts those begun since the daemon's start.

    ``outcome`` is that of the last one that was not cancelled, ``at`` when it ended, the figures those of the last that
    succeeded, or of this one while ``phase`` names what it is at.
    """

    interval_s: int
    number: int = 0
    outcome_number: int = 0
    """Which drill the outcome is of; 0: one of an earlier run of the daemon."""
    phase: str | None = None
    elapsed_ms: int | None = None
    outcome: Literal["never", "ok", "failed", "skipped"] = "never"
    at: str | None = None
    code: str | None = None
    why: str | None = None
    metaid: str | None = None
    lineage: int | None = None
    """The term of the mastership of which the files are; 0 or None where it is not known."""
    version: int | None = None
    inode_count: int | None = None
    duration_ms: int | None = None
    phases: dict[str, int] = {}
    memory_bytes: int | None = None


class LatenessStatus(Model):
    """How late the heartbeat's wake-ups were since it started, in microseconds."""

    wakes: int
    p50_us: int
    p99_us: int
    max_us: int


class Status(Model):
    """Everything one node knows, in one answer."""

    schema_version: Literal[1] = Field(default=SCHEMA, validation_alias="schema", serialization_alias="schema")
    time: str
    node: str
    role: RoleName
    term: int
    master: str | None
    vhid: int
    interface: str
    profile: str
    priority: int
    demotion: int = 0
    vip: VipStatus
    lease_remaining_ms: int | None = None
    quorum: QuorumStatus
    can_split: bool
    paused: bool = False
    freshness: FreshnessStatus
    members: tuple[MemberStatus, ...]
    last_transition: Transition | None = None
    lateness: LatenessStatus | None = None
    drill: DrillStatus | None = None
    """None on a witness."""
    reports: tuple[Report, ...] = ()
    """What is wrong now, as coded reports."""

    @property
    def serves(self) -> bool:
        """True when this node is MASTER with the VIP and nothing closes the way to it."""
        return self.role == "MASTER" and self.vip.held and self.vip.fence_open is not False

    @property
    def is_witness(self) -> bool:
        """True when this node votes and never promotes."""
        return any(each.is_witness for each in self.members if each.name == self.node)


class HistoryAnswer(Model):
    """The list of transitions, newest last, as ``/history`` and ``history --json`` give it."""

    schema_version: Literal[1] = Field(default=SCHEMA, validation_alias="schema", serialization_alias="schema")
    node: str
    transitions: tuple[Transition, ...]
    damaged_lines: int = 0


class CommandAnswer(Model):
    """What a command led to: done or not, with the reports that say why."""

    schema_version: Literal[1] = Field(default=SCHEMA, validation_alias="schema", serialization_alias="schema")
    done: bool
    reports: tuple[Report, ...]
