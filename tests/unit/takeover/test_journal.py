"""The journal file: appended to in place, made anew where more than zeros lies behind its lines."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycarpd.takeover.journal import FILE_BYTES, KEPT_BYTES, Journal
from pycarpd.takeover.records import OpenPlan, PlanClosed, PlanOpened, Record, StepDone, StepStarted, encode, open_plan
from pycarpd.takeover.step import StepFault

OPENED = PlanOpened("p1", "promote", (("label", "x"),))
BEGUN: tuple[Record, ...] = (OPENED, StepStarted("a"))
NEXT: tuple[Record, ...] = (StepDone("a"), StepStarted("b", commits=True))
CLOSED: tuple[Record, ...] = (StepDone("b"), PlanClosed("done"))


def lines(*records: Record) -> bytes:
    return b"".join(encode(record) for record in records)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(autouse=True)
def closes_what_it_opens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let go of every journal of the test: a process has one, which lives as long."""
    journals: list[Journal] = []
    begin = Journal.__init__

    def noted(journal: Journal, path: Path) -> None:
        begin(journal, path)
        journals.append(journal)

    monkeypatch.setattr(Journal, "__init__", noted)
    yield
    for journal in journals:
        journal.close()


def written(path: Path, *writes: tuple[Record, ...]) -> Journal:
    journal = Journal(path)
    for records in writes:
        assert journal.write(records) is None
    return journal


def refused(
    journal: Journal, records: tuple[Record, ...], seen: int, monkeypatch: pytest.MonkeyPatch
) -> StepFault | None:
    """Write to a disk that refuses, though *seen* bytes of it can be read afterwards."""
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        real(descriptor, data[:seen], offset)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", pwrite)
        return journal.write(records)


def test_what_was_written_is_what_the_next_process_finds(path: Path) -> None:
    written(path, BEGUN, NEXT)
    assert Journal(path).recover() == OpenPlan(OPENED, ("a", "b"), did_commit=True)


def test_a_plan_that_ended_leaves_nothing_open(path: Path) -> None:
    journal = written(path, BEGUN, NEXT, CLOSED)
    assert journal.recover() is None
    assert Journal(path).recover() is None


def test_a_file_is_made_once_and_written_in_place(path: Path) -> None:
    assert Journal(path).recover() is None
    made = path.stat()
    written(path, BEGUN, NEXT, CLOSED, BEGUN)
    assert (path.stat().st_ino, path.stat().st_blocks) == (made.st_ino, made.st_blocks)
    assert path.stat().st_size == FILE_BYTES
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_plan_behind_an_ended_one_is_the_one_that_counts(path: Path) -> None:
    second = PlanOpened("p2", "demote", ())
    written(path, BEGUN, NEXT, CLOSED, (second, StepStarted("c")))
    assert Journal(path).recover() == OpenPlan(second, ("c",), did_commit=False)


