import os
from pathlib import Path

import pytest

from pycarpd.moosefs.chain import Chain, ChainRefusal, RefusalCode
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.moosefs.metadata import MetadataWalk, walk
from pycarpd.moosefs.release import Installed, Release, parse_release
from tests.corpus.history import recorded
from tests.unit.moosefs.files import END_MARK, METAID, fill, metadata, section

SAID = b"version: 3.0.117-1 ; build: 1341\n"
SEEN = (3, 0, 117)


def base(directory: Path, content: bytes) -> MetadataWalk:
    found = walk(fill(directory, {"metadata.mfs": content}) / "metadata.mfs")
    assert isinstance(found, MetadataWalk), found
    return found


def with_section(name: bytes) -> bytes:
    return metadata(500).removesuffix(END_MARK) + section(name, b"") + END_MARK


def test_the_version_is_read_from_what_mfsmaster_says() -> None:
    assert parse_release(SAID) == Release(SEEN)
    assert parse_release(b"command not found") is None


def test_the_sections_of_the_recorded_release_are_all_known_to_it(tmp_path: Path) -> None:
    assert Release(SEEN).refusal(base(tmp_path, recorded().bases[4000])) is None


@pytest.mark.parametrize(
    ("version", "name", "code"),
    [
        ((1, 6, 27), b"FREE 1.0", RefusalCode.RELEASE_UNSUPPORTED),
        ((5, 0, 0), b"FREE 1.0", RefusalCode.RELEASE_UNSUPPORTED),
        (SEEN, b"PATT 1.0", RefusalCode.RELEASE_OLDER),
        (SEEN, b"FREE 1.1", RefusalCode.RELEASE_OLDER),
        ((3, 0, 100), b"FREE 1.1", RefusalCode.RELEASE_OLDER),
        ((4, 59, 2), b"NEWS 1.0", RefusalCode.RELEASE_OLDER),
        (SEEN, b"FREE 1.0", None),
        ((3, 0, 118), b"FREE 1.1", None),
        ((4, 59, 2), b"PATT 1.0", None),
    ],
)
def test_what_the_installed_mfsmaster_cannot_read_is_refused(
    tmp_path: Path, version: tuple[int, int, int], name: bytes, code: RefusalCode | None
) -> None:
    refusal = Release(version).refusal(base(tmp_path, with_section(name)))
    assert (refusal.code if refusal else None) == code


def installed(path: Path, version: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(f"#!/bin/sh\necho version: {version} >&2\n")
    new.chmod(0o755)
    new.rename(path)


def test_an_upgrade_is_noticed_while_the_files_are_followed(tmp_path: Path) -> None:
    program, data = tmp_path / "mfsmaster", tmp_path / "data"
    data.mkdir()
    fill(data, {"metadata_ml.mfs.back": with_section(b"PATT 1.0")})
    follower = ChainFollower(data, tmp_path / "prepared", installed=Installed(str(program)))
    assert isinstance(follower.prove(expected_metaid=METAID), Chain), "nothing is known of a program that is not there"
    installed(program, "3.0.117")
    refusal = follower.prove(expected_metaid=METAID)
    assert isinstance(refusal, ChainRefusal)
    assert refusal.code is RefusalCode.RELEASE_OLDER
    installed(program, "4.59.2")
    os.utime(program, ns=(1, 1))
    assert isinstance(follower.follow(expected_metaid=METAID), Chain)
