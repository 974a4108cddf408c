"""When did a datagram arrive? Kernel stamps are wall-clock time; the election wants CLOCK_BOOTTIME.

A stamp must never make a datagram look younger than it is, or a stall of ours would prolong a dead peer's life; and a
stepped wall clock must not make it look hours old. Two facts bound the truth. A datagram arrived after the queue was
last seen empty, and before it was asked for. And the stamp was taken under the offset between the clocks as it was at
that earlier moment, or as it is now, if the wall clock was stepped at most once in between. So both conversions are
tried, those outside the bounds are impossible, and of the possible ones the earlier counts.

A stamp from after the asking is of no use either: in the first moments after the first socket of the host has asked for
stamps the kernel still lacks them, and fills in the time of reading (net/core/dev.c, net_enable_timestamp).
"""

from dataclasses import dataclass


@dataclass(slots=True)
class StampConverter:
    """Converts stamps in ns of CLOCK_REALTIME to ns of CLOCK_BOOTTIME; offsets are REALTIME - BOOTTIME."""

    empty_ns: int
    """When the queue was last seen empty, or the socket was opened."""
    empty_offset_ns: int

    def queue_was_empty(self, at_ns: int, offset_ns: int) -> None:
        """Note that nothing was waiting when the queue was read at *at_ns*."""
        self.empty_ns = at_ns
        self.empty_offset_ns = offset_ns

    def received_ns(self, stamp_ns: int | None, asked_ns: int, offset_ns: int) -> int:
        """Return when a datagram asked for at *asked_ns* arrived; the earliest possible instant if no stamp says."""
        if stamp_ns is None:
            return self.empty_ns
        candidates = (stamp_ns - self.empty_offset_ns, stamp_ns - offset_ns)
        possible = [candidate for candidate in candidates if self.empty_ns <= candidate <= asked_ns]
        return min(possible, default=self.empty_ns)
