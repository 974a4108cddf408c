"""The file surgery: preserving, installing and taking back, pruning, listing what was lost."""

import shutil
from pathlib import Path

import pytest

from pycarpd.takeover.datafiles import (
    Kept,
    is_in_the_way,
    is_own,
    names_in_the_way,
    own_names,
    part_from_links,
    trim_torn_line,
)
from pycarpd.takeover.install import displace, take_back
from pycarpd.takeover.lost import LOST_FILE, list_lost_operations
from pycarpd.takeover.preserve import Preserved, preserve_files
from pycarpd.takeover.prune import KeepBounds, label, prune
from pycarpd.takeover.step import StepFault

DAY_NS = 86_400 * 1_000_000_000
NOW_NS = 1_800_000_000 * 1_000_000_000


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def make(directory: Path, **files: str) -> dict[str, bytes]:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return files_of(directory)


@pytest.mark.parametrize(
    ("name", "in_the_way", "own"),
    [
        ("metadata.mfs", True, True),
        ("metadata.mfs.back", True, True),
        ("metadata.mfs.back.1", True, True),
        ("metadata.mfs.emergency", True, True),
        ("metadata.mfs.empty", False, False),
        ("metadata_ml.mfs.back", True, False),
        ("changelog.0.mfs", True, True),
        ("changelog_ml.0.mfs", True, False),
        ("changelog_ml_back.1.mfs", True, False),
        ("sessions.mfs", False, False),
        ("stats.mfs", False, False),
    ],
)
def test_names(name: str, *, in_the_way: bool, own: bool) -> None:
    assert is_in_the_way(name) == in_the_way
    assert is_own(name) == own


def test_preserving_links_closed_files_and_copies_open_ones(tmp_path: Path) -> None:
    make(tmp_path, metadata_ml__mfs__back="base", changelog_ml__0__mfs="1: a\n", stats__mfs="s")
    preserved = preserve_files(tmp_path, "x")
    assert isinstance(preserved, Preserved)
    assert preserved.names == ("changelog_ml.0.mfs", "metadata_ml.mfs.back")
    assert preserved.copied_bytes == 5
    assert (preserved.directory / "metadata_ml.mfs.back").samefile(tmp_path / "metadata_ml.mfs.back")
    with (tmp_path / "changelog_ml.0.mfs").open("a") as file:
        file.write("2: of another history\n")
    assert (preserved.directory / "changelog_ml.0.mfs").read_text() == "1: a\n"
    assert preserve_files(tmp_path, "x") == Preserved(preserved.directory, preserved.names, 0)
    assert (preserved.directory / "changelog_ml.0.mfs").read_text() == "1: a\n"


def test_what_is_flushed_or_deleted_between_link_and_copy_is_kept(tmp_path: Path) -> None:
    make(tmp_path, changelog_ml__0__mfs="1: a\n", metadata_ml__mfs__back="base")

    def flush_and_delete() -> None:
        with (tmp_path / "changelog_ml.0.mfs").open("a") as file:
            file.write("2: b\n")
        for path in tmp_path.glob("*_ml*"):
            path.unlink()

    preserved = preserve_files(tmp_path, "x", flush_and_delete)
    assert isinstance(preserved, Preserved)
    assert files_of(preserved.directory) == {"changelog_ml.0.mfs": b"1: a\n2: b\n", "metadata_ml.mfs.back": b"base"}


def test_an_open_changelog_that_nobody_writes_to_is_only_linked(tmp_path: Path) -> None:
    make(tmp_path, changelog_ml__0__mfs="1: a\n", changelog__0__mfs="1: a\n")
    preserved = preserve_files(tmp_path, "x", is_written=lambda name: name == "changelog.0.mfs")
    assert preserved == Preserved(Kept(tmp_path).preserved / "x", ("changelog.0.mfs", "changelog_ml.0.mfs"), 5)
    kept = files_of(preserved.directory)
    assert kept == {"changelog.0.mfs": b"1: a\n", "changelog_ml.0.mfs": b"1: a\n"}
    assert (preserved.directory / "changelog_ml.0.mfs").samefile(tmp_path / "changelog_ml.0.mfs")
    assert not (preserved.directory / "changelog.0.mfs").samefile(tmp_path / "changelog.0.mfs")


