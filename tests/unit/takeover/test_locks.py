"""The step that unlocks chunks: what it cannot do is a fault to be reported, whatever is in the way."""

import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pycarpd.moosefs.chunklocks import ChunkLock
from pycarpd.moosefs.unlocking import REPLICATION_DELAY_MIN_S, KeptFor, Unlocked
from pycarpd.takeover import locks
from pycarpd.takeover.context import Context, Ports, Request, TakeoverSettings
from pycarpd.takeover.locks import look_for_locks, release_locks
from pycarpd.takeover.plans import make_context
from pycarpd.takeover.step import StepFault
from tests.own_network import ADDRESS, own_network

LOCKED = "40: 1800000000|WRITE(8,0,1,0):7\n"
UNLOCKED = LOCKED + "41: 1800000000|UNLOCK(7)\n"


def context(data_path: Path, port: int = 1, delay_s: int = REPLICATION_DELAY_MIN_S) -> Context:
    settings = TakeoverSettings(data_path, data_path / "m.cfg", data_path / "l.cfg", 0, 0, (), Ports(clients=port))
    settings = replace(settings, probe_host=ADDRESS, replication_delay_s=delay_s)
    return make_context(settings, Request("x", 3, 4), lambda: True, lambda: True)


def release(ready: Context) -> StepFault | None:
    return release_locks(ready, threading.Event())


@pytest.mark.parametrize("text", [None, "", "40: 1800000000|ACCESS(1)\n", UNLOCKED])
def test_without_locks_nobody_is_asked(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "changelog.0.mfs").write_text(text)
    assert release(context(tmp_path)) is None


def test_a_changelog_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "changelog.0.mfs").mkdir()
    fault = release(context(tmp_path))
    assert fault is not None
    assert fault.code == "LOCKS_UNKNOWN"


def test_what_is_locked_was_looked_for_before_mfsmaster_wrote(tmp_path: Path) -> None:
    ready = context(tmp_path, delay_s=REPLICATION_DELAY_MIN_S - 1)
    (tmp_path / "changelog.0.mfs").write_text(LOCKED)
    assert len(look_for_locks(ready).result(20)) == 1
    (tmp_path / "changelog.0.mfs").unlink()
    fault = release(ready)
    assert fault is not None
    assert fault.detail.startswith("chunks that stay locked for up to two minutes: 1")


def test_a_mfsmaster_that_copies_chunks_at_once_keeps_its_locks(tmp_path: Path) -> None:
    (tmp_path / "changelog.0.mfs").write_text(LOCKED)
    fault = release(context(tmp_path, delay_s=REPLICATION_DELAY_MIN_S - 1))
    assert fault is not None
    assert fault.code == "LOCKS_LEFT"
    assert "REPLICATIONS_DELAY_INIT" in fault.detail


@pytest.mark.netns
def test_a_mfsmaster_that_does_not_listen_is_reported(tmp_path: Path) -> None:
    (tmp_path / "changelog.0.mfs").write_text(LOCKED)
    with own_network():
        with socket.create_server((ADDRESS, 0)) as listener:
            port = listener.getsockname()[1]
        fault = release(context(tmp_path, port))
    assert fault is not None
    assert fault.code == "LOCKS_LEFT"
    assert "1; nothing listens" in fault.detail


@pytest.mark.parametrize(("listed_at", "fault_code"), [(1, None), (3, None), (99, "LOCKS_LEFT")])
def test_a_chunk_that_no_chunkserver_has_listed_yet_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed_at: int, fault_code: str | None
) -> None:
    (tmp_path / "changelog.0.mfs").write_text(LOCKED + "41: 1800000000|WRITE(9,0,1,0):8\n")
    asked: list[tuple[int, ...]] = []

    def unlock(_host: str, _port: int, wanted: tuple[ChunkLock, ...], *_rest: object) -> Unlocked:
        asked.append(tuple(lock.chunkid for lock in wanted))
        late = tuple((lock, KeptFor.NO_COPY) for lock in wanted if lock.chunkid == 8 and len(asked) < listed_at)
        return Unlocked(tuple(lock for lock in wanted if (lock, KeptFor.NO_COPY) not in late), late)

    monkeypatch.setattr(locks, "unlock_chunks", unlock)
    monkeypatch.setattr(locks, "_COPY_POLL_S", 0.0)
    fault = release(context(tmp_path))
    assert (fault.code if fault else None) == fault_code
    assert asked == [(7, 8), *[(8,)] * (min(listed_at, 6) - 1)]
