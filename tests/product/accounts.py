"""What a former master knew and its successor does not, read from the disks of both; and whether it explains a loss.

MooseFS streams changes to metaloggers without waiting for them, so what was on its way when a host died or was cut
off is lost, although the client was told that it is done. The lines of it stand in the former master's changelog,
which it archives when it comes back. A file may be missing because of such a line and for no other reason, but for
one: mfsmaster answers a client and passes the change on (to the process that writes its changelog, and to metaloggers)
in two turns of its loop. What it dies between is in no file of any host: that can only be what a writer was told last.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from netns.cluster import Cluster
from netns.writer import Acknowledged, Damage, Failure, Verdict

LIST = "lost-operations.txt"
EXISTS = "[Errno 17]"
_OWN = "changelog.*.mfs"
_ANSWERED_WITHIN_NS = 100_000_000
"""An answer that mfsmaster gave before it was killed is in the writer's log by then."""
_INODE = re.compile(r"\|(?:WRITE|LENGTH|TRUNC|ATTR|SETATTR)\((\d+),|\|CREATE\(.*\):(\d+)$")
"""The inode that an operation is about. Source: changelog lines of MooseFS 3.0.117."""

Lines = dict[int, str]


@dataclass(frozen=True, slots=True)
class Branch:
    """The changelog that one former master has left, and the lines in it that are no part of the master's history.

    That history is known from the line with the number ``since`` on: an hourly save makes older ones superfluous.
    """

    place: Path
    lost: tuple[str, ...]
    since: int

    def listed(self) -> tuple[str, ...] | None:
        """Return the lost operations as the host itself has listed them, None if it has not yet."""
        path = self.place / LIST
        if not path.exists():
            return None
        return tuple(line for line in path.read_text().splitlines() if int(line.partition(":")[0]) >= self.since)


def archives(cluster: Cluster) -> set[Path]:
    """Return the archives of all hosts."""
    data_paths = [cluster.moosefs.data_path(host) for host in cluster.daemons.hosts]
    return {path for data in data_paths for path in (data / "pycarpd" / "archive").glob("*")}


def branches(cluster: Cluster, master: str, older: set[Path]) -> list[Branch]:
    """Return what former masters have left since there were only the *older* archives, against the *master*'s own."""
    data_paths = {host: cluster.moosefs.data_path(host) for host in cluster.daemons.hosts}
    history = _lines_of(data_paths.pop(master))
    left = {place: _lines_of(place) for place in (*data_paths.values(), *sorted(archives(cluster) - older))}
    since = min(history, default=0)
    return [Branch(place, _beyond(lines, history, since), since) for place, lines in left.items() if lines]


def unexplained(verdict: Verdict, lost: list[str]) -> list[Damage]:
    """Return the damaged files of which no lost operation speaks."""
    return [damage for damage in verdict.damages if not _is_explained(damage, verdict.directory, lost)]


def told_last(files: list[Acknowledged], killed_ns: list[int]) -> set[str]:
    """Return which of the *files*, one writer's, was the last to be acknowledged each time mfsmaster was killed."""
    before = [[file for file in files if file.done_ns <= at_ns + _ANSWERED_WITHIN_NS] for at_ns in killed_ns]
    return {max(each, key=lambda file: file.done_ns).name for each in before if each}


def made_unheard(failures: list[Failure], files: list[Acknowledged], killed_ns: list[int]) -> set[str]:
    """Return which of the *failures* of one writer are files that were made, but whose answer died with mfsmaster.

    The client asks the successor again, and is told that the file exists (EEXIST): it was the first thing that the
    writer heard of after mfsmaster was killed.
    """
    heard = sorted([file.done_ns for file in files] + [failure.at_ns for failure in failures])
    first = {next((at for at in heard if at > killed + _ANSWERED_WITHIN_NS), None) for killed in killed_ns}
    return {failure.name for failure in failures if failure.at_ns in first and EXISTS in failure.error}


def speaks_of(name: str, directory: int, lost: list[str]) -> bool:
    """Tell whether that file of that directory was made by a lost operation."""
    return any(f"|CREATE({directory},{name}," in line for line in lost)


def _is_explained(damage: Damage, directory: int, lost: list[str]) -> bool:
    inodes = {number for line in lost for match in _INODE.finditer(line) for number in match.groups() if number}
    return speaks_of(damage.name, directory, lost) or (damage.inode != 0 and str(damage.inode) in inodes)


def _lines_of(place: Path) -> Lines:
    lines: Lines = {}
    for path in place.glob(_OWN):
        for line in path.read_text(errors="replace").splitlines(keepends=True):
            number, colon, _ = line.partition(": ")
            if colon and number.isdigit() and line.endswith("\n"):
                lines[int(number)] = line.rstrip("\n")
    return lines


def _beyond(lines: Lines, history: Lines, since: int) -> tuple[str, ...]:
    """Return the lines from the first one on that is another in the *history*, or that it never had."""
    parted = min((n for n, line in lines.items() if n >= since and history.get(n) != line), default=None)
    return tuple(line for n, line in sorted(lines.items()) if parted is not None and n >= parted)