def test_a_changelog_is_parted_from_its_links_before_it_is_written_to(tmp_path: Path) -> None:
    log, kept = tmp_path / "changelog_ml.0.mfs", tmp_path / "kept"
    assert part_from_links(log) == 0
    log.write_text("1: a\n2: torn")
    assert part_from_links(log) == 0
    kept.hardlink_to(log)
    log.chmod(0o640)
    assert part_from_links(log) == len("1: a\n2: torn")
    assert trim_torn_line(log) == len("2: torn")
    assert kept.read_text() == "1: a\n2: torn"
    assert log.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changelog_ml.0.mfs", "kept"]


def full(_path: Path) -> shutil._ntuple_diskusage:
    return shutil._ntuple_diskusage(1000, 990, 10)


def test_a_disk_without_room_for_a_copy_keeps_the_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, changelog_ml__0__mfs="1: a\n")
    monkeypatch.setattr(shutil, "disk_usage", full)
    preserved = preserve_files(tmp_path, "x")
    assert isinstance(preserved, Preserved)
    assert preserved.copied_bytes == 0
    assert (preserved.directory / "changelog_ml.0.mfs").samefile(tmp_path / "changelog_ml.0.mfs")


def test_preserved_copies_give_way_on_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in (Kept(tmp_path).preserved, Kept(tmp_path).archive):
        for number in range(3):
            make(kept / label(NOW_NS - number * DAY_NS, number), file="x")
    assert prune(tmp_path, KeepBounds(), NOW_NS) is None
    assert len(list(Kept(tmp_path).preserved.iterdir())) == 3
    monkeypatch.setattr(shutil, "disk_usage", full)
    assert prune(tmp_path, KeepBounds(), NOW_NS) is None
    assert [path.name for path in Kept(tmp_path).preserved.iterdir()] == [label(NOW_NS, 0)]
    assert len(list(Kept(tmp_path).archive.iterdir())) == 3


def test_preserving_a_missing_directory_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    fault = preserve_files(file, "x")
    assert isinstance(fault, StepFault)
    assert fault.code == "PRESERVE_FAILED"


def test_displacing_and_taking_back_is_exact_and_keeps_what_mfsmaster_wrote(tmp_path: Path) -> None:
    before = make(tmp_path, metadata__mfs__empty="e", changelog__0__mfs="old", metadata_ml__mfs__back="ml")
    staged, archive = tmp_path / "pycarpd" / "staging", Kept(tmp_path).archive / "x"
    make(staged, changelog__0__mfs="new", metadata__mfs__back="ml")
    assert displace(tmp_path, archive, staged) is None
    assert names_in_the_way(tmp_path) == ("changelog.0.mfs", "metadata.mfs.back")
    assert (tmp_path / "changelog.0.mfs").read_text() == "new"
    make(tmp_path, changelog__1__mfs="rotated")
    assert take_back(tmp_path, archive) is None
    assert files_of(tmp_path) == before
    assert files_of(archive / "abandoned") == {
        "changelog.0.mfs": b"new",
        "changelog.1.mfs": b"rotated",
        "metadata.mfs.back": b"ml",
    }
    assert take_back(tmp_path, archive) is None
    assert files_of(tmp_path) == before


def test_an_archive_is_never_used_twice(tmp_path: Path) -> None:
    make(tmp_path, changelog__0__mfs="one")
    archive = Kept(tmp_path).archive / "x"
    assert displace(tmp_path, archive, None) is None
    make(tmp_path, changelog__0__mfs="two")
    fault = displace(tmp_path, archive, None)
    assert fault is not None
    assert (archive / "changelog.0.mfs").read_text() == "one"
    assert own_names(tmp_path) == ("changelog.0.mfs",)


