from pathlib import Path

from pycarpd.moosefs.chain import Chain, ChainIndex, ChainRefusal, RefusalCode, prove
from pycarpd.moosefs.changelog import Scanner
from tests.unit.moosefs.files import METAID, fill, line, log, metadata


def version(index: ChainIndex) -> int:
    found = index.prove(expected_metaid=METAID)
    assert isinstance(found, Chain), found
    return found.version


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_an_index_follows_appends_a_torn_line_and_rotation(tmp_path: Path) -> None:
    live = tmp_path / "changelog_ml.0.mfs"
    fill(tmp_path, {"metadata_ml.mfs.back": metadata(300), live.name: log(300, 400)})
    index = ChainIndex(tmp_path)
    assert version(index) == 401
    append(live, line(401)[:9])
    assert version(index) == 401
    append(live, line(401)[9:] + line(402))
    assert version(index) == 403
    live.rename(tmp_path / "changelog_ml.1.mfs")
    live.write_bytes(line(403))
    assert version(index) == 404
    (tmp_path / "changelog_ml.1.mfs").unlink()
    refusal = index.prove(expected_metaid=METAID)
    assert isinstance(refusal, ChainRefusal)
    assert refusal.code is RefusalCode.GAP


def test_only_what_was_appended_is_read_again(tmp_path: Path) -> None:
    live = tmp_path / "changelog_ml.0.mfs"
    fill(tmp_path, {"metadata_ml.mfs.back": metadata(300), live.name: log(300, 30_000)})
    index = ChainIndex(tmp_path)
    assert version(index) == 30_001
    tracked = index._catalog.refresh()[0]
    scanner, offset = tracked.scanner, tracked.scanner.offset
    append(live, line(30_001))
    assert version(index) == 30_002
    assert index._catalog.refresh()[0].scanner is scanner
    assert scanner.offset == offset + len(line(30_001))


def test_a_file_that_was_rewritten_is_read_from_its_beginning(tmp_path: Path) -> None:
    live = tmp_path / "changelog_ml.0.mfs"
    fill(tmp_path, {"metadata_ml.mfs.back": metadata(300), live.name: log(300, 400)})
    index = ChainIndex(tmp_path)
    assert version(index) == 401
    live.write_bytes(log(290, 450, history="x"))
    assert version(index) == 451
    live.write_bytes(log(300, 310))
    assert version(index) == 311


def test_divergence_is_found_in_what_was_appended_to_either_file(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "metadata_ml.mfs.back": metadata(300),
            "changelog_ml.0.mfs": log(300, 400),
            "changelog_ml_back.0.mfs": log(350, 380),
        },
    )
    index = ChainIndex(tmp_path)
    assert version(index) == 401
    append(tmp_path / "changelog_ml_back.0.mfs", log(381, 390, history="x"))
    refusal = index.prove(expected_metaid=METAID)
    assert isinstance(refusal, ChainRefusal)
    assert refusal.code is RefusalCode.DIVERGED
    assert refusal == prove(tmp_path, expected_metaid=METAID)


def test_feeding_byte_by_byte_gives_what_feeding_at_once_gives(tmp_path: Path) -> None:
    content = log(10, 14) + b"?\n" + line(16)[:9] + log(20, 24) + line(912) + log(26, 29) + line(30)[:4]
    path = tmp_path / "changelog_ml.0.mfs"
    path.write_bytes(content)
    slow, quick = Scanner(), Scanner()
    with path.open("rb") as file:
        for size in range(len(content) + 1):
            slow.feed(file.fileno(), size)
        quick.feed(file.fileno(), len(content))
    assert slow.result(path) == quick.result(path)
