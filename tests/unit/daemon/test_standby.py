"""How a standby judges its files against what the master tells, and when it has its metalogger started again."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pycarpd.daemon import downloads as downloads_room
from pycarpd.daemon import drills as drills_room
from pycarpd.daemon import standby as room
from pycarpd.daemon.board import Board
from pycarpd.daemon.disk import Disk
from pycarpd.daemon.drills import Drills
from pycarpd.daemon.host import Host
from pycarpd.daemon.jobs import Job, Kind
from pycarpd.daemon.patient import NO_METALOGGER, Findings
from pycarpd.daemon.standby import Needs, Standby
from pycarpd.election.model import Freshness, Role
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.takeover.context import TakeoverSettings
from pycarpd.takeover.datafiles import Kept
from pycarpd.takeover.events import Outcome
from pycarpd.takeover.step import StepFault
from tests.netns.linux_fixtures import eventually
from tests.unit.daemon.values import daemon_settings, peer_news, status_news

S = 1_000_000_000
METAID = 7


def found(version: int, *, lacks: bool = False) -> Findings:
    return Findings(Freshness(METAID, version), NO_METALOGGER if lacks else "", lacks_metalogger=lacks)


@dataclass
class Bench:
    """A standby with a clock that the test moves, and a master that the test lets speak."""

    path: Path
    now_ns: int = 1000 * S
    jobs: list[Job] = field(default_factory=list)
    looks: int = 0
    is_busy: bool = False

    def __post_init__(self) -> None:
        config = self.path / "mfsmaster.cfg"
        takeover = TakeoverSettings(self.path, config, config, 0, 0, ())
        host = Host(takeover, Mfsmaster(config, self.path), Mfsmetalogger(config, self.path))
        self.board = Board(daemon_settings())
        self.disk = Disk()
        drills = Drills(takeover, self.path, lambda: None, lambda: 0)
        needs = Needs(host, self.board, self.disk, drills, lambda: self.is_busy, self.jobs.append, self.look)
        self.standby = Standby(needs)

    def look(self) -> None:
        self.looks += 1

    def hear(self, version: int | None, master: str = "meta2") -> None:
        """Let the master say its version, or be silent."""
        told = Freshness(METAID, version) if version is not None else None
        peers = (peer_news(master, role=Role.MASTER, freshness=told),)
        news = status_news(role=Role.BACKUP, master=master if version is not None else "", peers=peers)
        self.board.news = news

    def why_not(self, findings: Findings, seconds: int = 0) -> str:
        """Look once a second, so often and once more, and return what the last look means."""
        for _ in range(seconds):
            self.now_ns += S
            self.standby.judge(findings, Role.BACKUP)
        return self.standby.judge(findings, Role.BACKUP).why_not


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    for module in (room, downloads_room, drills_room):
        monkeypatch.setattr(module, "boottime_ns", lambda: made.now_ns)
    made.standby._stopped_ns = made.now_ns
    return made


def test_files_without_a_metalogger_are_complete_while_there_is_no_master(bench: Bench) -> None:
    bench.hear(None)
    assert bench.why_not(found(100, lacks=True), 60) == ""


def test_beside_a_master_a_missing_metalogger_is_told_after_a_grace(bench: Bench) -> None:
    bench.hear(100)
    assert bench.why_not(found(100, lacks=True), 3) == ""
    assert bench.why_not(found(100, lacks=True), 5) == NO_METALOGGER


def test_a_host_that_was_behind_goes_on_saying_so_when_the_master_is_lost(bench: Bench) -> None:
    bench.hear(100)
    bench.why_not(found(100, lacks=True), 30)
    bench.standby.lose_master(3)
    bench.hear(None)
    assert bench.why_not(found(100, lacks=True), 30) == NO_METALOGGER
    bench.hear(120, "meta3")
    assert bench.why_not(found(119), 1) == NO_METALOGGER
    assert bench.why_not(found(120), 5) == ""


def test_a_metalogger_that_runs_and_receives_nothing_is_found_out(bench: Bench) -> None:
    bench.hear(100)
    assert bench.why_not(found(100), 20) == ""
    bench.hear(130)
    assert bench.why_not(found(100), 9) == ""
    assert bench.why_not(found(100), 3) == "its files are 30 changes behind the master's"
    assert bench.why_not(found(130), 1) == ""


def test_one_that_receives_with_a_moments_delay_is_not_behind(bench: Bench) -> None:
    for version in range(100, 200, 2):
        bench.hear(version)
        bench.now_ns += S
        assert bench.why_not(found(version - 2)) == ""


def test_a_serving_host_is_not_compared(bench: Bench) -> None:
    bench.hear(500)
    bench.why_not(found(1), 30)
    assert bench.standby.judge(found(1), Role.MASTER).why_not == ""


def test_what_cannot_be_taken_back_keeps_the_host_from_promoting_and_is_tried_again(bench: Bench) -> None:
    bench.hear(100)
    open_plan = Outcome("id", "promote", ok=False, undo_faults=(("install", StepFault("X", "disk full")),))
    bench.standby.on_plan_ended(open_plan)
    assert "install: disk full" in bench.why_not(found(100))
    assert [each.code for each in bench.standby.reports(Role.BACKUP)] == ["undo-failed"]
    for _ in range(60):
        bench.now_ns += S
        bench.standby.look_after(found(100), Role.BACKUP)
    assert [job.kind for job in bench.jobs] == [Kind.DEMOTE, Kind.DEMOTE]
    bench.standby.on_plan_ended(Outcome("id", "demote", ok=True))
    assert bench.why_not(found(100)) == ""
    assert bench.standby.reports(Role.BACKUP) == ()


def test_a_metalogger_that_died_is_started_again_soon_beside_a_master(bench: Bench) -> None:
    bench.hear(100)
    bench.now_ns += 10 * S
    bench.standby.look_after(found(100, lacks=True), Role.BACKUP)
    assert [job.kind for job in bench.jobs] == [Kind.DEMOTE]
    bench.standby.look_after(found(100, lacks=True), Role.BACKUP)
    bench.is_busy = True
    bench.now_ns += 100 * S
    bench.standby.look_after(found(100, lacks=True), Role.BACKUP)
    bench.standby.look_after(found(100, lacks=True), Role.PROMOTING)
    assert len(bench.jobs) == 1


def test_a_metalogger_whose_files_keep_a_gap_downloads_anew_ever_less_often(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[int] = []
    monkeypatch.setattr(Mfsmetalogger, "stop", lambda *_: stops.append(bench.now_ns))
    gap = Findings(None, "changes 7 to 9 are missing", has_gap=True)
    bench.hear(100)

    def look(findings: Findings, seconds: int) -> int:
        for _ in range(seconds):
            bench.now_ns += S
            bench.standby.look_after(findings, Role.BACKUP)
            bench.disk.copy("wait", lambda: None)
        bench.disk._beside.submit(int).result()
        return len(stops)

    assert look(gap, 5) == 0, "a download may be under way"
    assert look(gap, 2) == 1
    assert look(gap, 8) == 1
    assert look(gap, 4) == 2
    (bench.path / "metadata_ml.tmp").touch()
    assert look(gap, 60) == 2, "it is downloading"
    (bench.path / "metadata_ml.tmp").unlink()
    assert look(found(120), 1) == 2
    assert look(gap, 7) == 3, "a gap that was closed is forgotten"
    bench.hear(None)
    assert look(gap, 60) == 3, "there is nobody to download from"
    bench.disk.close()


def test_losing_the_master_keeps_the_files_and_has_them_looked_at(bench: Bench) -> None:
    (bench.path / "changelog_ml.0.mfs").write_bytes(b"1: 1|A()\n")
    bench.standby.lose_master(4)
    assert eventually(lambda: bench.looks == 1, 10)
    bench.disk.close()
    (kept,) = Kept(bench.path).preserved.iterdir()
    assert [path.name for path in kept.iterdir()] == ["changelog_ml.0.mfs"]


def test_a_plan_that_runs_has_preserved_already(bench: Bench) -> None:
    bench.is_busy = True
    bench.standby.lose_master(4)
    bench.disk.close()
    assert not Kept(bench.path).preserved.exists()


def test_only_a_standby_drills_and_only_once_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.code for each in bench.standby.drill(Role.MASTER)] == ["drill-not-standby"]
    monkeypatch.setattr(bench.standby.drills, "begin", lambda: None)
    assert [each.code for each in bench.standby.drill(Role.BACKUP)] == ["command-accepted"]
    monkeypatch.setattr(Drills, "is_running", True)
    assert [each.code for each in bench.standby.drill(Role.BACKUP)] == ["drill-running"]
