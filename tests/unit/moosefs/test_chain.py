from pathlib import Path

import pytest

from pycarpd.moosefs.chain import Chain, ChainRefusal, RefusalCode, prove
from pycarpd.moosefs.changelog import ChangelogFault
from pycarpd.moosefs.metadata import MetadataFault
from tests.unit.moosefs.files import METAID, OTHER_METAID, fill, line, log, metadata


def proved(directory: Path, files: dict[str, bytes]) -> Chain:
    found = prove(fill(directory, files), expected_metaid=METAID)
    assert isinstance(found, Chain), found
    return found


def refused(directory: Path, files: dict[str, bytes], expected_metaid: int | None = METAID) -> ChainRefusal:
    found = prove(fill(directory, files), expected_metaid=expected_metaid)
    assert isinstance(found, ChainRefusal), found
    return found


def tail_bytes(chain: Chain) -> bytes:
    return b"".join(piece.path.read_bytes()[piece.offset : piece.end_offset] for piece in chain.tail)


def test_a_metaloggers_ordinary_set_is_proved_to_its_last_line(tmp_path: Path) -> None:
    chain = proved(
        tmp_path,
        {
            "metadata_ml.mfs.back": metadata(500, inodes=42),
            "metadata_ml.mfs.back.1": metadata(300),
            "changelog_ml_back.1.mfs": log(300, 499),
            "changelog_ml_back.0.mfs": log(500, 620),
            "changelog_ml.1.mfs": log(450, 599),
            "changelog_ml.0.mfs": log(600, 700) + line(701)[:-5],
        },
    )
    assert chain.base.name == "metadata_ml.mfs.back"
    assert (chain.version, chain.metaid, chain.inode_count) == (701, METAID, 42)
    assert tail_bytes(chain) == log(500, 700)
    assert (chain.tail[0].first, chain.tail[-1].last) == (500, 700)


def test_a_cleanly_stopped_masters_metadata_needs_no_tail(tmp_path: Path) -> None:
    chain = proved(tmp_path, {"metadata.mfs": metadata(701), "changelog.0.mfs": log(500, 700)})
    assert (chain.base.name, chain.version, chain.tail) == ("metadata.mfs", 701, ())


def test_a_base_without_any_changelog_is_its_own_version(tmp_path: Path) -> None:
    assert proved(tmp_path, {"metadata_ml.mfs.back": metadata(500)}).version == 500


def test_master_and_metalogger_files_make_one_chain(tmp_path: Path) -> None:
    chain = proved(
        tmp_path,
        {
            "metadata.mfs.back": metadata(400),
            "changelog.0.mfs": log(350, 600),
            "metadata_ml.mfs.back": metadata(500),
            "changelog_ml.0.mfs": log(580, 640),
        },
    )
    assert (chain.base.name, chain.version) == ("metadata_ml.mfs.back", 641)
    assert tail_bytes(chain) == log(500, 640)


def test_an_older_base_wins_if_only_it_reaches_the_newest_change(tmp_path: Path) -> None:
    chain = proved(
        tmp_path,
        {
            "metadata_ml.mfs.back": metadata(500)[:-3],
            "metadata_ml.mfs.back.1": metadata(300),
            "changelog_ml.0.mfs": log(250, 700),
        },
    )
    assert (chain.base.name, chain.version) == ("metadata_ml.mfs.back.1", 701)
    assert [type(fault) for fault in chain.faults] == [MetadataFault]


def test_a_newer_base_bridges_a_gap(tmp_path: Path) -> None:
    chain = proved(
        tmp_path,
        {
            "metadata_ml.mfs.back": metadata(500),
            "metadata_ml.mfs.back.1": metadata(300),
            "changelog_ml.1.mfs": log(300, 400),
            "changelog_ml.0.mfs": log(450, 600),
        },
    )
    assert (chain.base.name, chain.version) == ("metadata_ml.mfs.back", 601)