def test_a_damaged_manifest_is_a_fault_and_moves_nothing(tmp_path: Path) -> None:
    archive = Kept(tmp_path).archive / "x"
    make(archive, manifest__json="{", changelog__0__mfs="old")
    fault = take_back(tmp_path, archive)
    assert fault is not None
    assert fault.code == "MANIFEST_DAMAGED"
    assert own_names(tmp_path) == ()


def test_pruning_keeps_a_week_whatever_the_number(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for days in range(12):
        make(kept.archive / label(NOW_NS - days * DAY_NS, days), a="x")
    make(kept.archive / "an-operators-own", a="x")
    assert prune(tmp_path, KeepBounds(count=2), NOW_NS) is None
    left = sorted(path.name for path in kept.archive.iterdir())
    assert len(left) == 9
    assert left[-1] == "an-operators-own"
    assert label(NOW_NS - 7 * DAY_NS, 7) in left
    assert label(NOW_NS - 8 * DAY_NS, 8) not in left


def test_pruning_by_bytes_takes_the_oldest_and_never_the_newest(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for hours in range(3):
        make(kept.preserved / label(NOW_NS - hours * DAY_NS // 24, hours), a="x" * 10_000)
    assert prune(tmp_path, KeepBounds(count=10, bytes_max=30_000), NOW_NS) is None
    assert len(list(kept.preserved.iterdir())) == 2
    assert prune(tmp_path, KeepBounds(count=10, bytes_max=1), NOW_NS) is None
    assert [path.name for path in kept.preserved.iterdir()] == [label(NOW_NS, 0)]


def test_lost_operations_are_those_from_the_successors_version_on(tmp_path: Path) -> None:
    make(
        tmp_path,
        changelog__1__mfs="8: 1|A()\n9: 1|B()\n",
        changelog__0__mfs="10: 1|C()\n11: 1|D()\n12: 1|torn",
        changelog_ml__0__mfs="13: 1|E()\n",
    )
    assert list_lost_operations(tmp_path, 9) == 3
    assert (tmp_path / LOST_FILE).read_text() == "9: 1|B()\n10: 1|C()\n11: 1|D()\n"


def test_a_lost_operation_counts_once_and_a_metaloggers_lines_say_nothing(tmp_path: Path) -> None:
    make(tmp_path, changelog__0__mfs="7: own\n8: b\n", changelog__1__mfs="6: a\n7: own\n")
    make(tmp_path, changelog_ml__0__mfs="8: the successor's\n9: c\n")
    assert list_lost_operations(tmp_path, 7) == 2
    assert (tmp_path / LOST_FILE).read_bytes() == b"7: own\n8: b\n"


def test_nothing_lost_writes_nothing(tmp_path: Path) -> None:
    make(tmp_path, changelog__0__mfs="10: 1|C()\n")
    assert list_lost_operations(tmp_path, 11) == 0
    assert not (tmp_path / LOST_FILE).exists()


def test_labels_sort_by_time() -> None:
    assert label(NOW_NS, 7) == "20270115T080000.000Z-term7"
    assert label(NOW_NS, 7) < label(NOW_NS + 1_000_000, 1)


@pytest.mark.parametrize(
    ("whole", "torn"),
    [
        (b"", b""),
        (b"", b"12: 17954"),
        (b"11: 1|ACCESS(1)\n", b""),
        (b"11: 1|ACCESS(1)\n", b"12: 17954"),
        (b"11: 1|ACCESS(1)\n", b"1" * 70_000),
        (b"1: 1|ACCESS(1)\n" * 9000, b"9"),
    ],
)
def test_a_torn_last_line_is_cut_off_and_nothing_else(tmp_path: Path, whole: bytes, torn: bytes) -> None:
    log = tmp_path / "changelog_ml.0.mfs"
    log.write_bytes(whole + torn)
    assert trim_torn_line(log) == len(torn)
    assert log.read_bytes() == whole
    assert trim_torn_line(log) == 0


def test_a_log_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert trim_torn_line(tmp_path / "changelog_ml.0.mfs") == 0
    assert not list(tmp_path.iterdir())
