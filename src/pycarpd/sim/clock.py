"""The clock of one host, and what its kernel plans by it: a host whose clock stands still does nothing meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pycarpd.sim.agenda import NS_PER_S, Action, Agenda

PPM = 1_000_000

Schedule = Callable[[int, Action], None]
"""Plan an action for some ns from now, by a host's clock."""


@dataclass(slots=True)
class HostClock:
    """CLOCK_BOOTTIME of one host: it starts anywhere, runs a little fast or slow, and stands still in a frozen VM."""

    offset_ns: int = NS_PER_S
    drift_ppm: int = 0
    lost_ns: int = 0
    stands_since_ns: int | None = None
    went_on_ns: int | None = None
    """When, in true time, it last began to run again."""
    postponed: list[Action] = field(default_factory=list)

    def uptime_ns(self, true_ns: int) -> int:
        """Return for how much of the true time the clock has been running."""
        return (true_ns if self.stands_since_ns is None else self.stands_since_ns) - self.lost_ns

    def local_ns(self, true_ns: int) -> int:
        """Return what the host's clock shows at a true time."""
        uptime_ns = self.uptime_ns(true_ns)
        return self.offset_ns + uptime_ns + uptime_ns * self.drift_ppm // PPM

    def true_ns(self, local_ns: int) -> int:
        """Return the first true time at which a clock that stands still no more shows *local_ns*."""
        uptime_ns = (local_ns - self.offset_ns) * PPM // (PPM + self.drift_ppm)
        while self.offset_ns + uptime_ns + uptime_ns * self.drift_ppm // PPM < local_ns:
            uptime_ns += 1
        return uptime_ns + self.lost_ns

    def stop(self, agenda: Agenda) -> None:
        """Stand still from now on."""
        if self.stands_since_ns is None:
            self.stands_since_ns = agenda.now_ns

    def go_on(self, agenda: Agenda) -> None:
        """Run again, as if no time had passed."""
        if self.stands_since_ns is None:
            return
        self.lost_ns += agenda.now_ns - self.stands_since_ns
        self.stands_since_ns = None
        self.went_on_ns = agenda.now_ns
        postponed, self.postponed = self.postponed, []
        for action in postponed:
            action()

    def after(self, agenda: Agenda, delay_ns: int, action: Action) -> None:
        """Plan an action for when the host has been running for *delay_ns* more."""
        due_ns = self.uptime_ns(agenda.now_ns) + delay_ns

        def happen() -> None:
            left_ns = due_ns - self.uptime_ns(agenda.now_ns)
            if self.stands_since_ns is not None:
                self.postponed.append(happen)
            elif left_ns > 0:
                agenda.after(left_ns, happen)
            else:
                action()

        agenda.after(delay_ns, happen)
