"""What the heartbeat tells of itself: the election's snapshot as a message for the worker."""

from ipaddress import ip_address

from pycarpd.daemon.messages import DemoteRequest, PeerNews, PromoteRequest, StatusNews
from pycarpd.election.effects import StartDemotion, StartPromotion
from pycarpd.election.model import Advert, Branch, Flags, PeerConnection
from pycarpd.election.peers import Peer
from pycarpd.election.settings import ElectionSettings
from pycarpd.election.snapshot import Snapshot
from pycarpd.linux.realtime import Degradation
from pycarpd.settings import DaemonSettings

NS_PER_MS = 1_000_000


def name_of(settings: ElectionSettings, node_id: int) -> str:
    """Return the member's name, empty for none."""
    member = settings.member(node_id)
    return member.name if member is not None else ""


def peer_news(peer: Peer, config_digest: int, exports_digest: int, now_ns: int) -> PeerNews:
    """Return one member as last heard; a digest that either side does not know is no difference."""
    exports = {exports_digest, peer.advert.exports_digest if peer.advert else 0} - {0}
    advert = peer.advert
    return PeerNews(
        name=peer.member.name,
        address=str(ip_address(peer.member.address)),
        role=advert.role if advert else None,
        term=advert.term if advert else 0,
        priority=advert.priority if advert else 0,
        demotion=advert.demotion if advert else 0,
        is_witness=peer.member.is_witness,
        is_promotable=peer.is_promotable,
        is_paused=advert is not None and Flags.PAUSED in advert.flags,
        is_proven=peer.is_proven,
        hears_me=peer.hears_me,
        heard_ms=(now_ns - peer.heard_ns) // NS_PER_MS if advert else None,
        freshness=peer.freshness,
        has_same_config=advert is None or advert.config_digest == config_digest,
        has_same_exports=len(exports) <= 1,
        has_files=advert is not None and Flags.HAS_FILES in advert.flags,
        patience_ms=peer.patience_ns // NS_PER_MS,
    )


def members_news(
    snapshot: Snapshot, settings: ElectionSettings, exports_digest: int, now_ns: int
) -> tuple[PeerNews, ...]:
    """Return all other members as last heard."""
    return tuple(peer_news(p, settings.config_digest, exports_digest, now_ns) for p in snapshot.peers)


def promote_request(
    settings: DaemonSettings,
    snapshot: Snapshot,
    wish: StartPromotion,
    connections: tuple[PeerConnection, ...],
    is_address_held: bool,
    now_ns: int,
) -> PromoteRequest:
    """Return the wish for a promotion; the other members are in it only where a fence command asks for them."""
    freshness = snapshot.freshness
    return PromoteRequest(
        wish.term,
        connections,
        minimum_version=freshness.version if freshness is not None else 0,
        is_address_held=is_address_held,
        inherits=wish.inherits,
        peers=members_news(snapshot, settings.election, 0, now_ns) if settings.fence_command else None,
    )


def demote_request(
    settings: ElectionSettings, peers: tuple[Peer, ...], wish: StartDemotion, own_lineage: int
) -> DemoteRequest:
    """Return the wish for a demotion, with what the successor's adverts tell of its metadata."""
    heard = next((peer for peer in peers if peer.member.node_id == wish.successor), None)
    branches = _branches(heard.advert) if heard is not None and heard.advert is not None else ()
    freshness = heard.freshness if heard is not None else None
    return DemoteRequest(
        wish.term,
        name_of(settings, wish.successor),
        wish.is_foreign,
        successor_version=parting(branches, own_lineage),
        master_version=freshness.version if freshness is not None else None,
    )


def _branches(advert: Advert) -> tuple[Branch, ...]:
    return (advert.branch, *advert.older) if advert.branch is not None else ()


def parting(branches: tuple[Branch, ...], lineage: int) -> int | None:
    """Return the version at which a master's history left that lineage, by its *branches*, newest first.

    Between two masterships there may have been others. Where the branches do not reach back to the lineage, the answer
    is the oldest, and where it is not known (0) the newest: then more may be lost than is said. None: nothing is told.
    """
    if not branches:
        return None
    oldest = branches[-1] if lineage else branches[0]
    return next((each.version for each in branches if each.lineage <= lineage), oldest.version)


def status_news(  # noqa: PLR0913 - one argument a source
    snapshot: Snapshot,
    settings: ElectionSettings,
    now_ns: int,
    *,
    vip_held: bool,
    fence_open: bool | None,
    degradations: tuple[Degradation, ...],
    counters: tuple[tuple[str, int], ...],
    lateness_us: tuple[int, ...],
    adverts_sent: int,
    messages_dropped: int,
    exports_digest: int = 0,
) -> StatusNews:
    """Return what the worker, and through it an operator, is to know."""
    # Not by its name: CPython 3.11 keeps the memory of each call with exactly twenty names, some two thousand times.
    return StatusNews(
        snapshot.role,
        term=snapshot.term,
        served_term=snapshot.served_term,
        master=name_of(settings, snapshot.master_id),
        vip_held=vip_held,
        fence_open=fence_open,
        lease_remaining_ms=max(0, (snapshot.lease_until_ns - now_ns) // NS_PER_MS),
        demotion=snapshot.demotion,
        is_paused=snapshot.is_paused,
        can_split=snapshot.can_split,
        live_members=snapshot.live_members,
        faults=tuple(f.value for f in snapshot.faults),
        freshness=snapshot.freshness,
        why_not=snapshot.why_not,
        peers=members_news(snapshot, settings, exports_digest, now_ns),
        degradations=tuple((d.code, d.detail, d.remedy) for d in degradations),
        counters=counters,
        lateness_us=lateness_us,
        adverts_sent=adverts_sent,
        messages_dropped=messages_dropped,
    )
