"""The role changes that exist, as data: a change that is not in this table is a bug.

The diagram in the README is made from it by ``mermaid()``, and a test compares the two.
"""

from pycarpd.election.model import Cause, Role

TRANSITIONS: dict[tuple[Role, Cause], Role] = {
    (Role.INIT, Cause.STARTED): Role.BACKUP,
    (Role.INIT, Cause.ADOPTED): Role.MASTER,
    (Role.INIT, Cause.ADOPTING): Role.PROMOTING,
    (Role.INIT, Cause.LINK_DOWN): Role.FAULT,
    (Role.BACKUP, Cause.MASTER_DOWN): Role.PROMOTING,
    (Role.BACKUP, Cause.MASTER_RESIGNED): Role.PROMOTING,
    (Role.BACKUP, Cause.PREEMPTED): Role.PROMOTING,
    (Role.BACKUP, Cause.LINK_DOWN): Role.FAULT,
    (Role.BACKUP, Cause.WORKER_LOST): Role.FAULT,
    (Role.BACKUP, Cause.DUPLICATE_NAME): Role.FAULT,
    (Role.PROMOTING, Cause.PROMOTION_READY): Role.MASTER,
    (Role.PROMOTING, Cause.ADOPTED): Role.MASTER,
    (Role.PROMOTING, Cause.NOT_ELECTED): Role.BACKUP,
    (Role.PROMOTING, Cause.PROMOTION_FAILED): Role.DEMOTING,
    (Role.PROMOTING, Cause.BEHIND_STANDBY): Role.DEMOTING,
    (Role.PROMOTING, Cause.OUTRANKED): Role.DEMOTING,
    (Role.PROMOTING, Cause.LINK_DOWN): Role.DEMOTING,
    (Role.PROMOTING, Cause.RESIGNED): Role.DEMOTING,
    (Role.PROMOTING, Cause.STOPPED): Role.DEMOTING,
    (Role.PROMOTING, Cause.DUPLICATE_NAME): Role.DEMOTING,
    (Role.PROMOTING, Cause.WORKER_LOST): Role.FAULT,
    (Role.MASTER, Cause.LINK_DOWN): Role.SUSPENDED,
    (Role.MASTER, Cause.LATE_WAKE): Role.SUSPENDED,
    (Role.MASTER, Cause.LEASE_LOST): Role.SUSPENDED,
    (Role.MASTER, Cause.MFSMASTER_LOST): Role.PROMOTING,
    (Role.MASTER, Cause.MFSMASTER_FAILS): Role.DEMOTING,
    (Role.MASTER, Cause.PROMOTION_FAILED): Role.DEMOTING,
    (Role.MASTER, Cause.OUTRANKED): Role.DEMOTING,
    (Role.MASTER, Cause.RESIGNED): Role.DEMOTING,
    (Role.MASTER, Cause.HANDED_OVER): Role.DEMOTING,
    (Role.MASTER, Cause.DUPLICATE_NAME): Role.DEMOTING,
    (Role.MASTER, Cause.STOPPED): Role.DEMOTING,
    (Role.MASTER, Cause.SWITCHOVER): Role.DEMOTING,
    (Role.MASTER, Cause.WORKER_LOST): Role.FAULT,
    (Role.SUSPENDED, Cause.RESTORED): Role.MASTER,
    (Role.SUSPENDED, Cause.OUTRANKED): Role.DEMOTING,
    (Role.SUSPENDED, Cause.NOT_ELECTED): Role.DEMOTING,
    (Role.SUSPENDED, Cause.MFSMASTER_FAILS): Role.DEMOTING,
    (Role.SUSPENDED, Cause.PROMOTION_FAILED): Role.DEMOTING,
    (Role.SUSPENDED, Cause.RESIGNED): Role.DEMOTING,
    (Role.SUSPENDED, Cause.DUPLICATE_NAME): Role.DEMOTING,
    (Role.SUSPENDED, Cause.STOPPED): Role.DEMOTING,
    (Role.SUSPENDED, Cause.WORKER_LOST): Role.FAULT,
    (Role.DEMOTING, Cause.DEMOTED): Role.BACKUP,
    (Role.DEMOTING, Cause.WORKER_LOST): Role.FAULT,
    (Role.FAULT, Cause.LINK_UP): Role.BACKUP,
    (Role.FAULT, Cause.WORKER_READY): Role.BACKUP,
    (Role.FAULT, Cause.NAME_CLEARED): Role.BACKUP,
}


def mermaid() -> str:
    """Return the table as a mermaid state diagram, one line a change."""
    rows = [f"    {was.name} --> {role.name}: {cause.value}" for (was, cause), role in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> INIT", *rows])