def test_changes_behind_a_gap_are_never_dropped_in_silence(tmp_path: Path) -> None:
    refusal = refused(
        tmp_path,
        {"metadata_ml.mfs.back": metadata(300), "changelog_ml.0.mfs": log(300, 400) + log(20_450, 20_600)},
    )
    assert (refusal.code, refusal.missing_from, refusal.missing_to) == (RefusalCode.GAP, 401, 20_449)
    assert refusal.where == ("metadata_ml.mfs.back", "changelog_ml.0.mfs")


def test_a_gap_right_behind_the_base_is_named(tmp_path: Path) -> None:
    refusal = refused(tmp_path, {"metadata_ml.mfs.back": metadata(300), "changelog_ml.0.mfs": log(302, 400)})
    assert (refusal.code, refusal.missing_from, refusal.missing_to) == (RefusalCode.GAP, 300, 301)


def test_a_line_that_swallowed_another_is_a_gap_unless_a_copy_bridges_it(tmp_path: Path) -> None:
    files = {
        "metadata_ml.mfs.back": metadata(300),
        "changelog_ml.0.mfs": log(300, 400) + line(401)[:20] + log(402, 500),
    }
    refusal = refused(tmp_path, files)
    assert (refusal.code, refusal.missing_from, refusal.missing_to) == (RefusalCode.GAP, 401, 402)
    chain = proved(tmp_path, files | {"changelog_ml_back.0.mfs": log(390, 410)})
    assert chain.version == 501
    assert tail_bytes(chain) == log(300, 500)
    assert [type(fault) for fault in chain.faults] == [ChangelogFault]


def test_damage_as_the_last_that_is_known_is_refused(tmp_path: Path) -> None:
    glued = log(300, 400) + line(401)[:20] + line(402)
    refusal = refused(tmp_path, {"metadata_ml.mfs.back": metadata(300), "changelog_ml.0.mfs": glued})
    assert (refusal.code, refusal.missing_from) == (RefusalCode.CHANGELOG_DAMAGED, 401)


def test_damage_before_the_end_of_the_chain_does_no_harm(tmp_path: Path) -> None:
    files = {
        "metadata_ml.mfs.back": metadata(500),
        "changelog_ml.9.mfs": log(300, 400) + b"rubbish\n",
        "changelog_ml.7.mfs": b"rubbish\n",
        "changelog_ml.0.mfs": b"rubbish\n" + log(490, 600),
    }
    chain = proved(tmp_path, files)
    assert chain.version == 601
    assert len(chain.faults) == 3


def test_a_newest_changelog_that_holds_nothing_but_damage_is_refused(tmp_path: Path) -> None:
    refusal = refused(tmp_path, {"metadata_ml.mfs.back": metadata(500), "changelog_ml.0.mfs": bytes(4096)})
    assert refusal.code is RefusalCode.CHANGELOG_DAMAGED


def test_a_damaged_base_that_is_newer_than_all_else_is_refused(tmp_path: Path) -> None:
    refusal = refused(
        tmp_path,
        {
            "metadata_ml.mfs.back": metadata(900)[:-3],
            "metadata_ml.mfs.back.1": metadata(300),
            "changelog_ml.0.mfs": log(300, 700),
        },
    )
    assert (refusal.code, refusal.missing_from, refusal.missing_to) == (RefusalCode.BASE_DAMAGED, 701, 899)


def test_one_number_with_two_contents_is_two_histories(tmp_path: Path) -> None:
    refusal = refused(
        tmp_path,
        {
            "metadata_ml.mfs.back": metadata(300),
            "changelog.0.mfs": log(300, 650) + log(651, 655, history="x"),
            "changelog_ml.0.mfs": log(600, 700),
        },
    )
    assert refusal.code is RefusalCode.DIVERGED
    assert refusal.where == ("changelog.0.mfs", "changelog_ml.0.mfs")
    assert "change 651 " in refusal.detail


def test_two_histories_in_one_file_are_found(tmp_path: Path) -> None:
    stepped_back = log(300, 650) + log(640, 700, history="x")
    refusal = refused(tmp_path, {"metadata_ml.mfs.back": metadata(300), "changelog_ml.0.mfs": stepped_back})
    assert refusal.code is RefusalCode.DIVERGED


