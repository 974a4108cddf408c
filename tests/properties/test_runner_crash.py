"""S11 on real files: a crash at any write finds the old files intact or the new ones complete, and says which."""

import itertools
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pycarpd.takeover.datafiles import names_in_the_way
from pycarpd.takeover.events import (
    Checked,
    Command,
    Event,
    Execute,
    Finished,
    JournalFailed,
    JournalWritten,
    Outcome,
    StepFailed,
    StepSucceeded,
    UndoFailed,
    Undone,
    WriteJournal,
)
from pycarpd.takeover.install import displace, take_back
from pycarpd.takeover.journal import Journal
from pycarpd.takeover.preserve import Preserved, preserve_files
from pycarpd.takeover.records import OpenPlan, PlanClosed, PlanOpened, decode
from pycarpd.takeover.runner import Runner
from pycarpd.takeover.step import PlanSpec, StepFault, StepSpec, UndoScope, Verb

OLD = {
    "metadata_ml.mfs.back": b"base",
    "changelog_ml.0.mfs": b"10: a\n11: b\n",
    "changelog_ml.1.mfs": b"9: z\n",
    "metadata.mfs.back": b"stale",
}
NEW = {"metadata.mfs.back": b"base", "changelog.0.mfs": b"10: a\n11: b\n"}
SERVED = {
    **NEW,
    "changelog.0.mfs": b"10: a\n11: b\n12: by a client\n",
    "metadata.mfs.back.1": b"by mfsmaster",
}
MINUTE = 60_000_000_000


