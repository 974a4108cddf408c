"""Which chunks a changelog leaves locked."""

from pathlib import Path

import pytest

from pycarpd.moosefs import chunklocks
from pycarpd.moosefs.chunklocks import WINDOW_S, ChunkLock, find_locks

NOW = 1_800_000_000


def changelog(directory: Path, *operations: str, first: int = 40, end: str = "\n") -> Path:
    """Write a changelog; an operation without a time of its own is of NOW."""
    path = directory / "changelog.0.mfs"
    timed = [each if each[0].isdigit() else f"{NOW}|{each}" for each in operations]
    path.write_text("\n".join(f"{number}: {each}" for number, each in enumerate(timed, first)) + end)
    return path


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ((), ()),
        (("CREATE(1,f,1,420,18,0,0,0):8", "ACQUIRE(1,8)"), ()),
        (("WRITE(8,0,1,0):7",), (ChunkLock(8, 0, 7),)),
        (("WRITE(8,3,0,0):7", "LENGTH(8,65536,0)"), (ChunkLock(8, 3, 7),)),
        (("WRITE(8,0,1,0):7", "LENGTH(8,65536,0)", "UNLOCK(7)"), ()),
        (("WRITE(8,0,1,0):7", "UNLOCK(77)"), (ChunkLock(8, 0, 7),)),
        (("WRITE(8,0,1,0):7", "UNLOCK(7)", "WRITE(8,0,0,0):7"), (ChunkLock(8, 0, 7),)),
        (("WRITE(8,0,1,0):7", "WRITE(9,0,1,0):8", "UNLOCK(7)"), (ChunkLock(9, 0, 8),)),
        (("TRUNC(8,2):7",), (ChunkLock(8, 2, 7),)),
        (("TRUNC(8,2,1):7", "UNLOCK(7)"), ()),
        (("WRITE(8,0,1,0):7", "ROLLBACK(8,0,5,7)"), ()),
        (("WRITE(8,0,1,0):7", "CHUNKDEL(7,1)"), ()),
        (("WRITE(8,0,1,0):7", "INCVERSION(7)", "SETVERSION(7,3)"), (ChunkLock(8, 0, 7),)),
        (("WRITE(8,0,1,0):7", "MOVE(1,f,1,|UNLOCK%287%29):8"), (ChunkLock(8, 0, 7),)),
    ],
)
def test_what_is_locked_and_not_unlocked(
    tmp_path: Path, operations: tuple[str, ...], expected: tuple[ChunkLock, ...]
) -> None:
    assert find_locks(changelog(tmp_path, *operations)) == expected


def test_a_torn_last_line_says_nothing(tmp_path: Path) -> None:
    assert find_locks(changelog(tmp_path, "WRITE(8,0,1,0):7", "UNLOCK(7)", end="")) == (ChunkLock(8, 0, 7),)


def test_a_missing_changelog_has_no_locks(tmp_path: Path) -> None:
    assert find_locks(tmp_path / "changelog.0.mfs") == ()


def test_a_lock_from_before_the_window_is_not_the_one_that_a_writer_waits_for(tmp_path: Path) -> None:
    late = NOW + WINDOW_S
    path = changelog(tmp_path, "WRITE(8,0,1,0):7", f"{late}|WRITE(9,0,1,0):8")
    assert find_locks(path) == (ChunkLock(8, 0, 7), ChunkLock(9, 0, 8))
    path = changelog(tmp_path, "WRITE(8,0,1,0):7", f"{late + 1}|WRITE(9,0,1,0):8")
    assert find_locks(path) == (ChunkLock(9, 0, 8),)


def test_what_a_new_mfsmaster_writes_does_not_move_the_window_but_may_unlock(tmp_path: Path) -> None:
    late = NOW + 1000
    path = changelog(tmp_path, "WRITE(8,0,1,0):7", "WRITE(9,0,1,0):8", f"{late}|CSDBOP(0)", f"{late}|UNLOCK(8)")
    assert find_locks(path, 42) == (ChunkLock(8, 0, 7),)
    assert find_locks(path) == ()
    assert find_locks(path, 40) == ()


def test_only_the_end_of_a_long_changelog_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunklocks, "_SCAN_BYTES_MAX", 90)
    path = changelog(tmp_path, "WRITE(8,0,1,0):7", *("ACCESS(1)",) * 10, "WRITE(9,1,1,0):8")
    assert find_locks(path) == (ChunkLock(9, 1, 8),)


def test_the_newest_locks_count_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunklocks, "LOCKS_MAX", 2)
    path = changelog(tmp_path, *(f"WRITE({number},0,1,0):{number}" for number in range(1, 5)))
    assert [lock.chunkid for lock in find_locks(path)] == [3, 4]


def test_changelogs_are_not_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "changelog.0.mfs"
    path.write_bytes(b"1: %d|WRITE(8,0,1,0):7\n2: %d|CREATE(1,\xff\xfe,1,420,18,0,0,0):9\n" % (NOW, NOW))
    assert find_locks(path) == (ChunkLock(8, 0, 7),)
