"""False takeovers on a busy machine: whole pycarpd clusters and keepalived side by side, while busy loops run.

Nothing ever fails in this measurement, so every time the VIP comes to another host is a false takeover. Both are
judged from outside: the VIP by the kernels' netlink, the adverts by captures on the switches. How late an advert is
counts from the one before it and the interval; both speak at the same interval and give up after three missed ones and
a skew.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from netns.capture import Sighting
from netns.cluster import Cluster, Options
from netns.commands import boottime_ns, bound_to_parent, spawn
from netns.keepalived import Keepalived
from netns.owner import Owner
from netns.pycarpd import Settings
from netns.topology import VIP
from netns.watch import Change

HOSTS: Final = 3
INTERVAL_MS: Final = {"default": 250, "fast": 10}
BUCKETS_MS: Final = (0.5, 1, 2, 5, 10, 20, 50, 100, 250, 500, 1000)
"""Upper bounds; one further bucket takes what is later."""
_LOOK_EVERY_S: Final = 0.5
_REPOSITORY: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Result:
    """What one of the two did in the time: counts, and how late the master's adverts were, by bucket.

    ``takeovers``: the VIP came to a host that had not had it last. ``interruptions``: it went and came back to the same
    host. ``two_ms``: how long two hosts had it. ``late_ms_max``: the latest advert.
    """

    who: str
    profile: str
    interval_ms: int
    seconds: float
    hogs: int
    takeovers: int
    interruptions: int
    two_ms: float
    adverts: int
    late_ms_max: float
    late_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """How far the measurement is."""

    elapsed_s: float
    done: bool = False
    results: tuple[Result, ...] = ()


def measure(profile: str, seconds: float, hogs: int) -> Iterator[Moment]:
    """Measure for so long and yield now and then how far it is; the last one has the results of both."""
    interval_ms = INTERVAL_MS[profile]
    with ExitStack() as stack:
        ours, theirs = stack.enter_context(Owner(handle_signals=True)), stack.enter_context(Owner())
        cluster = Cluster.build(ours, Options(hosts=HOSTS, clients=1, settings=Settings(profile, "majority")))
        cluster.start()
        group = Keepalived.start(theirs, HOSTS, interval_ms, is_realtime=profile == "fast")
        argv = bound_to_parent([sys.executable, "-m", "netns.hog"])
        loops = [ours.adopt(spawn(argv, ours.directory / "hog.log", cwd=_REPOSITORY)) for _ in range(hogs)]
        began_ns, began = boottime_ns(), time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            yield Moment(elapsed)
            time.sleep(min(_LOOK_EVERY_S, max(0.0, seconds - elapsed)))
        ended_ns = boottime_ns()
        for loop in loops:
            loop.kill()
        span = _Span(profile, interval_ms, hogs, began_ns, ended_ns)
        seen = cluster.capture.sightings() if cluster.capture is not None else []
        yield Moment(
            seconds,
            done=True,
            results=(
                span.judge("pycarpd", seen, cluster.changes()),
                span.judge("keepalived", group.capture.sightings(), group.changes()),
            ),
        )


@dataclass(frozen=True, slots=True)
class _Span:
    profile: str
    interval_ms: int
    hogs: int
    began_ns: int
    ended_ns: int

    def judge(self, who: str, sightings: list[Sighting], changes: list[Change]) -> Result:
        vip = [c for c in changes if c.detail == VIP and c.at_ns <= self.ended_ns]
        before = [c for c in vip if c.at_ns <= self.began_ns]
        during = [c for c in vip if c.at_ns > self.began_ns]
        takeovers, interruptions, two_ns = _movements(before, during, self.ended_ns)
        late = sorted(self._lateness(sightings))
        return Result(
            who=who,
            profile=self.profile,
            interval_ms=self.interval_ms,
            seconds=round((self.ended_ns - self.began_ns) / 1e9, 1),
            hogs=self.hogs,
            takeovers=takeovers,
            interruptions=interruptions,
            two_ms=round(two_ns / 1e6, 1),
            adverts=len(late),
            late_ms_max=round(late[-1], 2) if late else 0.0,
            late_counts=histogram(late),
        )

    def _lateness(self, sightings: list[Sighting]) -> Iterator[float]:
        claims = [s for s in sightings if s.claims and self.began_ns < s.at_ns <= self.ended_ns]
        for earlier, later in pairwise(claims):
            if earlier.host == later.host:
                yield max(0.0, (later.at_ns - earlier.at_ns) / 1e6 - self.interval_ms)


def _movements(before: list[Change], during: list[Change], ended_ns: int) -> tuple[int, int, int]:
    """Return how often the VIP moved, how often it came back to where it was, and how long two hosts had it (ns)."""
    holders: set[str] = set()
    last = ""
    for change in before:
        (holders.add if change.what == "address-added" else holders.discard)(change.host)
        last = change.host if change.what == "address-added" else last
    takeovers = interruptions = two_ns = 0
    since_ns = None
    for change in during:
        is_added = change.what == "address-added"
        (holders.add if is_added else holders.discard)(change.host)
        takeovers += is_added and change.host != last
        interruptions += is_added and change.host == last
        last = change.host if is_added else last
        if len(holders) > 1 and since_ns is None:
            since_ns = change.at_ns
        elif len(holders) <= 1 and since_ns is not None:
            two_ns, since_ns = two_ns + change.at_ns - since_ns, None
    return takeovers, interruptions, two_ns + (ended_ns - since_ns if since_ns is not None else 0)


def histogram(late_ms: list[float]) -> tuple[int, ...]:
    """Return how many fall into each of the buckets, the open one last."""
    counts = [0] * (len(BUCKETS_MS) + 1)
    for late in late_ms:
        counts[next((n for n, bound in enumerate(BUCKETS_MS) if late <= bound), len(BUCKETS_MS))] += 1
    return tuple(counts)