def test_it_is_begun_anew_after_a_plan_when_it_holds_a_few(path: Path) -> None:
    journal = Journal(path)
    made = set()
    for number in range(2 * KEPT_BYTES // len(lines(*BEGUN, *NEXT, *CLOSED))):
        opened = PlanOpened(f"p{number}", "promote", OPENED.parameters)
        for records in ((opened, StepStarted("a")), NEXT, CLOSED):
            assert journal.write(records) is None
            made.add(path.stat().st_ino)
        assert Journal(path).recover() is None
    assert path.stat().st_size == FILE_BYTES
    assert 1 < len(made) < 5


def test_a_plan_longer_than_the_room_is_kept_whole(path: Path) -> None:
    journal = written(path, BEGUN)
    count = FILE_BYTES // len(encode(StepStarted("step 0000"))) + 10
    for number in range(count):
        assert journal.write((StepStarted(f"step {number:04}"),)) is None
    found = Journal(path).recover()
    assert isinstance(found, OpenPlan)
    assert len(found.started) == count + 1
    assert journal.write(CLOSED) is None
    assert Journal(path).recover() is None


def test_the_file_of_an_earlier_version_is_taken_over(path: Path) -> None:
    path.write_bytes(lines(*BEGUN))
    journal = Journal(path)
    assert journal.recover() == OpenPlan(OPENED, ("a",), did_commit=False)
    assert journal.write(NEXT) is None
    assert Journal(path).recover() == OpenPlan(OPENED, ("a", "b"), did_commit=True)


def test_a_file_that_was_taken_away_is_made_again(path: Path) -> None:
    journal = written(path, BEGUN, NEXT, CLOSED)
    path.unlink()
    assert journal.write(BEGUN) is None
    assert Journal(path).recover() == OpenPlan(OPENED, ("a",), did_commit=False)


def test_what_was_acknowledged_outlives_a_file_that_is_taken_away_or_replaced(path: Path) -> None:
    journal = written(path, BEGUN)
    path.unlink()
    assert journal.write(NEXT) is None
    assert Journal(path).recover() == OpenPlan(OPENED, ("a", "b"), did_commit=True)
    other = path.with_name("other")
    written(other, (PlanOpened("another", "demote", ()),))
    other.rename(path)
    assert journal.recover() == OpenPlan(OPENED, ("a", "b"), did_commit=True)
    assert journal.write(CLOSED) is None
    assert Journal(path).recover() is None


def test_what_the_disk_refused_is_not_believed_though_it_can_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = written(path, BEGUN)
    assert refused(journal, NEXT, len(lines(*NEXT)), monkeypatch) is not None
    assert journal.recover() == OpenPlan(OPENED, ("a",), did_commit=False)
    assert Journal(path).recover() == OpenPlan(OPENED, ("a",), did_commit=False)


def test_a_full_disk_leaves_a_journal_that_can_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = written(path, BEGUN, tuple(StepStarted(f"step {number}") for number in range(KEPT_BYTES // 40)))

    refusals: list[object] = []

    def full(*arguments: object) -> None:
        refusals.append(arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("pycarpd.takeover.journal.write_durably", full)
        assert journal.write(CLOSED) is None
        assert journal.write(BEGUN) is None
    assert len(refusals) == 1
    assert Journal(path).recover() == OpenPlan(OPENED, ("a",), did_commit=False)


def test_a_write_that_the_disk_refuses_says_so_and_leaves_what_was_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = written(path, BEGUN)
    fault = refused(journal, NEXT, len(lines(*NEXT)) // 2, monkeypatch)
    assert fault == StepFault("JOURNAL_NOT_WRITTEN", f"{path}: Input/output error")
    assert Journal(path).recover() == OpenPlan(OPENED, ("a",), did_commit=False)
    assert journal.write((StepDone("a"), StepStarted("c"))) is None
    assert Journal(path).recover() == OpenPlan(OPENED, ("a", "c"), did_commit=False)


def test_a_write_cut_short_is_no_success(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = written(path, BEGUN)
    monkeypatch.setattr(os, "pwrite", lambda _descriptor, data, _offset: len(data) - 1)
    fault = journal.write(NEXT)
    assert fault is not None
    assert fault.code == "JOURNAL_NOT_WRITTEN"


def test_a_file_that_cannot_be_read_is_named(path: Path) -> None:
    path.mkdir()
    fault = Journal(path).recover()
    assert isinstance(fault, StepFault)
    assert fault.code == "JOURNAL_NOT_READ"
    assert str(path) in fault.detail


@settings(deadline=None)
@given(st.data())
def test_whatever_a_crash_leaves_of_a_write_the_plan_is_as_before_it_or_after_it(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal"
        written(path, BEGUN)
        end, new = len(lines(*BEGUN)), lines(*NEXT)
        torn = bytes(byte if data.draw(st.booleans()) else 0 for byte in new)
        left = bytearray(path.read_bytes())
        left[end : end + len(new)] = torn
        path.write_bytes(left)
        journal = Journal(path)
        possible = [open_plan((*BEGUN, *NEXT[:count])) for count in range(len(NEXT) + 1)]
        found = journal.recover()
        assert found in possible
        shorter = (StepDone("a"),)
        assert journal.write(shorter) is None
        assert Journal(path).recover() == found
