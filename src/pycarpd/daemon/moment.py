"""The best moment to begin a switchover: so that the chunkservers look for a master when the successor awaits them.

A chunkserver that has lost its master tries again when the wall clock's seconds are a multiple of its
MASTER_RECONNECTION_DELAY (5 by default, often set to 1), and clients are let in when the chunkservers are back. Where a
majority decides, the successor takes the address while mfsmaster loads and lets in then who came meanwhile, so that
moment is to come in the middle of loading; without, just after it serves. Clients that are not held yet notice nothing
of a few seconds' patience before. How long loading takes is what this host's own last promotion took.
"""

from collections.abc import Mapping

NS_PER_MS = 1_000_000
GRID_NS = 5_000_000_000
"""Every multiple of the usual delay is one of a shorter delay of whole seconds that divides it."""
LEAD_MS = 250
"""From the wish until the successor's plan begins: clients held, files level, mfsmaster ended, votes."""
SPARE_MS = 150
"""To be a little early costs that little, to be a little late a whole delay."""
PROMOTION_MS = 500
"""What a promotion of small metadata takes, where this host has not promoted itself."""
FIRST_SERVED = "take-address"


def promotion_ms(phases: Mapping[str, int]) -> int:
    """Return how long a promotion with these steps took until the address was there; the usual, if it is not known."""
    names = list(phases)
    if FIRST_SERVED not in names:
        return PROMOTION_MS
    return sum(phases[name] for name in names[: names.index(FIRST_SERVED) + 1])


def patience_ns(now_ns: int, phases: Mapping[str, int], *, is_early: bool) -> int:
    """Return how long to wait before beginning; *now_ns* is the wall clock's time.

    ``is_early``: the successor has the address while it promotes.
    """
    promotion = promotion_ms(phases)
    ahead_ms = LEAD_MS + (promotion // 2 if is_early else promotion + SPARE_MS)
    return -(now_ns + ahead_ms * NS_PER_MS) % GRID_NS
