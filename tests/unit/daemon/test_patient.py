"""What is found on a host: may its mfsmaster be adopted, could its files be served. Real files, sockets and locks."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest

from pycarpd.daemon.host import Host
from pycarpd.daemon.patient import Findings, Patient, finds_serving, remembered_metaid
from pycarpd.election.model import Freshness
from pycarpd.moosefs.bases import UNKNOWABLE_METAID
from pycarpd.moosefs.chain import Chain, ChainRefusal, RefusalCode, prove
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.takeover.context import Ports, TakeoverSettings
from tests.own_network import ADDRESS, own_network
from tests.unit.moosefs.files import METAID, fill, metadata
from tests.unit.moosefs.test_probe import ANY_INFO, answering, module, sends

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("_network")]
NOBODYS_PORT = 9
LOCK = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def _network() -> Iterator[None]:
    with own_network():
        yield


def host_at(data_path: Path, port: int = NOBODYS_PORT) -> Host:
    config = data_path / "mfsmaster.cfg"
    takeover = TakeoverSettings(data_path, config, config, 0, 0, (ADDRESS,), Ports(clients=port), probe_host=ADDRESS)
    return Host(takeover, Mfsmaster(config, data_path), Mfsmetalogger(config, data_path))


@contextmanager
def lock_held(data_path: Path) -> Iterator[None]:
    argv = [sys.executable, "-c", LOCK, str(data_path / ".mfsmaster.lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize(("expected", "is_adopted"), [(None, True), (METAID, True), (METAID + 1, False)])
def test_only_the_expected_file_system_is_adopted(tmp_path: Path, expected: int | None, is_adopted: bool) -> None:
    with answering(sends(ANY_INFO, module())) as port:
        assert finds_serving(host_at(tmp_path, port), expected) is is_adopted


def test_nothing_is_adopted_where_nothing_runs(tmp_path: Path) -> None:
    assert not finds_serving(host_at(tmp_path), None)


def test_a_mfsmaster_that_holds_its_lock_is_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with lock_held(tmp_path):
        assert not finds_serving(host_at(tmp_path), None)
    assert len(caplog.records) == 3


@pytest.mark.parametrize("empty", ["metadata.mfs", "metadata.mfs.back"])
def test_the_packages_empty_metadata_does_not_stand_for_a_metalogger(tmp_path: Path, empty: str) -> None:
    fill(tmp_path, {"metadata_ml.mfs.back": metadata(405), empty: b"MFSM NEW"})
    assert look(tmp_path).why_not == "its mfsmetalogger is not running"


def test_a_former_masters_own_files_need_no_metalogger(tmp_path: Path) -> None:
    fill(tmp_path, {"metadata.mfs.back": metadata(405)})
    assert look(tmp_path).why_not == ""


def look(data_path: Path) -> Findings:
    """Return what a patient finds at its first look."""
    found: list[Findings] = []
    has_looked = threading.Event()

    def tell(findings: Findings) -> None:
        found.append(findings)
        has_looked.set()

    patient = Patient(host_at(data_path), 10, lambda: None, tell)
    patient.start()
    assert has_looked.wait(20)
    patient.stop()
    return found[0]


def test_a_look_at_files_that_a_plan_has_moved_meanwhile_is_known_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"metadata.mfs.back": metadata(405)})
    found: Queue[Findings] = Queue()
    has_begun, may_end = threading.Event(), threading.Event()
    follow = ChainFollower.follow

    def slowly(self: ChainFollower, *, expected_metaid: int | None) -> Chain | ChainRefusal:
        chain = follow(self, expected_metaid=expected_metaid)
        has_begun.set()
        assert may_end.wait(20)
        return chain

    monkeypatch.setattr(ChainFollower, "follow", slowly)
    patient = Patient(host_at(tmp_path), 10, lambda: None, found.put)
    patient.start()
    assert has_begun.wait(20)
    patient.is_operated_on = True
    patient.is_operated_on = False
    may_end.set()
    before, after = found.get(timeout=20), found.get(timeout=20)
    patient.stop()
    assert before.freshness == Freshness(METAID, 405)
    assert not patient.is_current(before)
    assert patient.is_current(after)


def test_a_remembered_metaid_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "metaid"
    assert remembered_metaid(path) is None
    path.write_text(f"{METAID:016x}\n")
    assert remembered_metaid(path) == METAID


@pytest.mark.parametrize("damage", [b"", bytes(17), b"6b03b6589149204\n", b"\xff" * 17, b"-b03b6589149204a\n"])
def test_a_damaged_memory_is_not_the_same_as_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "metaid").write_bytes(damage)
    expected = remembered_metaid(tmp_path / "metaid")
    assert expected == UNKNOWABLE_METAID
    refusal = prove(fill(tmp_path, {"metadata.mfs": metadata(500)}), expected_metaid=expected)
    assert isinstance(refusal, ChainRefusal)
    assert refusal.code is RefusalCode.METAID_UNEXPECTED
    assert "expected_metaid" in refusal.text
