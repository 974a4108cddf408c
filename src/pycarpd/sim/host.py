"""A simulated host below the daemon: its clock, disk, kernel and metadata, which survive what kills a process."""

from dataclasses import dataclass, field
from enum import Enum

from pycarpd.election.model import Freshness, Persistent
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S

METAID = 0x5EED
PPM = 1_000_000


class PlanFate(Enum):
    """What becomes of the next promotions."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    HANGS = "hangs"


@dataclass(slots=True)
class Habits:
    """How long things take on a host."""

    persist_ns: int = 2 * NS_PER_MS
    promotion_ns: int = 400 * NS_PER_MS
    completion_ns: int = 100 * NS_PER_MS
    undo_ns: int = 50 * NS_PER_MS
    demotion_ns: int = 300 * NS_PER_MS
    plan_timeout_ns: int = 5 * NS_PER_S
    wake_ns: int = 0
    """How long an awaited process takes to run, at most."""


@dataclass(frozen=True, slots=True)
class DriftingClock:
    """CLOCK_BOOTTIME of one host: it starts anywhere and runs a little fast or slow."""

    offset_ns: int = NS_PER_S
    drift_ppm: int = 0

    def local_ns(self, true_ns: int) -> int:
        """Return what the host's clock shows at a true time."""
        return self.offset_ns + true_ns + true_ns * self.drift_ppm // PPM

    def true_ns(self, local_ns: int) -> int:
        """Return the first true time at which the clock shows *local_ns*."""
        true_ns = (local_ns - self.offset_ns) * PPM // (PPM + self.drift_ppm)
        while self.local_ns(true_ns) < local_ns:
            true_ns += 1
        return true_ns


@dataclass(slots=True)
class Host:
    """What is true on a host, whatever its daemon believes."""

    clock: DriftingClock = field(default_factory=DriftingClock)
    habits: Habits = field(default_factory=Habits)
    fate: PlanFate = PlanFate.SUCCEEDS
    disk: Persistent = field(default_factory=Persistent)
    epoch: int = 0
    has_link: bool = True
    has_mfsmaster: bool = False
    vip_until_ns: int = 0
    """True time until which the kernel keeps the address: it has a finite lifetime."""
    has_fence: bool = False
    """Whether the kernel lets traffic for the address through only as long as the lease was renewed for."""
    fence_until_ns: int = 0
    version: int = 1
    why_not: str = ""

    @property
    def freshness(self) -> Freshness | None:
        """Return what its files prove."""
        return None if self.why_not else Freshness(METAID, self.version)

    def holds_vip(self, now_ns: int) -> bool:
        """Tell whether the address is on the interface."""
        return now_ns < self.vip_until_ns

    def serves(self, now_ns: int) -> bool:
        """Tell whether clients can reach a mfsmaster here."""
        is_open = not self.has_fence or now_ns < self.fence_until_ns
        return self.has_link and self.has_mfsmaster and self.holds_vip(now_ns) and is_open

    def lose_power(self) -> None:
        """Forget what only lived in memory."""
        self.has_mfsmaster = False
        self.vip_until_ns = 0
        self.fence_until_ns = 0
