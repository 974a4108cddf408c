"""Starting, stopping and killing the real programs; the namespace is entered by the binary's wrapper."""

import itertools
import os
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycarpd.linux.process import lock_holder
from pycarpd.moosefs.companion import Companion
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.moosefs.faults import ServiceCode, ServiceFault, Started
from pycarpd.moosefs.systemd import Unit

pytestmark = [pytest.mark.product, pytest.mark.netns]

NUMBERS = itertools.count()
NEVER = threading.Event()
TRAP_VERSION = 2497


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    name = f"pcts{os.getpid()}-{next(NUMBERS)}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=20)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, timeout=20)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True, timeout=20)


def wrapper(path: Path, namespace: str, program: str) -> str:
    path.write_text(f'#!/bin/sh\nexec ip netns exec {namespace} {program} "$@"\n')
    path.chmod(0o755)
    return str(path)


def configure(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    common = f"WORKING_USER = root\nWORKING_GROUP = root\nDATA_PATH = {data}\n"
    (tmp_path / "mfsmaster.cfg").write_text(
        f"{common}EXPORTS_FILENAME = {tmp_path}/exports\nTOPOLOGY_FILENAME = {tmp_path}/topology\n"
    )
    (tmp_path / "mfsmetalogger.cfg").write_text(f"{common}MASTER_HOST = 127.0.0.1\n")
    (tmp_path / "exports").write_text("* / rw\n")
    (tmp_path / "topology").write_text("")
    return data


@pytest.fixture
def mfsmaster(tmp_path: Path, namespace: str) -> Iterator[Mfsmaster]:
    data = configure(tmp_path)
    (data / "metadata.mfs").write_bytes(b"MFSM NEW")
    binary = wrapper(tmp_path / "run-mfsmaster", namespace, "mfsmaster")
    made = Mfsmaster(tmp_path / "mfsmaster.cfg", data, binary)
    try:
        yield made
    finally:
        assert made.kill_tree(10) is None


@pytest.fixture
def metalogger(tmp_path: Path, namespace: str) -> Iterator[Mfsmetalogger]:
    data = configure(tmp_path)
    binary = wrapper(tmp_path / "run-mfsmetalogger", namespace, "mfsmetalogger")
    made = Mfsmetalogger(tmp_path / "mfsmetalogger.cfg", data, binary)
    try:
        yield made
    finally:
        assert made.kill_tree(10) is None


def test_a_started_mfsmaster_holds_its_lock_and_is_not_started_twice(mfsmaster: Mfsmaster) -> None:
    started = mfsmaster.start(30, NEVER)
    assert isinstance(started, Started)
    assert mfsmaster.lock_holder() == started.pid
    again = mfsmaster.start(30, NEVER)
    assert isinstance(again, ServiceFault)
    assert again.code is ServiceCode.ALREADY_RUNNING
    assert mfsmaster.lock_holder() == started.pid


def test_killing_takes_the_background_writer_too_and_is_idempotent(mfsmaster: Mfsmaster) -> None:
    started = mfsmaster.start(30, NEVER)
    assert isinstance(started, Started)
    assert len(mfsmaster.processes()) == 2
    assert mfsmaster.kill_tree(10) is None
    assert mfsmaster.processes() == frozenset()
    assert lock_holder(mfsmaster.data_path / ".bgwriter.lock") is None
    assert mfsmaster.kill_tree(10) is None


def test_an_orphaned_background_writer_is_found_and_killed(mfsmaster: Mfsmaster) -> None:
    started = mfsmaster.start(30, NEVER)
    assert isinstance(started, Started)
    writer = lock_holder(mfsmaster.data_path / ".bgwriter.lock")
    assert writer is not None
    os.kill(writer, signal.SIGSTOP)
    os.kill(started.pid, signal.SIGKILL)
    assert writer in mfsmaster.processes()
    assert mfsmaster.kill_tree(10) is None
    assert mfsmaster.processes() == frozenset()


def test_it_starts_at_once_after_a_sigkill_of_its_main_process_alone(mfsmaster: Mfsmaster) -> None:
    for _ in range(3):
        started = mfsmaster.start(30, NEVER)
        assert isinstance(started, Started), started
        os.kill(started.pid, signal.SIGKILL)
        while mfsmaster.is_running():
            NEVER.wait(0.001)


def test_a_refused_start_says_what_mfsmaster_said(mfsmaster: Mfsmaster) -> None:
    (mfsmaster.data_path / "metadata.mfs").unlink()
    fault = mfsmaster.start(30, NEVER)
    assert isinstance(fault, ServiceFault)
    assert fault.code is ServiceCode.REFUSED
    assert "metadata" in fault.detail
    assert mfsmaster.processes() == frozenset()


def test_a_death_while_loading_is_no_success_although_the_status_is_0(mfsmaster: Mfsmaster) -> None:
    started = mfsmaster.start(30, NEVER)
    assert isinstance(started, Started)
    assert mfsmaster.kill_tree(10) is None
    config = ["mfsmaster", "-c", str(mfsmaster.config_path), "restore"]
    subprocess.run(config, check=True, timeout=30, capture_output=True)
    base = mfsmaster.data_path / "metadata.mfs"
    content = base.read_bytes()
    for path in mfsmaster.data_path.glob("metadata.mfs*"):
        path.unlink()
    base.with_name("metadata.mfs.back").write_bytes(content[:8] + struct.pack(">Q", TRAP_VERSION) + content[16:])
    lines = (f"{number}: 1|SESDISCONNECTED(1)\n" for number in range(TRAP_VERSION, TRAP_VERSION + 5))
    (mfsmaster.data_path / "changelog.0.mfs").write_text("".join(lines))
    fault = mfsmaster.start(30, NEVER)
    assert isinstance(fault, ServiceFault)
    assert fault.code is ServiceCode.DIED_LOADING
    assert mfsmaster.processes() == frozenset()


def test_a_cancelled_start_leaves_nothing(mfsmaster: Mfsmaster) -> None:
    cancel = threading.Event()
    threading.Timer(0.03, cancel.set).start()
    fault = mfsmaster.start(30, cancel)
    assert isinstance(fault, ServiceFault)
    assert fault.code is ServiceCode.CANCELLED
    assert mfsmaster.processes() == frozenset()
    cancel.clear()
    assert isinstance(mfsmaster.start(30, cancel), Started)


def test_a_start_that_takes_too_long_leaves_nothing(mfsmaster: Mfsmaster) -> None:
    fault = mfsmaster.start(0.02, NEVER)
    assert isinstance(fault, ServiceFault)
    assert fault.code is ServiceCode.TIMED_OUT
    assert mfsmaster.processes() == frozenset()


def test_a_program_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    data = configure(tmp_path)
    missing = Mfsmaster(tmp_path / "mfsmaster.cfg", data, str(tmp_path / "nothing-here"))
    fault = missing.start(5, NEVER)
    assert isinstance(fault, ServiceFault)
    assert fault.code is ServiceCode.NOT_STARTED


def test_the_metalogger_starts_and_stops_idempotently(metalogger: Mfsmetalogger) -> None:
    assert metalogger.stop(5) is None
    first = metalogger.start(20)
    assert isinstance(first, Started)
    assert metalogger.start(20) == first
    assert metalogger.stop(5) is None
    assert metalogger.processes() == frozenset()
    assert metalogger.stop(5) is None


def test_a_metalogger_that_does_not_listen_is_killed(metalogger: Mfsmetalogger) -> None:
    started = metalogger.start(20)
    assert isinstance(started, Started)
    os.kill(started.pid, signal.SIGSTOP)
    assert metalogger.stop(0.2) is None
    assert metalogger.processes() == frozenset()


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that says active or loaded, writes down what it is asked, and fails on request."""
    calls = tmp_path / "calls"
    script = tmp_path / "bin" / "systemctl"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n'
        f'case "$1 $3" in\n"show ActiveState") cat {tmp_path}/active ;;\n"show LoadState") echo loaded ;;\nesac\n'
        f"[ ! -e {tmp_path}/fails ]\n"
    )
    script.chmod(0o755)
    (tmp_path / "active").write_text("active\n")
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return calls


def test_an_active_unit_is_killed_and_stopped_through_systemd_first(tmp_path: Path, systemctl: Path) -> None:
    data = configure(tmp_path)
    unit = Unit("moosefs-master.service", tmp_path)
    assert Mfsmaster(tmp_path / "mfsmaster.cfg", data, unit=unit).kill_tree(5) is None
    assert systemctl.read_text().splitlines()[1:] == [
        "kill --kill-whom=all -s KILL moosefs-master.service",
        "stop moosefs-master.service",
    ]


def test_a_unit_that_is_not_active_or_a_host_without_systemd_is_left_alone(tmp_path: Path, systemctl: Path) -> None:
    data = configure(tmp_path)
    (tmp_path / "active").write_text("inactive\n")
    inactive = Unit("moosefs-metalogger.service", tmp_path)
    assert Mfsmetalogger(tmp_path / "mfsmetalogger.cfg", data, unit=inactive).stop(5) is None
    assert len(systemctl.read_text().splitlines()) == 1
    absent = Unit("moosefs-metalogger.service", tmp_path / "not-there")
    assert not absent.is_active()
    assert len(systemctl.read_text().splitlines()) == 1


def test_a_systemctl_that_fails_is_a_fault(tmp_path: Path, systemctl: Path) -> None:
    (tmp_path / "fails").write_text("")
    fault = Unit("moosefs-metalogger.service", tmp_path).stop(5)
    assert fault is not None
    assert fault.code is ServiceCode.SYSTEMD
    assert systemctl.read_text() == "stop moosefs-metalogger.service\n"


def test_a_companion_is_asked_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "mycompanion"
    script.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\n[ "$1" = start ]\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    companion = Companion("mycompanion")
    assert companion.start(5) is None
    fault = companion.stop(5)
    assert fault is not None
    assert fault.code is ServiceCode.NOT_STOPPED
    assert (tmp_path / "asked").read_text() == "start\nstop\n"
