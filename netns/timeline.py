"""When what happened in a takeover, from the wire, from netlink and from the client's log.

Never from a daemon's own words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from netns.capture import Kind, Sighting
from netns.topology import VIP
from netns.watch import Change
from netns.writer import Acknowledged

_CHUNKSERVER_PORT: Final = 9420
_CLIENT_PORT: Final = 9421


@dataclass(frozen=True, slots=True)
class Takeover:
    """The moments of one takeover (CLOCK_BOOTTIME); None for what was not seen.

    ``began_ns`` is the fault. The phases, in their usual order: the new owner's first claiming advert, the VIP
    on its interface, its first gratuitous ARP, its first SYN+ACK to a chunkserver and to a client, the first file that
    was completed after that.
    """

    began_ns: int
    new_owner: str | None
    claimed_ns: int | None
    vip_added_ns: int | None
    garp_ns: int | None
    chunkserver_ns: int | None
    accepted_ns: int | None
    written_ns: int | None

    @property
    def phases_ms(self) -> dict[str, float | None]:
        """Return each phase's distance from the fault, in milliseconds."""
        moments = {
            "first claiming advert": self.claimed_ns,
            "VIP added": self.vip_added_ns,
            "first gratuitous ARP": self.garp_ns,
            "first SYN+ACK on 9420": self.chunkserver_ns,
            "first SYN+ACK on 9421": self.accepted_ns,
            "first completed write": self.written_ns,
        }
        return {name: None if at is None else round((at - self.began_ns) / 1e6, 1) for name, at in moments.items()}


def takeover(
    began_ns: int,
    sightings: Iterable[Sighting],
    changes: Iterable[Change],
    files: Iterable[Acknowledged],
    *,
    vip: str = VIP,
) -> Takeover:
    """Put the takeover after a fault together.

    The new owner is the host that first answers clients at the VIP that it has got since, or where none does the one
    that first gets the VIP: a candidate may have it early, and give way to another before mfsmaster serves.
    """
    later = [sighting for sighting in sightings if sighting.at_ns > began_ns]
    is_added = ("address-added", vip)
    gained: dict[str, int] = {}
    for change in changes:
        if change.at_ns > began_ns and (change.what, change.detail) == is_added:
            gained.setdefault(change.host, change.at_ns)
    if not gained:
        return Takeover(began_ns, None, None, None, None, None, None, None)
    answers = [s for s in later if (s.kind, s.address) == (Kind.SYN_ACK, vip) and s.host in gained]
    accepted = next((s for s in answers if s.port == _CLIENT_PORT), None)
    owner = accepted.host if accepted is not None else next(iter(gained))
    accepted_ns = accepted.at_ns if accepted is not None else None
    return Takeover(
        began_ns=began_ns,
        new_owner=owner,
        claimed_ns=_first(s.at_ns for s in later if s.claims and s.host == owner),
        vip_added_ns=gained[owner],
        garp_ns=_first(s.at_ns for s in later if (s.kind, s.host, s.address) == (Kind.GARP, owner, vip)),
        chunkserver_ns=_first(s.at_ns for s in answers if (s.host, s.port) == (owner, _CHUNKSERVER_PORT)),
        accepted_ns=accepted_ns,
        written_ns=_first(f.done_ns for f in files if accepted_ns is not None and f.done_ns > accepted_ns),
    )


def _first(moments: Iterable[int]) -> int | None:
    return next(iter(moments), None)
