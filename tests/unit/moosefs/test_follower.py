import os
from pathlib import Path

import pytest

from pycarpd.moosefs import prepared
from pycarpd.moosefs.chain import Chain, prove
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.moosefs.layout import TAIL_NAME, write_layout
from tests.unit.moosefs.files import METAID, fill, line, log, metadata


class Standby:
    """A standby's data directory and what follows it."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.copy = root / "prepared" / TAIL_NAME
        self.staging = root / "staging"
        self.data.mkdir()
        self.live = self.data / "changelog_ml.0.mfs"
        fill(self.data, {"metadata_ml.mfs.back": metadata(300), self.live.name: log(290, 500)})
        self.follower = ChainFollower(self.data, root / "prepared")

    def follow(self) -> Chain:
        return self.proved(self.follower.follow(expected_metaid=METAID))

    def append(self, content: bytes) -> None:
        with self.live.open("ab") as file:
            file.write(content)

    def lay_out(self) -> bytes:
        chain = self.proved(self.follower.prove(expected_metaid=METAID))
        assert chain == prove(self.data, expected_metaid=METAID)
        self.follower.lay_out(chain, self.staging)
        plain = self.staging.with_name("plain")
        write_layout(chain, plain)
        laid_out = (self.staging / TAIL_NAME).read_bytes()
        assert laid_out == (plain / TAIL_NAME).read_bytes()
        return laid_out

    @staticmethod
    def proved(found: object) -> Chain:
        assert isinstance(found, Chain), found
        return found


@pytest.fixture
def standby(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standby:
    monkeypatch.setattr(prepared, "SMALLEST_BYTES", 1)
    return Standby(tmp_path)


def test_the_copy_follows_and_a_takeover_adds_only_what_came_since(standby: Standby) -> None:
    standby.follow()
    assert standby.copy.read_bytes() == log(300, 500)
    standby.append(log(501, 520) + line(521)[:7])
    standby.follow()
    standby.append(line(521)[7:] + log(522, 530) + b"531: 1")
    followed = standby.copy.stat()
    assert followed.st_size == len(log(300, 520))
    assert standby.lay_out() == log(300, 530)
    assert (standby.staging / TAIL_NAME).stat().st_ino == followed.st_ino
    assert not standby.copy.exists()


def test_rotation_goes_on_in_the_same_copy(standby: Standby) -> None:
    standby.follow()
    begun = standby.copy.stat().st_ino
    standby.live.rename(standby.data / "changelog_ml.1.mfs")
    standby.live.write_bytes(log(501, 540))
    standby.follow()
    assert standby.copy.stat().st_ino == begun
    assert standby.lay_out() == log(300, 540)


def test_a_newer_base_begins_a_new_copy(standby: Standby) -> None:
    standby.follow()
    (standby.data / "metadata_ml.mfs.back").write_bytes(metadata(450))
    standby.follow()
    assert standby.copy.read_bytes() == log(450, 500)
    assert standby.lay_out() == log(450, 500)


def test_a_past_that_has_changed_is_not_kept(standby: Standby) -> None:
    standby.follow()
    standby.live.write_bytes(log(290, 520, history="x"))
    assert standby.lay_out() == log(300, 520, history="x")


@pytest.mark.parametrize("damage", ["shorter", "longer", "gone"])
def test_a_copy_that_somebody_touched_is_not_used(standby: Standby, damage: str) -> None:
    standby.follow()
    match damage:
        case "shorter":
            os.truncate(standby.copy, 100)
        case "longer":
            with standby.copy.open("ab") as file:
                file.write(b"?")
        case _:
            standby.copy.unlink()
    standby.append(line(501))
    assert standby.lay_out() == log(300, 501)


def test_a_copy_is_caught_up_with_over_several_rounds(standby: Standby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_ROUND_BYTES_MAX", 1000)
    standby.follow()
    assert standby.copy.stat().st_size == 1000
    standby.follow()
    assert standby.copy.stat().st_size == 2000
    assert standby.lay_out() == log(300, 500)


def test_nothing_is_prepared_for_a_tail_that_is_quickly_copied(tmp_path: Path) -> None:
    standby = Standby(tmp_path)
    standby.follow()
    assert not standby.copy.exists()
    assert standby.lay_out() == log(300, 500)


def test_nothing_is_prepared_where_it_would_fill_the_disk(standby: Standby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_FREE_SHARE", 1 << 60)
    standby.follow()
    assert not standby.copy.exists()


def test_an_earlier_process_copy_is_overwritten(standby: Standby) -> None:
    standby.copy.parent.mkdir()
    standby.copy.write_bytes(log(1, 2000))
    standby.follow()
    assert standby.copy.read_bytes() == log(300, 500)
