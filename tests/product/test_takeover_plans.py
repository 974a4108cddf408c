"""PROMOTE and DEMOTE on a real mfsmaster and mfsmetalogger, in a network namespace of the test's own."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.takeover.datafiles import Kept, names_in_the_way, own_names
from pycarpd.takeover.journal import Journal

pytestmark = [pytest.mark.product, pytest.mark.netns]

CHILD = Path(__file__).with_name("takeover_child.py")
NUMBERS = itertools.count()
WAIT = threading.Event()
DIRECTORIES = 45
ADDRESS = "192.0.2.1"


def sh(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=check, capture_output=True, text=True, timeout=60)


@dataclass(frozen=True)
class Host:
    """A host's directories and its namespace."""

    root: Path
    namespace: str

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def mfsmaster(self) -> Mfsmaster:
        return Mfsmaster(self.root / "etc" / "mfsmaster.cfg", self.data)

    @property
    def metalogger(self) -> Mfsmetalogger:
        return Mfsmetalogger(self.root / "etc" / "mfsmetalogger.cfg", self.data)

    def configure(self) -> None:
        etc = self.root / "etc"
        etc.mkdir(parents=True)
        self.data.mkdir(exist_ok=True)
        common = f"WORKING_USER = root\nWORKING_GROUP = root\nDATA_PATH = {self.data}\n"
        (etc / "mfsmaster.cfg").write_text(
            f"{common}EXPORTS_FILENAME = {etc}/mfsexports.cfg\nTOPOLOGY_FILENAME = {etc}/mfstopology.cfg\n"
        )
        (etc / "mfsmetalogger.cfg").write_text(
            f"{common}MASTER_HOST = {ADDRESS}\nMETA_DOWNLOAD_FREQ = 1\nMASTER_RECONNECTION_DELAY = 1\n"
        )
        (etc / "mfsexports.cfg").write_text("* / rw,alldirs,maproot=0\n* . rw\n")
        (etc / "mfstopology.cfg").write_text("")

    def inside(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return sh("ip", "netns", "exec", self.namespace, *argv, check=check)

    def plan(self, plan: str, **job: Any) -> dict[str, Any]:
        """Run a plan in a child and return its report; {} when the child killed itself."""
        job |= {"plan": plan, "etc": str(self.root / "etc"), "journal": str(self.journal)}
        completed = self.inside(sys.executable, str(CHILD), json.dumps(job), check=False)
        if "kill_at" in job and completed.returncode == -signal.SIGKILL:
            return {}
        assert completed.returncode == 0, completed.stderr
        report: dict[str, Any] = json.loads(completed.stdout)
        return report

    def files(self) -> dict[str, bytes]:
        return {name: (self.data / name).read_bytes() for name in names_in_the_way(self.data)}

    def make_directories(self, prefix: str, count: int) -> None:
        mountpoint = self.root / "mnt"
        names = " ".join(f"{mountpoint}/{prefix}{number}" for number in range(count))
        mountpoint.mkdir(exist_ok=True)
        script = f"mfsmount -H {ADDRESS} {mountpoint} && mkdir {names}; s=$?; umount -l {mountpoint}; exit $s"
        self.inside("sh", "-c", script)

    def count_directories(self) -> int:
        mountpoint = self.root / "mnt"
        mountpoint.mkdir(exist_ok=True)
        script = f"mfsmount -H {ADDRESS} {mountpoint} >&2 && ls {mountpoint} | wc -l; umount -l {mountpoint}"
        return int(self.inside("sh", "-c", script).stdout)

    def end(self) -> None:
        assert self.mfsmaster.kill_tree(10) is None
        assert self.metalogger.kill_tree(10) is None


def wait_until(condition: Any, text: str) -> None:
    for _ in range(400):
        if condition():
            return
        WAIT.wait(0.025)
    raise AssertionError(text)


def log_of(data: Path, name: str) -> bytes:
    """MooseFS writes changelogs and sends them to metaloggers after it has answered the client."""
    path = data / name
    return path.read_bytes() if path.exists() else b""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    name = f"pctk{os.getpid()}-{next(NUMBERS)}"
    sh("ip", "netns", "add", name)
    try:
        sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "-n", name, "address", "add", f"{ADDRESS}/32", "dev", "lo")
        yield name
    finally:
        sh("ip", "netns", "del", name)


