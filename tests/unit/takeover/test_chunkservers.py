"""Waiting for the chunkservers: for those that were there, or for all that the metadata know of, and never for long."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pycarpd.election.model import PeerConnection
from pycarpd.moosefs.probe import ConnectedServers
from pycarpd.takeover import promote
from pycarpd.takeover.context import Context, Request, TakeoverSettings
from pycarpd.takeover.plans import make_context
from pycarpd.takeover.step import StepFault

WAIT_NS = 200_000_000
FIRST_WAIT_NS = 400_000_000


def connection(service_port: int, peer_port: int) -> PeerConnection:
    return PeerConnection(bytes([192, 0, 2, 31]), peer_port, service_port)


def context(data_path: Path, *connections: PeerConnection) -> Context:
    settings = TakeoverSettings(data_path, data_path / "m.cfg", data_path / "l.cfg", 0, 0, ())
    settings = replace(settings, chunkserver_wait_ns=WAIT_NS, first_chunkserver_wait_ns=FIRST_WAIT_NS)
    return make_context(settings, Request("x", 3, 4), lambda: True, lambda: True, connections)


def wait(ready: Context, monkeypatch: pytest.MonkeyPatch, *told: ConnectedServers) -> tuple[StepFault | None, int]:
    """Return the step's outcome and how often mfsmaster was asked; it goes on telling the last of *told*."""
    asked: list[ConnectedServers] = []

    def listed(*_where: object) -> ConnectedServers:
        asked.append(told[min(len(asked), len(told) - 1)])
        return asked[-1]

    monkeypatch.setattr(promote, "list_servers", listed)
    return promote.await_chunkservers(ready, threading.Event()), len(asked)


def test_as_many_as_the_old_master_had_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    had = [connection(9420, 4000), connection(9420, 4001), connection(9421, 4002)]
    told = [ConnectedServers(count, 0, 5) for count in (0, 1, 2)]
    assert wait(context(tmp_path, *had), monkeypatch, *told) == (None, 3)


def test_one_that_is_connected_and_has_not_listed_its_chunks_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [ConnectedServers(1, 0, 1, copies_missing=count) for count in (70, 30, 0)]
    assert wait(context(tmp_path, connection(9420, 4000)), monkeypatch, *told) == (None, 3)


def test_an_old_master_without_chunkservers_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wait(context(tmp_path, connection(9421, 4002)), monkeypatch, ConnectedServers(0, 0, 3)) == (None, 0)


def test_all_that_the_metadata_know_of_are_waited_for_when_nobody_has_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [ConnectedServers(count, 0, 2) for count in (0, 1, 2)]
    assert wait(context(tmp_path), monkeypatch, *told) == (None, 3)
    assert wait(context(tmp_path), monkeypatch, ConnectedServers(0, 0, 0)) == (None, 1)


def test_the_wait_is_bounded_and_says_who_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, asked = wait(context(tmp_path), monkeypatch, ConnectedServers(1, 0, 3))
    assert fault == StepFault("CHUNKSERVERS_MISSING", "1 of 3 have come back")
    assert asked == 10


def test_the_first_is_waited_for_longer_and_the_rest_no_longer_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [ConnectedServers(count, 0, 3) for count in (*[0] * 14, 1)]
    fault, asked = wait(context(tmp_path), monkeypatch, *told)
    assert fault == StepFault("CHUNKSERVERS_MISSING", "1 of 3 have come back")
    assert asked == 15
    fault, asked = wait(context(tmp_path), monkeypatch, ConnectedServers(0, 0, 3))
    assert fault == StepFault("CHUNKSERVERS_MISSING", "0 of 3 have come back")
    assert asked == 20
