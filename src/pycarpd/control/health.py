"""Whether a node, or the cluster as a node sees it, is well: the source of exit codes and health answers."""

from enum import Enum

from pycarpd.control.reports import Report, Severity, report
from pycarpd.control.status import MemberStatus, Status


class ClusterHealth(Enum):
    """The verdict on the cluster; the value is the exit code of ``pycarpctl status``."""

    HEALTHY = 0
    NO_MASTER = 3
    DEGRADED = 4


def is_node_healthy(status: Status) -> bool:
    """Return whether this node does its part: serves, could take over, or votes; and reports no error."""
    if any(each.severity is Severity.ERROR for each in status.reports):
        return False
    if status.role == "BACKUP":
        return status.is_witness or status.freshness.promotable
    return status.serves


def is_promotable_backup(status: Status) -> bool:
    """Return whether this node is BACKUP and could take over right now."""
    return status.role == "BACKUP" and status.freshness.promotable


def has_successor(status: Status) -> bool:
    """Return whether some other member could take over right now, as far as this node hears."""
    return any(
        each.state == "heard" and each.role == "BACKUP" and each.freshness.promotable and not each.paused
        for each in status.members
    )


def findings(status: Status) -> tuple[Report, ...]:
    """Return what is wrong with the cluster as this node sees it: its own reports, then what the facts imply."""
    found = list(status.reports)
    if status.master is None:
        found.append(report("no-master", "nobody holds the VIP"))
    if status.can_split:
        found.append(report("can-split", 'arbiter = "none": the cluster can split'))
    if status.paused:
        found.append(report("paused", "this node is paused: it votes, and does not take over"))
    if not status.quorum.has:
        message = f"{status.quorum.heard} members heard, {status.quorum.needed} needed"
        found.append(report("no-quorum", message))
    for member in status.members:
        found.extend(_member_findings(member, status))
    return _distinct(found)


def _member_findings(member: MemberStatus, status: Status) -> list[Report]:
    if member.state == "never heard":
        return [report("member-silent", "has never been heard", key=member.name)]
    if member.state == "lost":
        return [report("member-lost", "is not heard any more", key=member.name)]
    if member.paused and member.state != "self":
        return [report("paused", "is paused: it votes, and does not take over", key=member.name)]
    if member.is_witness or member.name == status.master or member.freshness.promotable:
        return []
    why = member.freshness.why_not or "no reason is known"
    return [report("member-not-promotable", f"could not take over: {why}", key=member.name)]


def _distinct(reports: list[Report]) -> tuple[Report, ...]:
    """Return the reports without those whose code and key were told before; the daemon's own come first."""
    kept: dict[tuple[str, str | None], Report] = {}
    for each in reports:
        kept.setdefault((each.code, each.key), each)
    return tuple(kept.values())


def cluster_health(status: Status) -> ClusterHealth:
    """Return the verdict on the cluster: no master, degraded (any warning or error), or healthy."""
    if status.master is None:
        return ClusterHealth.NO_MASTER
    if any(each.severity is not Severity.INFO for each in findings(status)):
        return ClusterHealth.DEGRADED
    return ClusterHealth.HEALTHY
