"""Which faults and which rare branches a campaign has to meet: of what it never meets it says nothing."""

from collections import Counter

from pycarpd.election.model import Arbiter, Cause, Role
from pycarpd.election.transitions import TRANSITIONS
from pycarpd.sim.faults import FAULTS

NOT_REHEARSED = {
    (Role.BACKUP, Cause.PREEMPTED): "only a ucarp host is preempted without being asked",
    (Role.MASTER, Cause.PROMOTION_FAILED): "no step after the address ends a plan",
    (Role.SUSPENDED, Cause.PROMOTION_FAILED): "no step after the address ends a plan",
}
BY_ONE_ARBITER: dict[tuple[Role, Cause], Arbiter] = {
    (Role.INIT, Cause.ADOPTED): Arbiter.NONE,
    (Role.INIT, Cause.ADOPTING): Arbiter.MAJORITY,
    (Role.PROMOTING, Cause.ADOPTED): Arbiter.MAJORITY,
    (Role.PROMOTING, Cause.NOT_ELECTED): Arbiter.MAJORITY,
    (Role.SUSPENDED, Cause.NOT_ELECTED): Arbiter.MAJORITY,
    (Role.MASTER, Cause.LEASE_LOST): Arbiter.MAJORITY,
    (Role.MASTER, Cause.LATE_WAKE): Arbiter.NONE,
}
FREQUENT = (
    "a standby was left as it is",
    "a standby was made anew",
    "a standby could not be made one",
    "a paused node came back paused",
)
BRANCHES = (
    *FREQUENT,
    "power was lost at a write",
    "a step was cancelled",
    "the heartbeat did not answer for the address",
    "a metalogger met an older master",
    "hold: done",
    "hold: not done",
    "level: done",
    "level: not done",
    "promote: not done",
    "demote: not done",
    "recovery: undone",
    "recovery: after the commit",
    "recovery: stays open",
    "refused: REPLAYED",
    "refused: STALE_EPOCH",
    "refused: BAD_DIGEST",
    "refused: BAD_CHECKSUM",
    "refused: BAD_TRAILER",
    "refused: TOO_SHORT",
    "left behind: crashed",
    "left behind: cut off",
    "left behind: paused",
)
MAJORITY_BRANCHES = (
    "a vote for a candidate",
    "a vote for a master that others elected",
    "a vote refused: the candidate's metadata is older",
    "a vote refused: the voter has promised itself",
    "a voter came back bound by its promise",
    "a lease was asked for a hold",
    "a vote refused: a higher version of an older lineage",
    "a standby's files were no part of the master's lineage",
    "two served at once after a host had stood still",
    "what was loaded on suspicion is served",
    "what was loaded on suspicion is taken back",
    "recovery: of what was loaded on suspicion",
)
CLUSTERS = (
    "a cluster of 2, 0 of them witnesses",
    "a cluster of 3, 0 of them witnesses",
    "a cluster of 3, 1 of them witnesses",
    "a cluster of 5, 0 of them witnesses",
    "a cluster of 5, 2 of them witnesses",
    "a node of another version: older",
    "a node of another version: newer",
    "a cluster that speculates",
    "a node whose adverts may be late",
)


def expected(arbiter: Arbiter | None) -> tuple[str, ...]:
    """Return the marks that a campaign of some thousand seeds has to have; without *arbiter*, one that draws it."""
    if arbiter is None:
        both = (*expected(Arbiter.MAJORITY), *expected(Arbiter.NONE), "a cluster without an arbiter")
        return tuple(dict.fromkeys(both))
    rows = [
        f"{was.name} -> {role.name}: {cause.value}"
        for (was, cause), role in TRANSITIONS.items()
        if (was, cause) not in NOT_REHEARSED and BY_ONE_ARBITER.get((was, cause), arbiter) is arbiter
    ]
    faults = [f"fault: {fault.__name__}" for fault in FAULTS]
    has_votes = arbiter is Arbiter.MAJORITY
    branches = [b for b in BRANCHES if has_votes or not b.startswith("left behind")]
    return (*CLUSTERS, *faults, *rows, *branches, *(MAJORITY_BRANCHES if has_votes else ()))


def shares(counted: Counter[str], seeds: int, arbiter: Arbiter | None) -> list[tuple[str, float]]:
    """Return each mark, expected or met, with the share of seeds in which it occurred."""
    names = dict.fromkeys((*expected(arbiter), *sorted(counted)))
    return [(name, counted[name] / max(1, seeds)) for name in names]