@pytest.fixture(scope="module")
def lost_master(tmp_path_factory: pytest.TempPathFactory, namespace: str) -> Iterator[tuple[Path, Path]]:
    """Data directories of a killed master and of its metalogger, which had everything."""
    root = tmp_path_factory.mktemp("origin")
    master, standby = Host(root / "master", namespace), Host(root / "standby", namespace)
    try:
        for each in (master, standby):
            each.configure()
        (master.data / "metadata.mfs").write_bytes(b"MFSM NEW")
        master.inside("mfsmaster", "-c", str(master.root / "etc" / "mfsmaster.cfg"), "start")
        master.make_directories("early", 5)
        wait_until(lambda: b"early4" in log_of(master.data, "changelog.0.mfs"), "the changelog is written")
        assert master.mfsmaster.kill_tree(10) is None
        master.inside("mfsmaster", "-c", str(master.root / "etc" / "mfsmaster.cfg"), "restore")
        master.inside("mfsmaster", "-c", str(master.root / "etc" / "mfsmaster.cfg"), "start")
        standby.inside("mfsmetalogger", "-c", str(standby.root / "etc" / "mfsmetalogger.cfg"), "start")
        wait_until((standby.data / "metadata_ml.mfs.back").exists, "the metalogger downloads")
        master.make_directories("late", 40)
        wait_until(lambda: b"late39" in log_of(standby.data, "changelog_ml.0.mfs"), "the metalogger has all")
        assert standby.metalogger.stop(10) is None
        assert master.mfsmaster.kill_tree(10) is None
        yield master.data, standby.data
    finally:
        master.end()
        standby.end()


@pytest.fixture
def host(tmp_path: Path, namespace: str, lost_master: tuple[Path, Path]) -> Iterator[Host]:
    """A standby host with its metalogger's files, nothing running."""
    made = Host(tmp_path, namespace)
    shutil.copytree(lost_master[1], made.data)
    made.configure()
    try:
        yield made
    finally:
        made.end()


def test_promotion_serves_the_expected_version_and_a_restart_in_place_serves_it_again(host: Host) -> None:
    report = host.plan("promote")
    assert report["ok"], report
    assert report["degraded"] == []
    assert report["live"]["version"] == report["expected"]
    assert report["calls"] == ["take"]
    assert host.count_directories() == DIRECTORIES
    assert host.metalogger.is_running()
    assert sorted(path.name for path in Kept(host.data).staging.iterdir()) == []
    host.make_directories("after", 3)
    wait_until(lambda: b"after2" in log_of(host.data, "changelog.0.mfs"), "the changelog is written")
    pid = host.mfsmaster.lock_holder()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    again = host.plan("promote", term=2, request={"is_address_held": True})
    assert again["ok"], again
    assert again["expected"] > report["expected"]
    assert host.count_directories() == DIRECTORIES + 3


def test_a_damaged_base_fails_and_leaves_every_file_as_it_was(host: Host) -> None:
    for base in host.data.glob("metadata*"):
        base.write_bytes(base.read_bytes()[:-20])
    before = host.files()
    report = host.plan("promote")
    assert not report["ok"]
    assert report["undone"]
    assert report["failed_step"] == "assemble"
    assert report["calls"] == []
    assert host.files() == before
    assert not host.mfsmaster.processes()


def test_an_empty_file_system_is_never_served(host: Host) -> None:
    for path in host.data.glob("*_ml*"):
        path.unlink()
    (host.data / "metadata.mfs").write_bytes(b"MFSM NEW")
    report = host.plan("promote")
    assert not report["ok"]
    assert not host.mfsmaster.processes()
    assert host.files() == {"metadata.mfs": b"MFSM NEW"}


def test_stale_metadata_is_refused_when_more_was_promised(host: Host) -> None:
    before = host.files()
    report = host.plan("promote", request={"minimum_version": 1_000_000})
    assert report["fault"]["code"] == "STALE"
    assert host.files() == before


def test_a_refused_address_undoes_everything(host: Host) -> None:
    before = host.files()
    report = host.plan("promote", refuse_address=True)
    assert (report["ok"], report["undone"], report["committed"]) == (False, True, False)
    assert report["fault"]["code"] == "ADDRESS_REFUSED"
    assert report["live"] is None
    assert host.files() == before
    assert not host.mfsmaster.processes()


def test_an_abort_while_mfsmaster_loads_leaves_nothing_running(host: Host) -> None:
    before = host.files()
    report = host.plan("promote", abort_at="start-mfsmaster")
    assert report["fault"]["code"] == "ABORTED", report
    assert not host.mfsmaster.processes()
    assert host.files() == before


@pytest.mark.parametrize(
    ("step", "after_s"),
    [("assemble", 0), ("install", 0), ("start-mfsmaster", 0), ("start-mfsmaster", 0.15), ("probe", 0)],
)
def test_a_crash_before_the_commit_is_taken_back_by_the_next_process(host: Host, step: str, after_s: float) -> None:
    before = host.files()
    assert host.plan("promote", kill_at=step, kill_after_s=after_s) == {}
    report = host.plan("recover")
    assert report["undone"], report
    assert host.files() == before
    assert not host.mfsmaster.processes()
    again = host.plan("promote", term=2)
    assert again["ok"], again
    assert again["live"]["version"] == again["expected"]


