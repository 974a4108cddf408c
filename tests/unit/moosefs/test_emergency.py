import os
import pwd
from pathlib import Path

import pytest

from pycarpd.moosefs.chain import Chain, ChainIndex, ChainRefusal, RefusalCode
from pycarpd.moosefs.emergency import EMERGENCY_NAME, emergency_directories
from tests.unit.moosefs.files import METAID, OTHER_METAID, fill, log, metadata


@pytest.mark.parametrize(
    ("save", "is_refused"),
    [
        (metadata(420), True),
        (metadata(900), True),
        (metadata(300), False),
        (metadata(900, OTHER_METAID), False),
        (metadata(900)[:-1], False),
        (metadata(900).replace(b"EDGE 1.1", b"edge 1.1"), True),
        (b"MFSM NEW", False),
        (b"", False),
    ],
    ids=["within-the-tail", "newest", "as-old", "foreign", "cut-off", "damaged-inside", "empty-new", "no-bytes"],
)
def test_a_save_that_mfsmaster_would_prefer_is_refused(tmp_path: Path, save: bytes, is_refused: bool) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    fill(data, {"metadata_ml.mfs.back": metadata(300), "changelog_ml.0.mfs": log(300, 500)})
    fill(elsewhere, {EMERGENCY_NAME: save})
    found = ChainIndex(data, (tmp_path / "absent", elsewhere)).prove(expected_metaid=METAID)
    if is_refused:
        assert isinstance(found, ChainRefusal)
        assert found.code is RefusalCode.EMERGENCY_SAVE
        assert found.where == (str(elsewhere / EMERGENCY_NAME),)
    else:
        assert isinstance(found, Chain)
        assert found.version == 501


def test_it_is_looked_for_where_mfsmaster_looks_but_not_in_the_data_directory(tmp_path: Path) -> None:
    places = emergency_directories(tmp_path, os.getuid())
    assert Path(pwd.getpwuid(os.getuid()).pw_dir) in places
    assert Path("/") in places
    assert Path("/var") in places
    assert Path("/var") not in emergency_directories(Path("/var"), os.getuid())
    assert len(emergency_directories(tmp_path, 2**31 - 5)) == len(places) - 1
