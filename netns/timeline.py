"""When what happened in a takeover, from the wire, from netlink and from the client's log.

Never from a daemon's own words.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from netns.capture import Kind, Sighting
from netns.topology import VIP
from netns.watch import Change
from netns.writer import Acknowledged

_CLIENT_PORT = 9421


@dataclass(frozen=True, slots=True)
class Takeover:
    """The moments of one takeover (CLOCK_BOOTTIME); None for what was not seen.

    ``began_ns`` is the fault. The phases, in their usual order: the new owner's first claiming advert, the VIP
    on its interface, its first gratuitous ARP, its first SYN+ACK to a client, the first file written that was
    begun after the fault.
    """

    began_ns: int
    new_owner: str | None
    claimed_ns: int | None
    vip_added_ns: int | None
    garp_ns: int | None
    accepted_ns: int | None
    written_ns: int | None

    @property
    def phases_ms(self) -> dict[str, float | None]:
        """Return each phase's distance from the fault, in milliseconds."""
        moments = {
            "first claiming advert": self.claimed_ns,
            "VIP added": self.vip_added_ns,
            "first gratuitous ARP": self.garp_ns,
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
    """Put the takeover after a fault together; the new owner is the host that first gets the VIP after it."""
    later = [sighting for sighting in sightings if sighting.at_ns > began_ns]
    added = next((c for c in changes if c.at_ns > began_ns and (c.what, c.detail) == ("address-added", vip)), None)
    owner = added.host if added else None
    return Takeover(
        began_ns=began_ns,
        new_owner=owner,
        claimed_ns=_first(s.at_ns for s in later if s.claims and s.host == owner),
        vip_added_ns=added.at_ns if added else None,
        garp_ns=_first(s.at_ns for s in later if (s.kind, s.host, s.address) == (Kind.GARP, owner, vip)),
        accepted_ns=_first(
            s.at_ns for s in later if (s.kind, s.host, s.address, s.port) == (Kind.SYN_ACK, owner, vip, _CLIENT_PORT)
        ),
        written_ns=_first(file.done_ns for file in files if file.done_ns > began_ns and _straddles(file, began_ns)),
    )


def _straddles(file: Acknowledged, began_ns: int) -> bool:
    # A write that was nearly done when the fault came proves nothing; 100 ms is far more than such a write needs.
    return file.began_ns > began_ns or file.done_ns - began_ns > 100_000_000  # noqa: PLR2004


def _first(moments: Iterable[int]) -> int | None:
    return next(iter(moments), None)
