import os
import struct
from pathlib import Path

import pytest

from pycarpd.moosefs.metadata import (
    MetadataFault,
    MetadataFaultCode,
    MetadataHeader,
    MetadataWalk,
    read_header,
    walk,
)
from tests.unit.moosefs.files import END_MARK, METAID, fill, metadata, section


def write(directory: Path, content: bytes) -> Path:
    fill(directory, {"metadata.mfs": content})
    return directory / "metadata.mfs"


def code_of(path: Path) -> MetadataFaultCode:
    found = walk(path)
    assert isinstance(found, MetadataFault)
    assert found.path == path
    return found.code


def test_a_whole_file_is_walked_to_its_end_mark(tmp_path: Path) -> None:
    found = walk(write(tmp_path, metadata(405, inodes=1234)))
    assert isinstance(found, MetadataWalk)
    assert found.header == MetadataHeader("2.0", 405, METAID)
    assert [s.name for s in found.sections] == ["SESS 1.5", "NODE 1.4", "EDGE 1.1", "CHNK 1.1"]
    assert found.inode_count == 1234


def test_a_new_file_system_is_marked_as_empty(tmp_path: Path) -> None:
    path = write(tmp_path, b"MFSM NEW")
    assert read_header(path) == MetadataHeader("NEW", 1, 0, is_empty_new=True)
    found = walk(path)
    assert isinstance(found, MetadataWalk)
    assert found.header.is_empty_new


def test_the_header_of_mfs_1_6_is_read_but_cannot_be_walked(tmp_path: Path) -> None:
    path = write(tmp_path, b"MFSM 1.5" + struct.pack(">IQI", 9, 777, 3) + bytes(64))
    assert read_header(path) == MetadataHeader("1.5", 777, 0)
    assert code_of(path) is MetadataFaultCode.LEGACY_FORMAT


@pytest.mark.parametrize("length", [0, 7, 9, 23])
def test_a_file_without_a_whole_header_is_too_short(tmp_path: Path, length: int) -> None:
    assert code_of(write(tmp_path, metadata(405)[:length])) is MetadataFaultCode.TOO_SHORT


def test_no_truncation_of_a_file_is_taken_for_the_file(tmp_path: Path) -> None:
    whole = metadata(405)
    for length in range(len(whole)):
        assert isinstance(walk(write(tmp_path, whole[:length])), MetadataFault)


def test_a_fault_still_tells_the_version_of_the_header(tmp_path: Path) -> None:
    found = walk(write(tmp_path, metadata(405)[:-1]))
    assert isinstance(found, MetadataFault)
    assert (found.code, found.version, found.metaid) == (MetadataFaultCode.NO_END_MARK, 405, METAID)


def test_a_missing_block_in_the_middle_is_found_though_the_end_mark_is_there(tmp_path: Path) -> None:
    whole = metadata(405)
    assert code_of(write(tmp_path, whole[:100] + whole[140:])) is MetadataFaultCode.BAD_SECTION


def test_a_section_that_reaches_into_the_end_mark_is_refused(tmp_path: Path) -> None:
    head = metadata(405)[:24]
    content = head + section(b"NODE 1.4", bytes(8))[:-8] + END_MARK
    assert code_of(write(tmp_path, content)) is MetadataFaultCode.BAD_SECTION


def test_metadata_without_an_identity_is_not_a_file_systems(tmp_path: Path) -> None:
    assert code_of(write(tmp_path, metadata(1, metaid=0))) is MetadataFaultCode.NO_METAID


def test_more_sections_than_mfs_has_are_refused(tmp_path: Path) -> None:
    content = metadata(405)[:24] + section(b"EDGE 1.1", b"") * 65 + END_MARK
    assert code_of(write(tmp_path, content)) is MetadataFaultCode.BAD_SECTION


def test_a_file_without_inodes_is_refused(tmp_path: Path) -> None:
    content = metadata(405)[:24] + section(b"EDGE 1.1", b"") + END_MARK
    assert code_of(write(tmp_path, content)) is MetadataFaultCode.NO_NODES


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    assert code_of(write(tmp_path, b"SFSM 2.9" + bytes(100))) is MetadataFaultCode.UNKNOWN_MAGIC


def test_what_is_no_regular_file_is_a_fault_and_never_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "metadata.mfs"
    os.mkfifo(fifo)
    assert code_of(fifo) is MetadataFaultCode.UNREADABLE
    assert code_of(tmp_path / "absent") is MetadataFaultCode.UNREADABLE
