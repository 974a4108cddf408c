"""What a node believes, put together for status and logs; nothing is decided from it."""

from dataclasses import dataclass

from pycarpd.election.model import Arbiter, Freshness, Role
from pycarpd.election.node import Fault, Node
from pycarpd.election.peers import Peer
from pycarpd.election.standby import Files


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the election believes at one moment, for status and logs."""

    role: Role
    term: int
    served_term: int
    master_id: int
    lease_until_ns: int
    demotion: int
    is_paused: bool
    can_split: bool
    faults: tuple[Fault, ...]
    freshness: Freshness | None
    why_not: str
    peers: tuple[Peer, ...]
    live_members: int
    """Members heard of lately, this one included; how long a demoted node would wait has no say in it."""
    adopts: bool
    lineage: int
    """That of the files that lie here, 0 if it is not known."""
    has_foreign_files: bool
    """Whether its files hold, or may hold, changes that the last master never had."""


def snapshot_of(node: Node, now_ns: int) -> Snapshot:
    """Return what the node believes now."""
    return Snapshot(
        role=node.role,
        term=node.claimed_term or node.persistent.term,
        served_term=node.persistent.served_term,
        master_id=node.master_id,
        lease_until_ns=node.lease_until_ns,
        demotion=node.demotion(now_ns),
        is_paused=node.is_paused,
        can_split=node.settings.arbiter is Arbiter.NONE,
        faults=tuple(f for f in Fault if f in node.faults),
        freshness=node.freshness,
        why_not=node.objection,
        peers=node.peers.all(),
        live_members=1 + len(node.peers.live(now_ns, node.silence_ns() + node.settings.interval_ns)),
        adopts=node.adopts and node.role is Role.PROMOTING,
        lineage=node.persistent.lineage.term,
        has_foreign_files=node.standby.files is Files.FOREIGN,
    )
