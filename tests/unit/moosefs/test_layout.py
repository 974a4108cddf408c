import os
from pathlib import Path

import pytest

from pycarpd.moosefs.chain import Chain, LayoutError, prove, write_layout
from tests.unit.moosefs.files import METAID, fill, log, metadata

FILES = {
    "metadata_ml.mfs.back": metadata(300),
    "changelog_ml.1.mfs": log(250, 399),
    "changelog_ml.0.mfs": log(380, 500) + b"501: 17",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    return fill(directory, FILES)


def chain_of(directory: Path) -> Chain:
    found = prove(directory, expected_metaid=METAID)
    assert isinstance(found, Chain)
    return found


def test_the_layout_is_a_base_and_one_contiguous_tail_and_nothing_else(source: Path, tmp_path: Path) -> None:
    chain, target = chain_of(source), tmp_path / "staging"
    write_layout(chain, target)
    assert sorted(path.name for path in target.iterdir()) == ["changelog.0.mfs", "metadata.mfs.back"]
    assert (target / "changelog.0.mfs").read_bytes() == log(300, 500)
    assert (target / "metadata.mfs.back").samefile(source / "metadata_ml.mfs.back")
    assert {path.name: path.read_bytes() for path in source.iterdir()} == FILES
    again = chain_of(target)
    assert (again.version, again.base_header) == (chain.version, chain.base_header)


def test_without_a_tail_there_is_no_changelog(source: Path, tmp_path: Path) -> None:
    (source / "changelog_ml.0.mfs").unlink()
    (source / "changelog_ml.1.mfs").unlink()
    write_layout(chain_of(source), tmp_path / "staging")
    assert [path.name for path in (tmp_path / "staging").iterdir()] == ["metadata.mfs.back"]


def test_the_base_is_copied_where_it_cannot_be_linked(source: Path) -> None:
    target = Path("/dev/shm") / f"pycarpd-layout-{os.getpid()}"  # noqa: S108 - another file system is the point
    try:
        write_layout(chain_of(source), target)
        assert (target / "metadata.mfs.back").read_bytes() == FILES["metadata_ml.mfs.back"]
        assert not (target / "metadata.mfs.back").samefile(source / "metadata_ml.mfs.back")
    finally:
        for path in target.iterdir():
            path.unlink()
        target.rmdir()


def test_the_files_belong_to_the_owner_asked_for(source: Path, tmp_path: Path) -> None:
    write_layout(chain_of(source), tmp_path / "staging", owner=(12345, 23456))
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in (tmp_path / "staging").iterdir()}
    assert owners == {(12345, 23456)}


def test_a_rotation_since_the_proof_is_noticed(source: Path, tmp_path: Path) -> None:
    chain = chain_of(source)
    (source / "changelog_ml.0.mfs").rename(source / "changelog_ml.1.mfs")
    (source / "changelog_ml.0.mfs").write_bytes(log(501, 900))
    with pytest.raises(LayoutError):
        write_layout(chain, tmp_path / "staging")


def test_another_base_since_the_proof_is_noticed(source: Path, tmp_path: Path) -> None:
    chain = chain_of(source)
    (source / "metadata_ml.mfs.back").write_bytes(metadata(400))
    with pytest.raises(LayoutError):
        write_layout(chain, tmp_path / "staging")


def test_a_layout_never_overwrites(source: Path, tmp_path: Path) -> None:
    write_layout(chain_of(source), tmp_path / "staging")
    with pytest.raises(FileExistsError):
        write_layout(chain_of(source), tmp_path / "staging")
