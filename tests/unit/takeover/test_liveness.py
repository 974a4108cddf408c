"""What a live mfsmaster may have done of itself between loading and being asked, and how long loading may take."""

import threading
from pathlib import Path

import pytest

from pycarpd.moosefs.metadata import MetadataHeader
from pycarpd.moosefs.probe import LiveMaster
from pycarpd.moosefs.proof import Chain, TailPiece
from pycarpd.takeover import liveness
from pycarpd.takeover.liveness import SELF_MADE_MAX, start_timeout_ns

S = 1_000_000_000
TRASH = b"%d: 1700000000|EMPTYTRASH():0,0\n"


def verdict(data_path: Path, live: int, expected: int = 100) -> str | None:
    fault = liveness._account_for(LiveMaster(live, 7, (3, 0, 117)), expected, data_path, threading.Event())
    return fault.detail if fault is not None else None


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_LOG_WAIT_S", 0.001)


def test_changes_of_its_own_are_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "changelog.1.mfs").write_bytes(b"99: 1|CREATE(1,a):2\n" + TRASH % 100)
    (tmp_path / "changelog.0.mfs").write_bytes(b"101: 1700000000|FREEINODES():3\n")
    assert verdict(tmp_path, 102) is None


def test_a_clients_change_is_not(tmp_path: Path) -> None:
    (tmp_path / "changelog.0.mfs").write_bytes(TRASH % 100 + b"101: 1|CREATE(1,a):2\n")
    assert "CREATE" in str(verdict(tmp_path, 102))


def test_a_change_that_stands_nowhere_is_not(tmp_path: Path) -> None:
    (tmp_path / "changelog.0.mfs").write_bytes(TRASH % 100)
    assert verdict(tmp_path, 102) == "version 102 is served, expected 100"
    assert verdict(tmp_path / "nowhere", 101) == "version 101 is served, expected 100"


def test_an_older_version_or_too_many_changes_are_not(tmp_path: Path) -> None:
    log = b"".join(TRASH % number for number in range(100, 102 + SELF_MADE_MAX))
    (tmp_path / "changelog.0.mfs").write_bytes(log)
    assert verdict(tmp_path, 99) is not None
    assert verdict(tmp_path, 100 + SELF_MADE_MAX) is None
    assert verdict(tmp_path, 101 + SELF_MADE_MAX) is not None


def test_loading_may_take_what_the_size_explains(tmp_path: Path) -> None:
    base = tmp_path / "metadata_ml.mfs.back"
    with base.open("wb") as file:
        file.truncate(200_000_000)
    tail = (TailPiece(tmp_path / "changelog_ml.0.mfs", 0, 40_000_000, 1, 2),)
    chain = Chain(base, MetadataHeader("MFSM 2.0", 1, 7), tail, 3, 7)
    assert start_timeout_ns(chain, 1800 * S) == 180 * S
    assert start_timeout_ns(chain, 90 * S) == 90 * S
    assert start_timeout_ns(None, 1800 * S) == 1800 * S
    base.unlink()
    assert start_timeout_ns(chain, 1800 * S) == 1800 * S
