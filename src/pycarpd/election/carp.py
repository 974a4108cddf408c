"""Classic CARP, as ucarp plays it: INIT, BACKUP, MASTER, two scripts, and nobody who votes. Pure, like the Elector.

For hosts that run ucarp's scripts and nothing of MooseFS (``pycarpd ucarp``). The rules are ucarp's own: who compares
better by (advbase, advskew), then by address, is master; a backup takes over after its own master-down interval, or at
once when a master says that its next advert would come later than that. Kept out is what made ucarp dangerous: an
advert goes out before the script has ended, so that a slow script makes no second master; scripts never overlap; who
gives up says so (255/255); and who wakes up late listens before it takes over.

Rules for callers: drain the receive queue before ``Ticked``; carry out effects in order; run one script at a time and
say ``ScriptEnded``, at once where there is no script.

Source: ucarp 1.5.2, carp.c (the state machine) and spawn.c (the scripts).
"""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from pycarpd.election.claims import plain_standing
from pycarpd.election.model import TieBreak
from pycarpd.election.timing import DEMOTION_FULL, NS_PER_S

RESIGN = 255
FAILURES_MAX = 3
"""Failed sends in a row after which a node takes itself for ill, and good ones after which it does so no more."""
ADVERTS_TO_SECOND_ANNOUNCEMENT = 2
DEMOTED_FOR_NS = 3 * NS_PER_S


class State(Enum):
    """What a node is; the value is the word in ucarp's log."""

    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"


class Script(Enum):
    """Which of the two scripts is to be run."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Rules:
    """ucarp's options that the election depends on; ``source`` is the own packed address."""

    advbase: int
    advskew: int
    dead_ratio: int
    preempt: bool
    neutral: bool
    source: bytes

    @property
    def interval_ns(self) -> int:
        """Return the time between two adverts."""
        return interval_ns(self.advbase, self.advskew)

    @property
    def master_down_ns(self) -> int:
        """Return after which silence a master is taken for dead; the ratio multiplies advbase alone."""
        return self.dead_ratio * self.advbase * NS_PER_S + self.advskew * NS_PER_S // 256


@dataclass(frozen=True, slots=True)
class Heard:
    """A genuine advert of somebody else."""

    advbase: int
    advskew: int
    source: bytes


@dataclass(frozen=True, slots=True)
class Ticked:
    """The deadline has come, so much later than planned."""

    late_ns: int = 0


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """The interface can be used, or cannot."""

    is_up: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """An advert has left, or was refused by the kernel."""

    is_ok: bool


@dataclass(frozen=True, slots=True)
class ScriptEnded:
    """The script that was asked for last has ended, or there is none."""


@dataclass(frozen=True, slots=True)
class DemotionAsked:
    """Somebody wants another master (SIGUSR2)."""


@dataclass(frozen=True, slots=True)
class EndAsked:
    """The node shall end, behind its downscript."""


Event = Heard | Ticked | LinkSeen | Sent | ScriptEnded | DemotionAsked | EndAsked


@dataclass(frozen=True, slots=True)
class SendAdvert:
    """Advertise these two values."""

    advbase: int
    advskew: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Send gratuitous ARP for the virtual address."""


@dataclass(frozen=True, slots=True)
class RunScript:
    """Run that script; none runs at the moment."""

    script: Script


@dataclass(frozen=True, slots=True)
class Entered:
    """The state has changed."""

    state: State


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing is left to do."""


Effect = SendAdvert | Announce | RunScript | Entered | Ended


def interval_ns(advbase: int, advskew: int) -> int:
    """Return the time between two adverts of those values."""
    return advbase * NS_PER_S + advskew * NS_PER_S // 256


