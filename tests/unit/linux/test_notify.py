import os
import socket
from pathlib import Path

import pytest

from pycarpd.linux.notify import sd_notify


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_service_manager_hears_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool) -> None:
    name = f"pycarpd-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if is_abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if is_abstract else name)
        assert sd_notify("READY=1\nSTATUS=BACKUP") is None
        assert manager.recv(100) == b"READY=1\nSTATUS=BACKUP"


def test_no_manager_is_no_fault_and_a_dead_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert sd_notify("READY=1") is None
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    fault = sd_notify("READY=1")
    assert fault is not None
    assert fault.name == "ENOENT"
    assert "ENOENT" in str(fault)


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        faults = [fault for _ in range(2000) if (fault := sd_notify("WATCHDOG=1")) is not None]
    assert {fault.name for fault in faults} == {"EAGAIN"}
