"""A simulated host below the daemon: its clock, disk, kernel and metadata, which survive what kills a process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from pycarpd.election.model import Freshness, Persistent
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S, Action, Agenda
from pycarpd.sim.clock import HostClock
from pycarpd.sim.files import DataPath

VIP_LIFETIME_NS = 2 * NS_PER_S


class PlanFate(Enum):
    """What becomes of the next promotions."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    HANGS = "hangs"
    STARTS_OTHER_FILES = "starts other files"
    CANNOT_BE_UNDONE = "cannot be undone"


class DoomMoment(Enum):
    """When, around a write, a host loses its power."""

    BEFORE = "before"
    TORN = "torn"
    AFTER = "after"


@dataclass(slots=True)
class Doom:
    """The host loses its power at one of its next writes."""

    writes_left: int
    moment: DoomMoment


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
    journal_ns: int = 0
    """How long a write of the takeover's journal takes."""


@dataclass(slots=True)
class Kernel:
    """What the kernel of a host lets through; times by the host's own clock."""

    vip_until_ns: int = 0
    """The address has a finite lifetime."""
    has_fence: bool = False
    """Whether there is a fence at all: where addresses were put by hand there is none at first."""
    fence_until_ns: int = 0

    def holds_vip(self, local_ns: int) -> bool:
        """Tell whether the address is on the interface."""
        return local_ns < self.vip_until_ns

    def attach(self, now_ns: int, *, has_fence: bool) -> None:
        """Put the address here; the fence, where there is to be one, is there before."""
        self.has_fence = self.has_fence or has_fence
        self.vip_until_ns = now_ns + VIP_LIFETIME_NS

    def renew(self, until_ns: int, now_ns: int) -> None:
        """Let the address and what passes the fence last as long as the lease."""
        if self.holds_vip(now_ns):
            self.vip_until_ns = until_ns + VIP_LIFETIME_NS
            self.fence_until_ns = until_ns

    def detach(self, *, has_fence: bool) -> None:
        """Take the address away and close the fence, which is installed where there was none."""
        self.has_fence = self.has_fence or has_fence
        self.vip_until_ns = self.fence_until_ns = 0

    def is_open(self, local_ns: int) -> bool:
        """Tell whether traffic for the address gets through, if the address is there."""
        return not self.has_fence or local_ns < self.fence_until_ns


@dataclass(slots=True)
class Host:
    """What is true on a host, whatever its daemon believes."""

    agenda: Agenda = field(default_factory=Agenda)
    clock: HostClock = field(default_factory=HostClock)
    habits: Habits = field(default_factory=Habits)
    fate: PlanFate = PlanFate.SUCCEEDS
    fateful_step: str = "start-mfsmaster"
    disk: Persistent = field(default_factory=Persistent)
    journal: bytes = b""
    disk_delay_ns: int = 0
    doom: Doom | None = None
    epoch: int = 0
    is_off: bool = False
    has_link: bool = True
    has_mfsmaster: bool = False
    is_hung: bool = False
    """mfsmaster is there and answers nobody."""
    starts: int = 0
    """How often a mfsmaster was started here."""
    has_metalogger: bool = True
    gate_until_ns: int = 0
    """Until when the gate keeps clients waiting, if nobody opens it before."""
    are_all_kept_out: bool = False
    """The gate lets nobody in, chunkservers neither."""
    kernel: Kernel = field(default_factory=Kernel)
    data: DataPath = field(default_factory=DataPath)
    plans: int = 0
    """How many plans were begun here: each has a label of its own."""
    expected_version: int = 0
    """What the plan that started mfsmaster had proved."""
    why_not: str = ""
    serving_term: int = 0
    """The term that mfsmaster was started for."""
    is_lagging: bool = False
    """Its metalogger gets nothing."""
    asked_until_ns: int = 0
    """Until when, by the host's clock, its adverts have asked for a lease."""
    excused_until_ns: int = 0
    """The same, of before it stood still last."""

    @property
    def is_excused(self) -> bool:
        """Tell whether what is open here was granted before a standstill: no clock of this host can know better.

        Bounded by the lease that was asked for then; a lease that was asked for later is no excuse.
        """
        return self.now_ns < self.excused_until_ns and self.kernel.fence_until_ns <= self.excused_until_ns

    @property
    def now_ns(self) -> int:
        """Return what the host's clock shows."""
        return self.clock.local_ns(self.agenda.now_ns)

    def after(self, delay_ns: int, action: Action) -> None:
        """Plan an action by the host's clock."""
        self.clock.after(self.agenda, delay_ns, action)

    def until_ns(self, local_ns: int) -> int:
        """Return how long it is until the host's clock shows *local_ns*."""
        return max(0, self.clock.true_ns(local_ns) - self.agenda.now_ns)

    @property
    def is_gate_closed(self) -> bool:
        """Tell whether clients are kept waiting."""
        return self.now_ns < self.gate_until_ns

    @property
    def version(self) -> int:
        """Return the version of the newest copy here, 0 without one."""
        best = self.data.best
        return best.version if best is not None else 0

    @property
    def refusal(self) -> str:
        """Return what speaks against promoting this host, empty for nothing."""
        best = self.data.best
        if self.why_not or best is None:
            return self.why_not or "there is no metadata here"
        return "" if best.is_whole else "a gap in its changelogs"

    @property
    def freshness(self) -> Freshness | None:
        """Return what its files prove."""
        best = self.data.best
        return None if self.refusal or best is None else Freshness(best.metaid, best.version)

    @property
    def holds_vip(self) -> bool:
        """Tell whether the address is on the interface."""
        return self.kernel.holds_vip(self.now_ns)

    @property
    def is_reachable(self) -> bool:
        """Tell whether anybody who asks for the address is answered from here."""
        if not self.kernel.vip_until_ns or not self.has_link or self.clock.stands_since_ns is not None:
            return False
        now_ns = self.now_ns
        return self.kernel.holds_vip(now_ns) and self.kernel.is_open(now_ns)

    @property
    def serves(self) -> bool:
        """Tell whether anybody can reach a mfsmaster here."""
        return self.has_mfsmaster and not self.is_hung and self.is_reachable and not self.are_all_kept_out

    def lose_power(self) -> None:
        """Forget what only lived in memory."""
        self.has_mfsmaster = self.is_hung = self.are_all_kept_out = False
        self.gate_until_ns = 0
        self.has_metalogger = self.is_off = True
        self.kernel = Kernel()

    def write(self, put: Callable[[], None], tear: Callable[[], None] | None = None) -> bool:
        """Let something reach the disk; False when the host has lost its power at it."""
        doom = self.doom
        if doom is None:
            put()
            return True
        doom.writes_left -= 1
        if doom.writes_left > 0:
            put()
            return True
        self.doom = None
        if doom.moment is DoomMoment.AFTER:
            put()
        elif doom.moment is DoomMoment.TORN and tear is not None:
            tear()
        return False
