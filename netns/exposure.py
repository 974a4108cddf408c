"""The scenarios of split brain, and the table of what each exposed: `./netns/lab exposure`.

Exposure is the time in which two hosts answered for the VIP, by ARP or on 9421, seen in a capture on the switch while
every host is asked every five milliseconds at its own port. A host that is fenced answers nobody, whatever its
processes believe. Each group of scenarios has a cluster of its own.
"""

import json
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rich.table import Table

from netns.commands import LaboratoryError, boottime_ns, eventually
from netns.faults import find
from netns.owner import Owner
from netns.pycarpd import Settings
from netns.theatre import Outcome, Play, Theatre

OURS: Final = ("supervisor", "heartbeat", "worker")
MINORITY_S: Final = 6.0
_FLAP_S: Final = 0.4
_PAUSES_S: Final = (0.5, 2.0, 10.0)
_MIDDLE_S: Final = 2.0
_ENDED_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Group:
    """A kind of cluster: so many hosts, and how they decide."""

    name: str
    hosts: int
    settings: Settings

    def build(self, owner: Owner) -> Theatre:
        """Build the cluster and its witnesses."""
        return Theatre.build(owner, self.settings, self.hosts)


THREE: Final = Group("three hosts", 3, Settings(arbiter="majority"))
WITNESS: Final = Group("two hosts and a witness", 3, Settings(arbiter="majority", witnesses=("m3",)))
ALONE: Final = Group("two hosts, arbiter none", 2, Settings(arbiter="none"))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario; ``is_long`` leaves it to the long run.

    ``can_split``: two masters are to be expected. ``may_lose``: a client may be acknowledged files that were under way,
    beside the old master in the rest of the lease, or an instant before its link goes and the metaloggers hear of them.
    ``may_return``: the old master may be elected again meanwhile.
    """

    name: str
    group: Group
    act: Callable[[Play], None]
    is_long: bool = False
    can_split: bool = False
    may_lose: bool = False
    may_return: bool = False


def _partition(play: Play) -> None:
    """Cut the master and a client off from all others."""
    play.inject("partition", play.cluster.clients[1])
    play.await_successor()
    play.sleep_until(MINORITY_S)
    play.heal("partition")
    _await_end_of(play)


def _cut_one_way(direction: str, play: Play) -> None:
    play.inject("cut-one-way", direction)
    play.await_successor()
    play.sleep_until(MINORITY_S)
    play.heal("cut-one-way", direction)
    _await_end_of(play)


def _stopped(what: tuple[str, ...], seconds: float, play: Play) -> None:
    pids = play.theatre.pids(play.master, *what)
    play.cluster.topology.send_signal(signal.SIGSTOP, pids)
    play.sleep_until(seconds)
    play.cluster.topology.send_signal(signal.SIGCONT, pids)


def _frozen(seconds: float, play: Play) -> None:
    play.inject("freeze")
    play.sleep_until(seconds)
    play.heal("freeze")


def _killed(play: Play) -> None:
    play.cluster.topology.send_signal(signal.SIGKILL, play.theatre.pids(play.master, *OURS))
    play.await_successor()
    if not find(play.cluster, play.master, "mfsmaster"):
        raise LaboratoryError(f"mfsmaster on {play.master} was to be left alone")
    play.cluster.daemons.start(play.master)
    _await_end_of(play)


def _flapping(seconds: float, play: Play) -> None:
    dice = random.SystemRandom()
    while boottime_ns() - play.began_ns < seconds * 1e9:
        play.inject("link-down")
        play.sleep_until((boottime_ns() - play.began_ns) / 1e9 + dice.uniform(_FLAP_S, 3 * _FLAP_S))
        play.heal("link-down")
        play.sleep_until((boottime_ns() - play.began_ns) / 1e9 + dice.uniform(_FLAP_S, 3 * _FLAP_S))


def _await_end_of(play: Play) -> None:
    """Wait until the old master's mfsmaster is ended: somebody else was elected."""

    def is_ended() -> bool:
        return not find(play.cluster, play.master, "mfsmaster")

    eventually(is_ended, _ENDED_WITHIN_S, f"mfsmaster on {play.master} is ended", every_s=0.1)


def _pauses() -> Iterator[Scenario]:
    for seconds in _PAUSES_S:
        stop_all = partial(_stopped, OURS, seconds)
        yield Scenario(
            f"heartbeat stopped {seconds:g} s", THREE, partial(_stopped, ("heartbeat",), seconds), is_long=True
        )
        yield Scenario(f"all of pycarpd stopped {seconds:g} s", THREE, stop_all, is_long=seconds != _MIDDLE_S)
        yield Scenario(f"host frozen {seconds:g} s", THREE, partial(_frozen, seconds), is_long=seconds == _MIDDLE_S)


SCENARIOS: Final = (
    Scenario("partition: master and a client in the minority", THREE, _partition, may_lose=True),
    Scenario("one-way cut: nothing leaves the master", THREE, partial(_cut_one_way, "out")),
    Scenario("one-way cut: nothing reaches the master", THREE, partial(_cut_one_way, "in")),
    *_pauses(),
    Scenario("kill -9 of everything but mfsmaster", THREE, _killed),
    Scenario("link flaps for 15 s", THREE, partial(_flapping, 15.0), may_return=True, may_lose=True),
    Scenario("link flaps for 60 s", THREE, partial(_flapping, 60.0), is_long=True, may_return=True, may_lose=True),
    Scenario("partition, a witness on the standby's side", WITNESS, _partition, may_lose=True),
    Scenario("partition, arbiter none: both serve", ALONE, _partition, can_split=True, may_lose=True),
)


def chosen(words: str = "", *, is_long: bool) -> list[Scenario]:
    """Return the scenarios whose names have *words* in them; without *is_long* the short run's only."""
    return [s for s in SCENARIOS if words in s.name and (is_long or not s.is_long)]


def run(scenarios: list[Scenario], log: Path | None, say: Callable[[str], None]) -> Iterator[Outcome]:
    """Play scenarios, those of one group on one cluster, and yield what was seen of each; JSON lines in *log*."""
    for group in dict.fromkeys(scenario.group for scenario in scenarios):
        with Owner(handle_signals=True) as owner:
            say(f"building {group.name}")
            theatre = group.build(owner)
            for scenario in scenarios:
                if scenario.group == group:
                    say(scenario.name)
                    outcome = theatre.play(scenario.name, scenario.act)
                    if log is not None:
                        with log.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(asdict(outcome)) + "\n")
                    yield outcome


def table(outcomes: list[Outcome]) -> Table:
    """Return the table of exposures."""
    drawn = Table(title="exposure: how long two hosts answered for the VIP")
    drawn.add_column("scenario")
    for column in ("exposure", "old master until", "new one from", "client waited", "files", "lost"):
        drawn.add_column(column, justify="right")
    for each in outcomes:
        moments = ["" if at is None else f"{at:.0f} ms" for at in (each.old_until_ms, each.new_from_ms)]
        exposure = "0" if each.exposure_ms == 0 else f"{each.exposure_ms:.1f} ms"
        drawn.add_row(each.scenario, exposure, *moments, f"{each.gap_ms:.0f} ms", str(each.files), str(each.lost))
    return drawn
