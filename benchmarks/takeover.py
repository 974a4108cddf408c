"""Crash of the master's host to the next completed write, contenders in turn on one stand.

Every figure is taken from outside: frames on the switch, addresses as netlink tells them, and the log of writers that
create, write, fsync and close small files through real mounts. A crash is the switch passing no more of the host's
frames, then SIGKILL to all of its processes, at a moment drawn anew each time, so that no contender's timers, nor the
chunkservers' one-second reconnection grid, are favoured.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.contenders import Contender, Entry
from benchmarks.stand import FIRST, Stand
from netns.capture import Capture
from netns.commands import LaboratoryError, boottime_ns
from netns.faults import inject
from netns.timeline import Takeover, takeover
from netns.writer import Writer, read_log

SERIES_PER_CLIENT: Final = 2
"""When a master dies between locking a chunk and telling its writer so, that one file waits for up to two minutes."""
FILES_BEFORE: Final = 40
FILES_WITHIN_S: Final = 30.0
GIVE_UP_S: Final = 45.0
SETTLE_S: Final = 1.2
"""Longer than a metalogger keeps changes in its buffer."""
NS_PER_MS: Final = 1_000_000
_TEXT_MAX: Final = 2000
_ERRORS_KEPT: Final = 5
_POLL_S: Final = 0.4
"""Looking reads a whole capture, on the processors that mfsmaster loads its metadata with."""
_STEP: Final = re.compile(r"plan=promote term=(\d+) step=(\S+) verb=run ms=(\d+)")


@dataclass(frozen=True, slots=True)
class Crash:
    """One crash; milliseconds from it, None for what was not seen within GIVE_UP_S.

    ``written_ms``: the first create+write+fsync completed after it; ``all_written_ms``: when every client had completed
    one. ``serving``: on how many hosts a mfsmaster runs afterwards.
    """

    contender: str
    number: int
    new_owner: str | None
    phases_ms: dict[str, float | None]
    garp_ms: float | None
    written_ms: float | None
    all_written_ms: float | None
    serving: int
    errors: int
    trouble: str = ""
    """What went wrong with the turn itself, such as a m1 that did not serve before (``was_crashed`` is False then)."""
    was_crashed: bool = True
    error_texts: tuple[str, ...] = ()
    """The first of the errors that clients were given."""
    steps_ms: dict[str, int] = field(default_factory=dict)
    """How long each step of pycarpd's plan took, in its own words; they explain, and are no figures."""
    kind: str = field(default="crash")


def run_turns(stand: Stand, entries: tuple[Entry, ...], crashes: int, seed: int, limit_s: float) -> Iterator[Crash]:
    """Yield every crash, contenders in turn; after *limit_s* no further round is begun."""
    contenders = {entry.name: entry.make(stand) for entry in entries}
    deadline = time.monotonic() + limit_s
    for number in range(1, crashes + 1):
        for entry in entries:
            yield _turn(stand, contenders[entry.name], entry.name, number, phase_of(seed, number, entry.name))
        if time.monotonic() > deadline:
            return


def phase_of(*words: object) -> float:
    """Return a part of a second that follows from the words, spread evenly."""
    return int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=4).digest()) / 2**32


def _turn(stand: Stand, contender: Contender, name: str, number: int, phase_s: float) -> Crash:
    try:
        contender.start()
        stand.wait_served()
        crash = _crash(stand, name, number, phase_s)
    except LaboratoryError as error:
        crash = _no_figures(name, number, error, was_crashed=False)
    finally:
        contender.stop()
        stand.level()
    return crash


def _no_figures(name: str, number: int, error: LaboratoryError, *, was_crashed: bool, errors: int = 0) -> Crash:
    return Crash(name, number, None, {}, None, None, None, 0, errors, str(error)[:_TEXT_MAX], was_crashed)


def _crash(stand: Stand, name: str, number: int, phase_s: float) -> Crash:
    cluster = stand.cluster
    mounts = [cluster.mounts[client] for client in cluster.clients for _ in range(SERIES_PER_CLIENT)]
    writer = Writer(stand.owner, mounts[0], f"w-{name}-{number}", others=tuple(mounts[1:]))
    capture = stand.capture(f"{name}-{number}")
    try:
        writer.wait_for(FILES_BEFORE, FILES_WITHIN_S)
        time.sleep(SETTLE_S + phase_s)
        began_ns = inject(cluster, "crash", FIRST).at_ns
        trouble: LaboratoryError | None = None
        serving = 0
        try:
            _wait(stand, capture, writer, began_ns)
            serving = len(cluster.moosefs.serving_hosts())
        except LaboratoryError as error:  # it was crashed, so it counts, though nobody knows as what
            trouble = error
    finally:
        report = writer.stop()
        capture.close()
    if trouble is not None:
        return _no_figures(name, number, trouble, errors=len(report.errors), was_crashed=True)
    seen = _seen(stand, capture, writer, began_ns)
    phases = seen.phases_ms
    moments = [None if at is None else round((at - began_ns) / NS_PER_MS, 1) for at in _firsts(stand, writer, seen)]
    done = [each for each in moments if each is not None]
    return Crash(
        name,
        number,
        seen.new_owner,
        phases,
        phases["first gratuitous ARP"],
        min(done, default=None),
        max(done) if len(done) == len(moments) else None,
        serving,
        len(report.errors),
        error_texts=tuple(text[:_TEXT_MAX] for text in report.errors[:_ERRORS_KEPT]),
        steps_ms=_steps(stand, seen.new_owner) if name.startswith("pycarpd") else {},
    )


def _steps(stand: Stand, host: str | None) -> dict[str, int]:
    return {} if host is None else newest_steps(stand.cluster.daemons.log(host))


def newest_steps(log: Path) -> dict[str, int]:
    """Return the milliseconds of each step of the newest promotion in a log of pycarpd."""
    found = _STEP.findall(log.read_text(errors="replace"))
    newest = max((int(term) for term, _step, _ms in found), default=0)
    return {step: int(ms) for term, step, ms in found if int(term) == newest}


def _seen(stand: Stand, capture: Capture, writer: Writer, began_ns: int) -> Takeover:
    return takeover(began_ns, capture.sightings(), stand.cluster.changes(), read_log(writer.log)[0])


def _firsts(stand: Stand, writer: Writer, seen: Takeover) -> list[int | None]:
    """Return for each client when its first write through the new owner was completed; series are told by letter."""
    files = read_log(writer.log)[0]
    firsts: list[int | None] = []
    for client in range(len(stand.cluster.clients)):
        letters = {chr(ord("a") + client * SERIES_PER_CLIENT + series) for series in range(SERIES_PER_CLIENT)}
        moments = (f.done_ns for f in files if f.name[0] in letters)
        firsts.append(next((at for at in moments if seen.accepted_ns is not None and at > seen.accepted_ns), None))
    return firsts


def _wait(stand: Stand, capture: Capture, writer: Writer, began_ns: int) -> None:
    """Wait until every client writes again through a new owner of the VIP, or for GIVE_UP_S."""
    deadline_ns = began_ns + round(GIVE_UP_S * 1e9)
    while boottime_ns() < deadline_ns:
        if None not in _firsts(stand, writer, _seen(stand, capture, writer, began_ns)):
            return
        time.sleep(_POLL_S)
