from pathlib import Path

from pycarpd.moosefs.chain import ChainIndex, ChainRefusal, RefusalCode
from pycarpd.moosefs.whereabouts import holders
from tests.unit.moosefs.files import METAID, fill, line, log, metadata

EARLIER, LATER = "pycarpd/preserved/2026-01-01-1", "pycarpd/archive/2026-01-02-2"


def kept(data: Path, directory: str, files: dict[str, bytes]) -> None:
    (data / directory).mkdir(parents=True)
    fill(data / directory, files)


def with_a_gap(data: Path) -> ChainIndex:
    fill(data, {"metadata_ml.mfs.back": metadata(300), "changelog_ml.0.mfs": log(300, 400) + log(450, 500)})
    return ChainIndex(data)


def test_a_gap_names_the_kept_copies_that_have_what_is_missing(tmp_path: Path) -> None:
    kept(tmp_path, EARLIER, {"changelog_ml.0.mfs": log(380, 460) + line(461)[:5], "changelog_ml.1.mfs": log(300, 380)})
    kept(tmp_path, LATER, {"metadata_ml.mfs.back": metadata(440), "manifest.json": b"{}"})
    refusal = with_a_gap(tmp_path).prove(expected_metaid=METAID)
    assert isinstance(refusal, ChainRefusal)
    assert refusal.code is RefusalCode.GAP
    assert set(refusal.held_by) == {f"{EARLIER}/changelog_ml.0.mfs", f"{LATER}/metadata_ml.mfs.back"}
    assert all(name in refusal.text for name in refusal.held_by)


def test_without_a_kept_copy_the_other_hosts_are_named(tmp_path: Path) -> None:
    kept(tmp_path, EARLIER, {"changelog_ml.0.mfs": log(300, 390), "metadata_ml.mfs.back": metadata(300)})
    refusal = with_a_gap(tmp_path).prove(expected_metaid=METAID)
    assert isinstance(refusal, ChainRefusal)
    assert refusal.held_by == ()
    assert "other hosts" in refusal.text


def test_what_is_missing_is_looked_for_once_for_each_gap(tmp_path: Path) -> None:
    index = with_a_gap(tmp_path)
    first = index.prove(expected_metaid=METAID)
    kept(tmp_path, EARLIER, {"changelog_ml.0.mfs": log(380, 460)})
    assert index.prove(expected_metaid=METAID) == first
    with (tmp_path / "changelog_ml.0.mfs").open("ab") as file:
        file.write(log(600, 610))
    (tmp_path / "changelog_ml.1.mfs").write_bytes(log(401, 420))
    later = index.prove(expected_metaid=METAID)
    assert isinstance(later, ChainRefusal)
    assert later.missing_from == 421
    assert later.held_by == (f"{EARLIER}/changelog_ml.0.mfs",)


def test_a_kept_file_that_cannot_be_understood_is_passed_over(tmp_path: Path) -> None:
    files = {"changelog_ml.0.mfs": b"", "changelog_ml.1.mfs": b"?\n", "metadata.mfs": b"MFSM NEW", "metadata.x": b"?"}
    kept(tmp_path, LATER, files)
    assert holders(tmp_path, 1, None) == ()


def test_changes_after_a_number_are_looked_for_without_an_end(tmp_path: Path) -> None:
    kept(tmp_path, LATER, {"changelog.0.mfs": log(900, 950)})
    assert holders(tmp_path, 500, None) == (f"{LATER}/changelog.0.mfs",)
    assert holders(tmp_path, 500, 600) == ()