@pytest.mark.parametrize("step", ["take-address", "open-gate", "start-metalogger"])
def test_a_crash_after_the_commit_leaves_the_new_files_and_mfsmaster(host: Host, step: str) -> None:
    assert host.plan("promote", kill_at=step) == {}
    report = host.plan("recover")
    assert report["committed"], report
    assert report["live"] is not None
    assert host.mfsmaster.is_running()
    assert "metadata.mfs.back" in host.files()
    assert Journal(host.journal).recover() is None


def test_demotion_without_a_successor_keeps_the_files_and_is_idempotent(host: Host) -> None:
    assert host.plan("promote")["ok"]
    for _ in range(2):
        report = host.plan("demote")
        assert report["ok"], report
        assert not host.mfsmaster.processes()
        assert host.metalogger.is_running()
        assert own_names(host.data) == ("changelog.0.mfs", "metadata.mfs.back")
    assert host.plan("promote", term=3)["ok"]


def test_demotion_with_a_successor_archives_and_lists_what_was_lost(host: Host) -> None:
    promoted = host.plan("promote")
    host.make_directories("lost", 2)
    wait_until(lambda: b"lost1" in log_of(host.data, "changelog.0.mfs"), "the changelog is written")
    job = {"has_successor": True, "successor_version": promoted["live"]["version"]}
    report = host.plan("demote", term=2, request=job)
    assert report["ok"], report
    assert report["degraded"] == []
    assert own_names(host.data) == ()
    assert report["lost"] >= 2
    lists = list(Kept(host.data).archive.glob("*/lost-operations.txt"))
    assert len(lists) == 1
    lines = lists[0].read_text().splitlines()
    assert len(lines) == report["lost"]
    assert int(lines[0].partition(":")[0]) == promoted["live"]["version"]
    assert sum("lost0" in line or "lost1" in line for line in lines) == 2
    assert host.metalogger.is_running()
    again = host.plan("demote", term=2, request=job)
    assert again["ok"], again
    assert len(list(Kept(host.data).archive.iterdir())) == 2


@pytest.fixture
def chunkserver(tmp_path: Path, host: Host) -> Iterator[None]:
    """A chunkserver that looks for a master at the virtual address once a second."""
    (tmp_path / "chunks").mkdir()
    (tmp_path / "etc" / "mfshdd.cfg").write_text(f"{tmp_path}/chunks\n")
    (tmp_path / "csdata").mkdir()
    config = tmp_path / "etc" / "mfschunkserver.cfg"
    config.write_text(
        f"WORKING_USER = root\nWORKING_GROUP = root\nDATA_PATH = {tmp_path}/csdata\n"
        f"HDD_CONF_FILENAME = {tmp_path}/etc/mfshdd.cfg\nMASTER_HOST = {ADDRESS}\n"
        "MASTER_RECONNECTION_DELAY = 1\n"
    )
    host.inside("mfschunkserver", "-c", str(config), "start")
    yield
    host.inside("mfschunkserver", "-c", str(config), "kill", check=False)


@pytest.mark.usefixtures("chunkserver")
def test_clients_are_let_in_when_the_chunkservers_are_back(host: Host) -> None:
    peer = [list(bytes([192, 0, 2, 1])), 40_000, 9420]
    report = host.plan("promote", vips=[ADDRESS], old_connections=[peer])
    assert report["ok"], report
    assert report["degraded"] == []
    steps = [name for name, _ in report["phases_ms"]]
    assert (
        steps.index("early-address")
        < steps.index("start-mfsmaster")
        < steps.index("take-address")
        < steps.index("await-chunkservers")
    )
    assert steps.index("await-chunkservers") < steps.index("open-gate")
    assert host.inside("nft", "list", "tables").stdout == ""
    assert host.count_directories() == DIRECTORIES


def test_missing_chunkservers_are_reported_and_hold_nobody_up_for_long(host: Host) -> None:
    peer = [list(bytes([192, 0, 2, 1])), 40_000, 9420]
    report = host.plan("promote", vips=[ADDRESS], old_connections=[peer])
    assert report["ok"], report
    assert [(step, fault["code"]) for step, fault in report["degraded"]] == [
        ("await-chunkservers", "CHUNKSERVERS_MISSING")
    ]
    assert dict(report["phases_ms"])["await-chunkservers"] < 20_000
    assert host.inside("nft", "list", "tables").stdout == ""


def test_a_failure_with_the_gate_closed_opens_it_again(host: Host) -> None:
    report = host.plan("promote", vips=[ADDRESS], refuse_address=True)
    assert report["undone"], report
    assert host.inside("nft", "list", "tables").stdout == ""
