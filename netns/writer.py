"""A client that writes for its life, and the check that nothing acknowledged was lost.

``python -m netns.writer write LOG STOP DIRECTORY ...`` makes small files one after the other (create, write, fsync,
close) in each directory at the same time, until the file STOP appears; after each it appends a record to LOG, which
is outside the mounts. A record is the promise that the file was acknowledged. More than one directory, by the mounts
of several clients, is for what MooseFS itself does: when a master dies between locking a chunk and telling its client
so, the lock stays for two minutes, whoever takes over, and that client's file waits for it.

``python -m netns.writer verify DIRECTORY LOG`` reads every acknowledged file back and prints its verdict as JSON. A
file's content follows from its name, so a wrong byte is seen without a copy.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

from netns.commands import Completed, LaboratoryError, boottime_ns, bound_to_parent, eventually, run, spawn
from netns.owner import Owner

_SIZE_MAX: Final = 8192
_PAUSE_S: Final = 0.005
_AFTER_ERROR_S: Final = 0.05
_STUCK_AFTER_S: Final = 5.0
_VERIFY_WITHIN_S: Final = 120.0
_REPOSITORY: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A file that was written, synced and closed without an error; times are CLOCK_BOOTTIME."""

    name: str
    size: int
    sha256: str
    began_ns: int
    done_ns: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that the client was given an error for."""

    name: str
    error: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class WriterReport:
    """What a writer saw: how many files, the longest time without one, and the errors it was given.

    ``stuck`` counts files that were still waiting when the writer was told to stop.
    """

    acknowledged: int
    longest_gap_ms: float
    gap_began_ns: int
    gap_ended_ns: int
    errors: tuple[str, ...]
    stuck: int = 0


@dataclass(frozen=True, slots=True)
class Damage:
    """An acknowledged file that is lost, short or wrong; ``inode`` 0 where it is lost."""

    name: str
    fate: str
    inode: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the acknowledged files; ``directory`` is the inode of the one that they are in."""

    checked: int
    damages: tuple[Damage, ...] = ()
    directory: int = 0

    @property
    def lost(self) -> int:
        """Return how many files are not there."""
        return self._count("lost")

    @property
    def short(self) -> int:
        """Return how many files are cut short."""
        return self._count("short")

    @property
    def wrong(self) -> int:
        """Return how many files have another content."""
        return self._count("wrong")

    def counts(self) -> dict[str, int]:
        """Return how many files were checked, and how many of them are not as they were acknowledged, by fate."""
        return {"checked": self.checked, "lost": self.lost, "short": self.short, "wrong": self.wrong}

    def _count(self, fate: str) -> int:
        return sum(each.fate == fate for each in self.damages)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the verdict that the verifying process has printed."""
        fields = json.loads(text)
        return cls(fields["checked"], tuple(Damage(**each) for each in fields["damages"]), fields["directory"])

    @property
    def is_good(self) -> bool:
        """True when every acknowledged byte is there."""
        return not self.damages


def content_of(name: str) -> bytes:
    """Return the content of the file of that name: 1 to 8192 bytes."""
    source = random.Random(name)  # noqa: S311 - known content, no secret
    return source.randbytes(source.randint(1, _SIZE_MAX))


def read_log(log: Path) -> tuple[list[Acknowledged], list[str]]:
    """Return the acknowledged files, in the order of their acknowledgement, and the errors logged so far."""
    records = _records(log)
    errors = [record["error"] for record in records if "error" in record]
    files = [Acknowledged(**record) for record in records if "sha256" in record]
    return sorted(files, key=lambda file: file.done_ns), errors


def _records(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines()]


def report(log: Path, *, until_ns: int | None = None) -> WriterReport:
    """Sum a log up; with *until_ns* a writer that has not come back counts as waiting until then."""
    files, errors = read_log(log)
    moments = [file.done_ns for file in files]
    if until_ns is not None and moments:
        moments.append(max(until_ns, moments[-1]))
    gaps = [(later - earlier, earlier, later) for earlier, later in pairwise(moments)]
    gap, began, ended = max(gaps, default=(0, 0, 0))
    stuck = sum("stuck" in record for record in _records(log))
    return WriterReport(len(files), gap / 1e6, began, ended, tuple(errors), stuck)


class Writer:
    """A writer process on a mount, and on others of the same file system, with its log."""

    def __init__(self, owner: Owner, mount: Path, name: str = "writer", others: tuple[Path, ...] = ()) -> None:
        self.directory_name = name
        self.log = owner.directory / f"{name}.jsonl"
        self._stop = owner.directory / f"{name}.stop"
        self._owner = owner
        directories = [str(each / name) for each in (mount, *others)]
        argv = [sys.executable, "-m", "netns.writer", "write", str(self.log), str(self._stop), *directories]
        output = owner.directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] = owner.adopt(spawn(bound_to_parent(argv), output, cwd=_REPOSITORY))

    def wait_for(self, files: int, within_s: float) -> None:
        """Wait until so many files are acknowledged; raises LaboratoryError."""
        eventually(lambda: len(read_log(self.log)[0]) >= files, within_s, f"{files} files written")

    def failures(self) -> list[Failure]:
        """Return the files that the client was given an error for so far."""
        return [Failure(**record) for record in _records(self.log) if "error" in record]

    def wait_after(self, moment_ns: int, within_s: float) -> Acknowledged:
        """Wait for the first file that was begun after a moment of CLOCK_BOOTTIME; raises LaboratoryError."""

        def first() -> Acknowledged | None:
            return next((f for f in read_log(self.log)[0] if f.began_ns > moment_ns), None)

        return eventually(first, within_s, "a file written afterwards")

    def stop(self, within_s: float = 15.0) -> WriterReport:
        """Let the writer finish the files it is at and sum up.

        One that is stuck as a whole is killed, and counts as waiting until it was told to stop.
        """
        told_ns = boottime_ns()
        self._stop.touch()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return report(self.log, until_ns=told_ns)
        return report(self.log)

    def verify(self, mount: Path) -> Verdict:
        """Read every acknowledged file back through a mount; give it a fresh one, which has nothing cached."""
        argv = [sys.executable, "-m", "netns.writer", "verify", str(mount / self.directory_name), str(self.log)]
        completed: Completed = run(
            *argv, timeout_s=_VERIFY_WITHIN_S, env={**os.environ, "PYTHONPATH": str(_REPOSITORY)}
        )
        if not completed.succeeded:
            raise LaboratoryError(completed.describe())
        return Verdict.parse(completed.output)


def _write_one(directory: Path, name: str) -> Acknowledged:
    data = content_of(name)
    began_ns = boottime_ns()
    number = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        written = os.write(number, data)
        if written != len(data):
            raise OSError(0, f"only {written} of {len(data)} bytes were taken")
        os.fsync(number)
    finally:
        os.close(number)
    return Acknowledged(name, len(data), hashlib.sha256(data).hexdigest(), began_ns, boottime_ns())


def _write(log_path: Path, stop: Path, directories: list[Path]) -> None:
    for directory in directories:
        directory.mkdir(exist_ok=True)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    series = [
        threading.Thread(target=_write_series, args=(directory, log, stop, chr(ord("a") + number)), daemon=True)
        for number, directory in enumerate(directories)
    ]
    for each in series:
        each.start()
    while not stop.exists():
        time.sleep(_AFTER_ERROR_S)
    deadline = time.monotonic() + _STUCK_AFTER_S
    for each in series:
        each.join(max(0.0, deadline - time.monotonic()))
    for each in series:
        if each.is_alive():
            os.write(log, (json.dumps({"stuck": each.name}) + "\n").encode())
    os._exit(0)  # a thread that waits for a hung mount would keep the process


def _write_series(directory: Path, log: int, stop: Path, prefix: str) -> None:
    number = 0
    while not stop.exists():
        number += 1
        name = f"{prefix}{number:07d}"
        try:
            record: dict[str, object] = asdict(_write_one(directory, name))
        except OSError as error:
            record = {"name": name, "error": str(error), "at_ns": boottime_ns()}
        os.write(log, (json.dumps(record) + "\n").encode())
        time.sleep(_AFTER_ERROR_S if "error" in record else _PAUSE_S)


def _verify(directory: Path, log: Path) -> Verdict:
    files, _errors = read_log(log)
    fates = ((file, _fate_of(directory, file)) for file in files)
    damages = tuple(Damage(file.name, fate, _inode_of(directory / file.name)) for file, fate in fates if fate)
    return Verdict(len(files), damages, _inode_of(directory))


def _inode_of(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _fate_of(directory: Path, file: Acknowledged) -> str:
    try:
        data = (directory / file.name).read_bytes()
    except OSError:
        return "lost"
    if len(data) < file.size:
        return "short"
    return "" if hashlib.sha256(data).hexdigest() == file.sha256 else "wrong"


def main(arguments: list[str]) -> None:
    """Write or verify, as the module's text says."""
    verb, *paths = arguments
    if verb == "write":
        log, stop, *directories = map(Path, paths)
        _write(log, stop, directories)
    else:
        directory, log = map(Path, paths)
        print(json.dumps(asdict(_verify(directory, log))))


if __name__ == "__main__":
    main(sys.argv[1:])
