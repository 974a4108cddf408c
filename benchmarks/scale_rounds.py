"""One promotion of a file system of a given size, and the bare start of mfsmaster on the same files right afterwards.

The master's host crashes; a client that asks without a pause is answered by the new mfsmaster, at the address, with the
version that the old one had: that moment is the figure, as the distance from the crash and from the new master's first
claim on the wire. Then everything is ended, the files that the standby had preserved are copied to a directory of their
own on the same host, and the time from ``mfsmaster -a start`` to its first answer is taken there in the same way.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.asker import Answer, read_answers
from benchmarks.scale_files import Image, give, write_tail
from benchmarks.takeover import newest_steps
from netns.capture import Capture
from netns.cluster import FIRST, Cluster
from netns.commands import LaboratoryError, boottime_ns, eventually, must
from netns.faults import inject
from netns.owner import Owner
from netns.topology import SWITCH, VIP
from pycarpd.moosefs.metadata import MetadataWalk, walk

READY_WITHIN_S: Final = 180.0
ANSWER_WITHIN_S: Final = 180.0
SETTLE_S: Final = 4.0
SETTLE_LINES_PER_S: Final = 300_000
"""So long the standbys go on copying what they may need, as they do in all the hours between two crashes."""
NS_PER_MS: Final = 1_000_000
_SELF_MADE_MAX: Final = 10
"""Changes that an idle mfsmaster makes by itself between two answers."""
_LOOPBACK: Final = "127.0.0.1"
_MASTER_LOG: Final = "changelog.0.mfs"
_METALOGGER_LOG: Final = "changelog_ml.0.mfs"


@dataclass(frozen=True, slots=True)
class Point:
    """One size: about so many inodes in the base, and so many changes behind it."""

    inodes: int
    lines: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """One promotion beside a bare start, in milliseconds.

    ``served_ms`` is counted from the new master's first claim on the wire, ``crash_ms`` from the crash; ``bare_ms``
    from the start of ``mfsmaster -a start`` to its first answer.
    """

    inodes: int
    lines: int
    number: int
    metadata_bytes: int
    host: str
    claimed_ms: float
    served_ms: float
    crash_ms: float
    bare_ms: float
    version: int
    steps_ms: dict[str, int]
    kind: str = field(default="promotion")

    @property
    def ratio(self) -> float:
        """Return how many times a bare start the promotion took."""
        return self.served_ms / self.bare_ms

    @property
    def crash_ratio(self) -> float:
        """Return the same, detection and election included."""
        return self.crash_ms / self.bare_ms


class Bench:
    """One cluster on which promotions of any size follow each other, each from the very beginning."""

    def __init__(self, cluster: Cluster, owner: Owner) -> None:
        self._cluster = cluster
        self._owner = owner
        self._count = 0

    def rounds(self, point: Point, image: Image, rounds: int) -> Iterator[Promotion]:
        """Yield the promotions of one size."""
        tail = self._owner.directory / "tail"
        write_tail(tail, image, point.lines, int(time.time()))
        for number in range(1, rounds + 1):
            yield self._round(point, image, tail, number)

    def _round(self, point: Point, image: Image, tail: Path, number: int) -> Promotion:
        self._count += 1
        try:
            self._prepare(image, tail if point.lines else None)
            time.sleep(SETTLE_S + point.lines / SETTLE_LINES_PER_S)
            before, claimed_ns, began_ns, first = self._crash(image.header.version + point.lines)
            host = next(iter(self._cluster.moosefs.serving_hosts()))
            steps = newest_steps(self._cluster.daemons.log(host))
        finally:
            self._end()
        preserved = self._preserved(host)
        bare_ns = self._bare(host, preserved, before)
        base = walk(image.metadata)
        return Promotion(
            inodes=base.inode_count if isinstance(base, MetadataWalk) else point.inodes,
            lines=point.lines,
            number=number,
            metadata_bytes=image.metadata.stat().st_size,
            host=host,
            claimed_ms=_ms(claimed_ns - began_ns),
            served_ms=_ms(first.at_ns - claimed_ns),
            crash_ms=_ms(first.at_ns - began_ns),
            bare_ms=_ms(bare_ns),
            version=first.version,
            steps_ms=steps,
        )

    def _prepare(self, image: Image, tail: Path | None) -> None:
        """Give m1 the file system, the standbys what their metaloggers would have received, and start pycarpd."""
        hosts, moosefs = self._cluster.daemons.hosts, self._cluster.moosefs
        for host in hosts:
            _empty(moosefs.data_path(host))
            _empty(self._cluster.topology.host_directory(host) / "state")
            self._cluster.daemons.log(host).unlink(missing_ok=True)
            if tail is not None:
                name = _MASTER_LOG if host == FIRST else _METALOGGER_LOG
                give(tail, moosefs.data_path(host) / name)
        give(image.metadata, moosefs.data_path(FIRST) / "metadata.mfs")
        for host in hosts:
            self._cluster.daemons.start(host)
        master = self._cluster.wait_ready(READY_WITHIN_S)
        if master != FIRST:
            raise LaboratoryError(f"{master} was elected, though only {FIRST} has a base")

    def _crash(self, version: int) -> tuple[Answer, int, int, Answer]:
        """Crash m1; return its last answer, the claim's moment, the crash's, and the new master's first answer."""
        capture = Capture(self._cluster.topology, self._owner, f"scale-{self._count}")
        client = self._cluster.clients[0]
        log = self._owner.directory / f"answers-{self._count}.jsonl"
        self._cluster.helper(client, "benchmarks.asker", VIP, str(log), log="asker.log")
        try:
            eventually(lambda: read_answers(log), READY_WITHIN_S, "m1 answers at the address")
            began_ns = inject(self._cluster, "crash", FIRST).at_ns
            cut_ns = boottime_ns()  # what is answered to a later question, m1 has not answered
            first = eventually(
                lambda: _first_after(log, cut_ns), ANSWER_WITHIN_S, "a new master answers at the address", every_s=0.5
            )
        finally:
            log_text = read_answers(log)
            log.unlink(missing_ok=True)
            capture.close()
        before = [answer for answer in log_text if answer.at_ns < began_ns][-1]
        claims = (s.at_ns for s in capture.sightings() if s.claims and s.host != FIRST and s.at_ns > began_ns)
        claimed_ns = next(claims, None)
        if claimed_ns is None or not version <= before.version <= first.version <= before.version + _SELF_MADE_MAX:
            raise LaboratoryError(f"not a promotion of version {version}: {before}, then {first}")
        return before, claimed_ns, began_ns, first

    def _end(self) -> None:
        """End everything on every metadata host, and bring links and neighbour tables back to the beginning."""
        topology, daemons = self._cluster.topology, self._cluster.daemons
        for host in daemons.hosts:
            topology.kill_everything(host)
        for host in daemons.hosts:
            topology.forget_kernel_state(host)
            topology.set_port(host, is_up=True)
            topology.unfilter(SWITCH, f"cut_{host}")
        for client in self._cluster.clients:  # that knows where the address was last
            topology.forget_kernel_state(client)

    def _preserved(self, host: str) -> Path:
        """Return the directory with the files that the promotion began with."""
        kept = self._cluster.moosefs.data_path(host) / "pycarpd" / "preserved"
        return max(kept.iterdir(), key=lambda path: path.name)

    def _bare(self, host: str, preserved: Path, before: Answer) -> int:
        """Return the nanoseconds from a bare start on copies of those files to its first answer."""
        scratch = self._cluster.topology.host_directory(host) / "bare"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o755)
        for path in preserved.iterdir():
            give(path, scratch / path.name)
        shutil.chown(scratch, "mfs", "mfs")
        etc = self._cluster.moosefs.etc(host)
        config = etc / "bare.cfg"
        text = (etc / "mfsmaster.cfg").read_text().replace(str(self._cluster.moosefs.data_path(host)), str(scratch))
        config.write_text(text)
        log = self._owner.directory / f"bare-{self._count}.jsonl"
        asker = self._cluster.topology.inside_net(host)
        self._cluster.helper(host, "benchmarks.asker", _LOOPBACK, str(log), log="asker.log")
        try:
            eventually(log.exists, READY_WITHIN_S, f"a client of {host} asks")
            began_ns = boottime_ns()
            must(*asker, "mfsmaster", "-c", str(config), "-a", "start", timeout_s=ANSWER_WITHIN_S)
            first = eventually(lambda: _first_after(log, began_ns), ANSWER_WITHIN_S, "the bare mfsmaster answers")
        finally:
            log.unlink(missing_ok=True)
            self._cluster.topology.kill_everything(host)
            shutil.rmtree(scratch, ignore_errors=True)
        if not before.version <= first.version <= before.version + _SELF_MADE_MAX:
            raise LaboratoryError(f"the bare start serves version {first.version}, not {before.version}")
        return first.at_ns - began_ns


def _first_after(log: Path, began_ns: int) -> Answer | None:
    return next((answer for answer in read_answers(log) if answer.asked_ns > began_ns), None)


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _ms(duration_ns: int) -> float:
    return round(duration_ns / NS_PER_MS, 1)