class CarpNode:
    """One node's part in a group of ucarp hosts."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._effects: list[Effect] = []
        self._due_ns: int | None = None
        self._adverts_to_announcement = 0
        self._streak = 0
        self._is_ill = False
        self._has_listened = False
        self._running: Script | None = None
        self._wanted: Script | None = None
        self._owes_resignation = False
        self._is_ending = False
        self.state = State.INIT

    def next_deadline(self) -> int | None:
        """Return when to call with Ticked next, None if nothing is planned."""
        return self._due_ns

    def handle(self, event: Event, now_ns: int) -> tuple[Effect, ...]:
        """Take in one event and return what is to be done about it, in order."""
        self._effects = []
        match event:
            case ScriptEnded():
                self._on_script_ended()
            case Sent(is_ok=is_ok):
                self._count(is_ok=is_ok)
            case EndAsked():
                self._on_end(now_ns)
            case _ if self._is_ending:
                pass
            case Heard():
                self._on_heard(event, now_ns)
            case Ticked(late_ns=late_ns):
                self._on_time(late_ns, now_ns)
            case LinkSeen(is_up=is_up):
                self._on_link(now_ns, is_up=is_up)
            case DemotionAsked():
                self._on_demotion(now_ns)
            case _:
                assert_never(event)
        return tuple(self._effects)

    @property
    def _advskew(self) -> int:
        return max(self._rules.advskew, DEMOTION_FULL) if self._is_ill else self._rules.advskew

    def _on_heard(self, advert: Heard, now_ns: int) -> None:
        own = plain_standing(self._rules.advbase, self._advskew, self._rules.source)
        theirs = plain_standing(advert.advbase, advert.advskew, advert.source)
        if self.state is State.MASTER:
            if theirs.is_better_than(own, TieBreak.UCARP_LITTLE_ENDIAN):
                self._send(now_ns)  # "to be really sure the new master knows that it has to reassert control"
                self._become_backup(now_ns)
            else:
                self._send(now_ns)
                self._announce()
        elif self.state is State.BACKUP:
            is_slower = theirs.handicap > own.handicap
            will_time_out = interval_ns(advert.advbase, advert.advskew) > self._rules.master_down_ns
            if will_time_out or (self._rules.preempt and is_slower):
                self._become_master(now_ns)
            else:
                self._expect_master(now_ns)

    def _on_time(self, late_ns: int, now_ns: int) -> None:
        if self._due_ns is None or now_ns < self._due_ns:
            return
        if self.state is State.MASTER:
            self._send(now_ns)
            self._adverts_to_announcement -= 1
            if self._adverts_to_announcement == 0:
                self._effects.append(Announce())
        elif late_ns >= self._rules.interval_ns and not self._has_listened:
            self._has_listened = True  # it was this node that stood still, and a master has had no chance to be heard
            self._due_ns = now_ns + self._rules.interval_ns
        else:
            self._become_master(now_ns)

    def _on_link(self, now_ns: int, *, is_up: bool) -> None:
        if not is_up:
            if self.state is State.MASTER:
                self._become_backup(now_ns)
            self._due_ns = None
        elif self.state is State.INIT:
            self._enter(State.BACKUP)
            if not self._rules.neutral:
                self._run(Script.DOWN)
            self._expect_master(now_ns)
        elif self.state is State.BACKUP:
            self._expect_master(now_ns)

    def _on_demotion(self, now_ns: int) -> None:
        if self.state is State.MASTER:
            self._owes_resignation = True
            self._become_backup(now_ns)
            self._due_ns = now_ns + DEMOTED_FOR_NS + self._rules.master_down_ns

    def _on_end(self, now_ns: int) -> None:
        self._is_ending = True
        if self.state is State.MASTER:
            self._owes_resignation = True
            self._become_backup(now_ns)
        self._due_ns = None
        self._settle()

    def _on_script_ended(self) -> None:
        ended, self._running = self._running, None
        wanted, self._wanted = self._wanted, None
        if wanted not in (None, ended):
            self._run(wanted)
        elif self.state is State.MASTER and ended is Script.UP:
            self._announce()
        self._settle()

    def _settle(self) -> None:
        """Say what had to wait for the downscript: that this node has given the address up, and that it has ended."""
        if self._running is None and self._owes_resignation:
            self._owes_resignation = False
            self._effects.append(SendAdvert(RESIGN, RESIGN))
        if self._running is None and self._is_ending:
            self._effects.append(Ended())

    def _become_master(self, now_ns: int) -> None:
        self._enter(State.MASTER)
        self._owes_resignation = False
        self._send(now_ns)
        self._run(Script.UP)

    def _become_backup(self, now_ns: int) -> None:
        self._enter(State.BACKUP)
        self._adverts_to_announcement = 0
        self._run(Script.DOWN)
        self._expect_master(now_ns)

    def _enter(self, state: State) -> None:
        self.state = state
        self._effects.append(Entered(state))

    def _expect_master(self, now_ns: int) -> None:
        self._has_listened = False
        self._due_ns = now_ns + self._rules.master_down_ns

    def _send(self, now_ns: int) -> None:
        self._effects.append(SendAdvert(self._rules.advbase, self._advskew))
        self._due_ns = now_ns + self._rules.interval_ns

    def _announce(self) -> None:
        """Tell everybody where the address is, now and two adverts later, once the upscript has put it there."""
        if self._running is None:
            self._effects.append(Announce())
            self._adverts_to_announcement = ADVERTS_TO_SECOND_ANNOUNCEMENT

    def _run(self, script: Script) -> None:
        """Run a script, or behind the one that runs; what was to come in between has become pointless."""
        if self._running is not None:
            self._wanted = script
            return
        self._running = script
        self._effects.append(RunScript(script))

    def _count(self, *, is_ok: bool) -> None:
        self._streak = self._streak + 1 if is_ok == self._is_ill else 0
        if self._streak == FAILURES_MAX:
            self._streak = 0
            self._is_ill = not self._is_ill