class Crash(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Fuse:
    """Crashes at the n-th point where something reaches the disk."""

    left: int

    def burn(self) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1


class Host:
    """A data directory, and the steps of a promotion without its mfsmaster."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.archive = self.data / "pycarpd" / "archive" / "x"
        self.staging = self.data / "pycarpd" / "staging" / "x"
        self.journal_path = root / "journal"
        self.failing_step = ""

    def prepare(self) -> None:
        self.data.mkdir(parents=True)
        for name, content in OLD.items():
            (self.data / name).write_bytes(content)

    def files(self) -> dict[str, bytes]:
        return {name: (self.data / name).read_bytes() for name in names_in_the_way(self.data)}

    def run(self, step: str) -> StepFault | None:
        if step == self.failing_step:
            return StepFault("BROKEN", "as the test wants it")
        match step:
            case "preserve":
                preserved = preserve_files(self.data, "x")
                return None if isinstance(preserved, Preserved) else preserved
            case "assemble":
                shutil.rmtree(self.staging, ignore_errors=True)
                self.staging.mkdir(parents=True)
                for name, content in NEW.items():
                    (self.staging / name).write_bytes(content)
            case "install":
                return displace(self.data, self.archive, self.staging)
            case "start":
                (self.data / "changelog.0.mfs").write_bytes(SERVED["changelog.0.mfs"])
                (self.data / "metadata.mfs.back.1").write_bytes(SERVED["metadata.mfs.back.1"])
        return None

    def undo(self, step: str) -> StepFault | None:
        match step:
            case "assemble":
                shutil.rmtree(self.staging, ignore_errors=True)
            case "install":
                return take_back(self.data, self.archive)
        return None


PLAN = PlanSpec(
    "promote",
    (
        StepSpec("preserve", MINUTE),
        StepSpec("assemble", MINUTE),
        StepSpec("install", MINUTE),
        StepSpec("start", MINUTE, undo=UndoScope.STOPS_SERVING),
        StepSpec("address", MINUTE, undo=UndoScope.STOPS_SERVING, commits=True),
        StepSpec("report", MINUTE),
    ),
)


def drive(host: Host, begin: Callable[[Runner], tuple[Command, ...]], fuse: Fuse) -> Outcome:
    """Execute for real, crashing before any command whose turn finds the fuse burnt."""
    runner = Runner()
    todo = deque(begin(runner))
    with closing(Journal(host.journal_path)) as journal:
        while True:
            command = todo.popleft()
            if isinstance(command, Finished):
                return command.outcome
            fuse.burn()
            todo.extend(runner.handle(answer(host, journal, command), 0))


def answer(host: Host, journal: Journal, command: Command) -> Event:
    if isinstance(command, WriteJournal):
        fault = journal.write(command.records)
        return JournalWritten() if fault is None else JournalFailed(fault)
    assert isinstance(command, Execute)
    match command.verb:
        case Verb.CHECK:
            return Checked(command.step, is_done=False)
        case Verb.RUN:
            fault = host.run(command.step)
            return StepSucceeded(command.step) if fault is None else StepFailed(command.step, fault)
        case Verb.UNDO:
            fault = host.undo(command.step)
            return Undone(command.step) if fault is None else UndoFailed(command.step, fault)


def promote(host: Host, fuse: Fuse) -> Outcome:
    return drive(host, lambda runner: runner.start(PlanOpened("id", "promote", ()), PLAN, 0), fuse)


def recover(host: Host, fuse: Fuse) -> str:
    """Return what the journal says of the files afterwards."""
    with closing(Journal(host.journal_path)) as journal:
        interrupted = journal.recover()
    assert not isinstance(interrupted, StepFault)
    if isinstance(interrupted, OpenPlan):
        outcome = drive(host, lambda runner: runner.recover(interrupted, PLAN, 0), fuse)
        assert outcome.undo_faults == ()
    if not host.journal_path.exists():
        return "none"
    records, _ = decode(host.journal_path.read_bytes())
    closed = records[-1] if records else None
    return closed.result if isinstance(closed, PlanClosed) else "none"


def assert_old_or_new(host: Host, said: str) -> None:
    match said:
        case "done" | "committed":
            assert host.files() == SERVED
        case "undone" | "none":
            assert host.files() == OLD
        case _:
            raise AssertionError(said)


@pytest.fixture
def disk_fuse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fuse]:
    """A fuse in the way of every rename, link, unlink, fsync and synced write of this process, off until it is set."""
    fuse = Fuse(-1)

    def guard(real: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **named: Any) -> Any:
            fuse.burn()
            return real(*arguments, **named)

        return guarded

    for name in ("rename", "replace", "link", "unlink", "fsync", "pwrite"):
        monkeypatch.setattr(os, name, guard(getattr(os, name)))
    yield fuse
    fuse.left = -1


def hosts(tmp_path: Path) -> Iterator[Host]:
    for number in itertools.count():
        host = Host(tmp_path / str(number))
        host.prepare()
        yield host
        shutil.rmtree(tmp_path / str(number))


@pytest.mark.parametrize("failing_step", ["", "install", "start", "address", "report"])
def test_a_crash_between_any_two_commands_is_recovered(tmp_path: Path, failing_step: str) -> None:
    results: set[str] = set()
    for point, host in enumerate(hosts(tmp_path)):
        host.failing_step = failing_step
        try:
            promote(host, Fuse(point))
            break
        except Crash:
            said = recover(host, Fuse(-1))
            assert_old_or_new(host, said)
            results.add(said)
    assert point > 10
    assert results >= {"none", "undone"}


def test_a_crash_at_any_write_of_the_plan_is_recovered(tmp_path: Path, disk_fuse: Fuse) -> None:
    for point, host in enumerate(hosts(tmp_path)):
        disk_fuse.left = point
        try:
            promote(host, Fuse(-1))
            disk_fuse.left = -1
            break
        except Crash:
            disk_fuse.left = -1
            assert_old_or_new(host, recover(host, Fuse(-1)))
    assert point > 20


def test_a_crash_at_any_write_of_the_recovery_is_recovered(tmp_path: Path, disk_fuse: Fuse) -> None:
    for point, host in enumerate(hosts(tmp_path)):
        with pytest.raises(Crash):
            promote(host, Fuse(PROBE_IS_NEXT))
        disk_fuse.left = point
        try:
            recover(host, Fuse(-1))
            disk_fuse.left = -1
            break
        except Crash:
            disk_fuse.left = -1
            assert_old_or_new(host, recover(host, Fuse(-1)))
    assert point > 10


PROBE_IS_NEXT = 8
"""Commands until mfsmaster has started on the new files: a write and a step each for the first four."""


def journal_after(host: Host, commands: int) -> tuple[bytes, int]:
    """Return the journal of a promotion that has crashed after so many commands, and where its lines end."""
    host.prepare()
    with pytest.raises(Crash):
        promote(host, Fuse(commands))
    content = host.journal_path.read_bytes() if host.journal_path.exists() else b""
    return content, decode(content)[1]


def test_a_journal_torn_at_any_byte_of_its_last_write_is_recovered(tmp_path: Path) -> None:
    tried = 0
    for point in range(1, 13):
        for cut in itertools.count():
            root = tmp_path / f"{point}-{cut}"
            _, end_before = journal_after(Host(root), point - 1)
            shutil.rmtree(root)
            host = Host(root)
            content, end_after = journal_after(host, point)
            torn = end_after - 1 - cut * 7
            if torn <= end_before:
                break
            host.journal_path.write_bytes(content[:torn].ljust(len(content), b"\0"))
            assert_old_or_new(host, recover(host, Fuse(-1)))
            shutil.rmtree(root)
            tried += 1
    assert tried > 50
