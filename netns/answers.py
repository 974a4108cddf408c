"""Who answered for the VIP, and when: from the capture on the switch alone.

An answer is a frame that says "I have the VIP" (an ARP frame from it, gratuitous or not) or "9421 is here" (a SYN+ACK).
While a prober asks every few milliseconds, a host that may be reached answers all the time; the stretches of two hosts
must not meet. How long they do is the exposure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from netns.capture import Kind, Sighting
from netns.topology import VIP

CLIENT_PORT: Final = 9421
GAP_NS: Final = 100_000_000
"""Answers of one host that are no further apart count as one stretch."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One host answered from the first to the last of these moments (CLOCK_BOOTTIME)."""

    host: str
    began_ns: int
    ended_ns: int


def answers(sightings: Iterable[Sighting], since_ns: int) -> list[Sighting]:
    """Return what was said for the VIP since a moment."""
    return [s for s in sightings if s.at_ns >= since_ns and s.address == VIP and _is_answer(s)]


def _is_answer(seen: Sighting) -> bool:
    return seen.kind in (Kind.ARP, Kind.GARP) or (seen.kind is Kind.SYN_ACK and seen.port == CLIENT_PORT)


def stretches(said: Iterable[Sighting]) -> list[Stretch]:
    """Return the stretches in which each host answered, in the order in which they began."""
    by_host: dict[str, list[int]] = {}
    for each in said:
        by_host.setdefault(each.host, []).append(each.at_ns)
    found = []
    for host, moments in by_host.items():
        began = last = moments[0]
        for at_ns in moments[1:]:
            if at_ns - last > GAP_NS:
                found.append(Stretch(host, began, last))
                began = at_ns
            last = at_ns
        found.append(Stretch(host, began, last))
    return sorted(found, key=lambda one: one.began_ns)


def exposure_ns(found: Iterable[Stretch]) -> int:
    """Return how long two hosts or more answered; a single answer within another host's stretch counts as 1 ns."""
    edges = sorted(
        edge
        for one in found
        for edge in ((one.began_ns, 0, one.host), (max(one.ended_ns, one.began_ns + 1), 1, one.host))
    )
    total, answering = 0, set[str]()
    for (at_ns, is_end, host), (next_ns, _is_end, _host) in pairwise([*edges, (0, 0, "")]):
        (answering.discard if is_end else answering.add)(host)
        if len(answering) > 1:
            total += next_ns - at_ns
    return total


def last_answer_ns(said: Iterable[Sighting], host: str) -> int | None:
    """Return when a host answered for the last time, None if it never did."""
    return max((s.at_ns for s in said if s.host == host), default=None)