def test_an_empty_file_system_is_never_a_base(tmp_path: Path) -> None:
    refusal = refused(tmp_path, {"metadata.mfs": b"MFSM NEW", "metadata.mfs.empty": b"MFSM NEW"})
    assert refusal.code is RefusalCode.EMPTY_ONLY
    assert refusal.where == ("metadata.mfs", "metadata.mfs.empty")
    chain = proved(tmp_path, {"metadata_ml.mfs.back": metadata(500)})
    assert chain.version == 500


@pytest.mark.parametrize("name", ["metadata_ml.tmp", "metadata.mfs.back.tmp", "metadata.crc", "sessions.mfs"])
def test_a_file_in_the_making_is_never_a_base(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, {name: metadata(500)}).code is RefusalCode.NO_BASE


def test_changelogs_alone_are_no_base(tmp_path: Path) -> None:
    assert refused(tmp_path, {"changelog_ml.0.mfs": log(1, 9)}).code is RefusalCode.NO_BASE


def test_only_damaged_bases_are_named(tmp_path: Path) -> None:
    refusal = refused(tmp_path, {"metadata_ml.mfs.back": metadata(500)[:-1], "metadata.mfs": b""})
    assert refusal.code is RefusalCode.BASE_DAMAGED
    assert refusal.where == ("metadata.mfs", "metadata_ml.mfs.back")


def test_metadata_of_two_file_systems_is_refused(tmp_path: Path) -> None:
    files = {"metadata.mfs": metadata(500, OTHER_METAID), "metadata_ml.mfs.back": metadata(400)}
    refusal = refused(tmp_path, files, None)
    assert refusal.code is RefusalCode.METAID_MIXED
    assert set(refusal.where) == set(files)


def test_metadata_of_another_file_system_than_the_expected_is_refused(tmp_path: Path) -> None:
    refusal = refused(tmp_path, {"metadata.mfs": metadata(500, OTHER_METAID)})
    assert refusal.code is RefusalCode.METAID_UNEXPECTED
    found = prove(tmp_path, expected_metaid=None)
    assert isinstance(found, Chain)
    assert found.metaid == OTHER_METAID


def test_changes_of_a_brand_new_file_system_are_foreign(tmp_path: Path) -> None:
    fresh = b"1: 1795405400|SETMETAID(%d)\n" % OTHER_METAID + log(2, 9)
    refusal = refused(tmp_path, {"metadata_ml.mfs.back": metadata(500), "changelog_ml.0.mfs": fresh})
    assert refusal.code is RefusalCode.METAID_MIXED


def test_the_base_that_kills_mfsmaster_is_avoided_or_refused(tmp_path: Path) -> None:
    files = {"metadata_ml.mfs.back": metadata(4994), "changelog_ml.0.mfs": log(4900, 5100)}
    assert refused(tmp_path, files).code is RefusalCode.LOADER_TRAP
    chain = proved(tmp_path, files | {"metadata_ml.mfs.back.1": metadata(4950)})
    assert (chain.base.name, chain.version) == ("metadata_ml.mfs.back.1", 5101)


def test_the_base_that_would_kill_mfsmaster_is_harmless_without_changes(tmp_path: Path) -> None:
    assert proved(tmp_path, {"metadata.mfs": metadata(4994), "changelog.0.mfs": log(4900, 4993)}).version == 4994


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    found = prove(tmp_path / "absent", expected_metaid=None)
    assert isinstance(found, ChainRefusal)
    assert found.code is RefusalCode.UNREADABLE


def test_sub_directories_and_foreign_names_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "metadata.old").mkdir()
    (tmp_path / "changelog.3.mfs").mkdir()
    files = {"changelog_ml.tmp": log(700, 900), "changelog.mfs": b"?", "stats.mfs": b"?", ".mfsmaster.lock": b"1"}
    assert proved(tmp_path, files | {"metadata.mfs": metadata(500)}).version == 500
