"""How late the heartbeat wakes, as a histogram with fixed buckets: the most telling figure of its health."""

BUCKETS_US = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
"""Upper bounds in microseconds; one further bucket takes what is later."""


class Lateness:
    """Counts wake-ups by how much later than planned they came."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_US) + 1)
        self.sum_us = 0
        """Of all wake-ups."""

    def note(self, late_ns: int) -> None:
        """Count one wake-up."""
        late_us = late_ns // 1000
        self.sum_us += max(0, late_us)
        for index, bound_us in enumerate(BUCKETS_US):
            if late_us <= bound_us:
                self._counts[index] += 1
                return
        self._counts[-1] += 1

    def counts(self) -> tuple[int, ...]:
        """Return the count of each bucket, the open one last."""
        return tuple(self._counts)
