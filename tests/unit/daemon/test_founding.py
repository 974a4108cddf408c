"""Who may make a new, empty file system: only a host where nobody has metadata, or an operator who answers for it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pycarpd.control.reports import Report, explanations
from pycarpd.daemon import founding as room
from pycarpd.daemon.board import Board
from pycarpd.daemon.founding import Founding
from pycarpd.daemon.messages import PeerNews
from pycarpd.daemon.patient import Findings
from pycarpd.election.model import Freshness, Role
from pycarpd.takeover.bootstrap import NEW, NewFileSystem
from pycarpd.takeover.context import TakeoverSettings
from pycarpd.takeover.step import StepFault
from tests.unit.daemon.values import FRESH, daemon_settings, peer_news, status_news

EMPTY = peer_news(freshness=None, is_promotable=False)
FORCE = explanations()["bootstrap-member-silent"].force_code


class Bench:
    def __init__(self, data_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.remembered: int | None = None
        self.made = 0
        self.outcome: NewFileSystem | StepFault = NewFileSystem(7, 2)
        config = data_path / "mfsmaster.cfg"
        self.board = Board(daemon_settings())
        takeover = TakeoverSettings(data_path, config, config, 0, 0, ())
        self.founding = Founding(takeover, self.board, lambda: self.remembered, lambda: False)
        monkeypatch.setattr(room, "make_file_system", self.make)
        self.hear(EMPTY)

    def make(self, _settings: TakeoverSettings) -> NewFileSystem | StepFault:
        self.made += 1
        return self.outcome

    def hear(self, *peers: PeerNews, **changes: Any) -> None:
        usual: dict[str, Any] = {"role": Role.BACKUP, "master": "", "peers": peers}
        self.board.news = status_news(**(usual | changes))

    def codes(self, **args: str) -> list[str]:
        reports: tuple[Report, ...] = asyncio.run(self.founding.command(args))
        return [each.code for each in reports]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_where_nobody_has_metadata_one_is_made(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "metadata.mfs").write_bytes(NEW)
    assert bench.codes() == ["bootstrap-done"]
    assert bench.made == 1


def test_own_metadata_refuses_whatever_is_forced(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "changelog_ml.0.mfs").write_bytes(b"damaged")
    assert bench.codes(force=str(FORCE)) == ["bootstrap-has-metadata"]
    assert bench.made == 0


@pytest.mark.parametrize("peer", [peer_news(freshness=None, has_files=True), peer_news(freshness=FRESH)])
def test_metadata_elsewhere_refuses(bench: Bench, peer: PeerNews) -> None:
    bench.hear(EMPTY, peer)
    assert bench.codes() == ["bootstrap-has-metadata"]


@pytest.mark.parametrize("heard_ms", [None, room.HEARD_WITHIN_MS + 1])
def test_for_a_silent_member_the_operator_answers(bench: Bench, heard_ms: int | None) -> None:
    bench.hear(EMPTY, peer_news("meta3", freshness=None, heard_ms=heard_ms))
    assert bench.codes() == ["bootstrap-member-silent"]
    assert bench.codes(force="another-code") == ["bootstrap-member-silent"]
    assert bench.made == 0
    assert bench.codes(force=str(FORCE)) == ["bootstrap-done"]


def test_a_witness_has_no_metadata(bench: Bench) -> None:
    bench.hear(EMPTY, peer_news("meta3", freshness=None, is_witness=True, heard_ms=None))
    assert bench.codes() == ["bootstrap-done"]


def test_a_master_another_role_and_another_file_system_refuse(bench: Bench) -> None:
    bench.hear(EMPTY, master="meta2")
    assert bench.codes() == ["bootstrap-has-master"]
    bench.hear(EMPTY, role=Role.MASTER)
    assert bench.codes() == ["bootstrap-not-now"]
    bench.hear(EMPTY)
    bench.remembered = 9
    assert bench.codes() == ["bootstrap-expects-another"]


def test_what_went_wrong_is_told(bench: Bench) -> None:
    bench.outcome = StepFault("BOOTSTRAP_FAILED", "mfsmaster did not start")
    assert bench.codes() == ["bootstrap-failed"]
    assert bench.codes(what="ever") == ["command-bad-argument"]


def test_files_that_prove_nothing_are_files(bench: Bench, tmp_path: Path) -> None:
    nothing = Findings(None, "there is no metadata file")
    assert bench.founding.has_files(Findings(Freshness(1, 2), ""))
    assert not bench.founding.has_files(nothing)
    (tmp_path / "metadata.mfs").write_bytes(NEW)
    assert not bench.founding.has_files(nothing)
    (tmp_path / "metadata.mfs").write_bytes(NEW[:-1])
    assert bench.founding.has_files(nothing)
