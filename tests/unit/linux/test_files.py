import os
import stat
from pathlib import Path

import pytest

from pycarpd.linux.files import fsync_directory, write_durably


def test_a_file_is_replaced_whole_with_exactly_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "term"
    old_umask = os.umask(0o077)
    try:
        write_durably(path, b"old", 0o644)
        write_durably(path, b"new")
        assert path.read_bytes() == b"new"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        write_durably(path, b"", 0o644)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(old_umask)
    assert [found.name for found in tmp_path.iterdir()] == ["term"]


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "occupied"
    target.mkdir()
    (target / "inside").write_bytes(b"kept")
    with pytest.raises(OSError, match="irectory"):
        write_durably(target, b"data")
    assert [found.name for found in tmp_path.iterdir()] == ["occupied"]
    assert (target / "inside").read_bytes() == b"kept"


def test_a_leftover_of_a_crash_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".term.{os.getpid()}.new").write_bytes(b"half")
    write_durably(tmp_path / "term", b"whole")
    assert [found.name for found in tmp_path.iterdir()] == ["term"]


def test_only_a_directory_can_be_synced_as_one(tmp_path: Path) -> None:
    fsync_directory(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        fsync_directory(tmp_path / "file")
