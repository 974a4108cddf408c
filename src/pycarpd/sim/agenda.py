"""Virtual time: one heap of things to do, in order of time and then of planning."""

import heapq
from collections.abc import Callable

from pycarpd.sim.failure import CheckFailedError

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

AT_ONCE_MAX = 10_000
"""More at one instant is a node that keeps itself busy, and time would never go on."""

Action = Callable[[], None]


class Agenda:
    """What happens when; ``now_ns`` is the true time, which no node sees."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._planned: list[tuple[int, int, Action]] = []
        self._count = 0

    def at(self, when_ns: int, action: Action) -> None:
        """Plan an action; one of the past happens now, after what was planned for now before."""
        self._count += 1
        heapq.heappush(self._planned, (max(when_ns, self.now_ns), self._count, action))

    def after(self, delay_ns: int, action: Action) -> None:
        """Plan an action for *delay_ns* from now."""
        self.at(self.now_ns + delay_ns, action)

    def run_until(self, end_ns: int) -> None:
        """Let everything happen that is planned up to and including *end_ns*."""
        at_once = 0
        while self._planned and self._planned[0][0] <= end_ns:
            when_ns, _, action = heapq.heappop(self._planned)
            at_once = at_once + 1 if when_ns == self.now_ns else 0
            if at_once > AT_ONCE_MAX:
                raise CheckFailedError("L2: time stands still")
            self.now_ns = when_ns
            action()
        self.now_ns = max(self.now_ns, end_ns)
