import os
from pathlib import Path

import pytest

from pycarpd.moosefs.exports import BYTES_MAX, UNKNOWN, ExportsFile, digest_of

PLAIN = b"* / rw,alldirs,maproot=0\n* . rw\n"


@pytest.mark.parametrize("same", [
    b"# who may mount\n* / rw,alldirs,maproot=0\n\n* . rw\n",
    b"*\t/  rw,alldirs,maproot=0   # all\n* . rw",
])  # fmt: skip
def test_what_mfsmaster_does_not_read_does_not_count(same: bytes) -> None:
    assert digest_of(same) == digest_of(PLAIN)


@pytest.mark.parametrize("other", [b"", b"* / ro\n", b"* . rw\n* / rw,alldirs,maproot=0\n"])
def test_what_it_reads_counts_and_so_does_the_order(other: bytes) -> None:
    assert digest_of(other) not in (digest_of(PLAIN), UNKNOWN)


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "mfsexports.cfg"
    file = ExportsFile(path)
    assert file.digest() == UNKNOWN
    path.write_bytes(PLAIN)
    assert file.digest() == digest_of(PLAIN)
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"* / ro\n")
    assert file.digest() == digest_of(b"* / ro\n")
    fresh = tmp_path / "new"
    fresh.write_bytes(b"* / rw\n")
    os.utime(fresh, ns=(stamp, stamp))
    fresh.rename(path)
    assert file.digest() == digest_of(b"* / rw\n")
    path.unlink()
    assert file.digest() == UNKNOWN


def test_what_is_too_long_to_be_one_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mfsexports.cfg"
    with path.open("wb") as sparse:
        sparse.truncate(BYTES_MAX + 1)
    assert ExportsFile(path).digest() == UNKNOWN
