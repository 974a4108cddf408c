"""The two halves of a switchover: a stand-in for mfsmaster answers; the services are there and do not run."""

import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.takeover.context import Context, Ports, Request, TakeoverSettings
from pycarpd.takeover.plans import build_plan, parameters_of, request_of
from pycarpd.takeover.step import StepFault, UndoScope
from pycarpd.takeover.switchover import HOLD, LEVEL, Parley, await_promotion, await_successor, prove_level, settle

METAID = 0x5EED
WAIT_S = 20.0
INFO, MODULE_INFO = 510, 530


class Served(threading.Thread):
    """Answers INFO and MODULE_INFO as mfsmaster 3.0.117 does; each answer's version is the next of *versions*."""

    def __init__(self, versions: list[int]) -> None:
        super().__init__(daemon=True)
        self.versions = versions
        self.answers = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        data = b""
        while len(data) < 16 and (part := connection.recv(64)):
            data += part
        version = self.versions[min(self.answers, len(self.versions) - 1)]
        self.answers += 1
        info = bytearray(149)
        struct.pack_into(">Q", info, 121, version)
        module = struct.pack(">BHBBHQ", 1, 3, 0, 234, 0, METAID)
        connection.sendall(struct.pack(">II", INFO + 1, len(info)) + info)
        connection.sendall(struct.pack(">II", MODULE_INFO + 1, len(module)) + module)


@dataclass
class Told:
    versions: list[int] = field(default_factory=list)
    confirmations: list[bool] = field(default_factory=list)


def context_of(tmp_path: Path, port: int, told: Told) -> Context:
    ports = Ports(clients=port)
    settings = TakeoverSettings(tmp_path, tmp_path / "m.cfg", tmp_path / "l.cfg", 0, 0, ("192.0.2.100",), ports)
    return Context(
        settings=settings,
        request=Request("label", 1, 0),
        mfsmaster=Mfsmaster(settings.master_config, tmp_path),
        metalogger=Mfsmetalogger(settings.metalogger_config, tmp_path),
        parley=Parley(told.versions.append, lambda: told.confirmations.append(True)),
    )


@pytest.fixture
def played(tmp_path: Path) -> Iterator[tuple[Served, Context, Told]]:
    served, told = Served([100]), Told()
    served.start()
    yield served, context_of(tmp_path, served.port, told), told
    served.listener.close()


def code_of(fault: StepFault | None) -> str:
    assert fault is not None
    return fault.code


def test_the_clients_are_held_until_the_version_stands_still(played: tuple[Served, Context, Told]) -> None:
    served, context, _ = played
    served.versions = [90, 95, 95, 99, 100, 100]
    assert settle(context, threading.Event()) is None
    assert context.parley is not None
    assert context.parley.version == 100
    assert served.answers >= 8, "one version in a row, several times"


def test_a_version_that_never_stands_still_is_a_fault(played: tuple[Served, Context, Told]) -> None:
    served, context, _ = played
    served.versions = list(range(100_000))
    assert code_of(settle(context, threading.Event())) == "NOT_SETTLED"


def test_a_mfsmaster_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert code_of(settle(context_of(tmp_path, port, Told()), threading.Event())) == "PROBE_FAILED"


def test_the_successor_is_waited_for_and_mfsmaster_looked_at_once_more(played: tuple[Served, Context, Told]) -> None:
    _, context, told = played
    assert settle(context, threading.Event()) is None
    assert context.parley is not None
    context.parley.go_on()
    assert await_successor(context, threading.Event()) is None
    assert (told.versions, told.confirmations) == ([100], [True])


def test_a_mfsmaster_that_has_moved_on_is_not_given_away(played: tuple[Served, Context, Told]) -> None:
    served, context, told = played
    assert settle(context, threading.Event()) is None
    served.versions = [101]
    assert context.parley is not None
    context.parley.go_on()
    assert code_of(await_successor(context, threading.Event())) == "MOVED_ON"
    assert not told.confirmations


def test_waiting_ends_when_it_is_called_off(played: tuple[Served, Context, Told]) -> None:
    _, context, told = played
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    assert code_of(await_successor(context, cancel)) == "CALLED_OFF"
    assert not told.confirmations


def test_waiting_ends_by_itself(played: tuple[Served, Context, Told]) -> None:
    _, context, _ = played
    assert context.parley is not None
    assert code_of(context.parley.await_word(0.05, threading.Event())) == "NO_WORD"


def test_files_that_prove_nothing_are_not_level(played: tuple[Served, Context, Told]) -> None:
    _, context, told = played
    assert prove_level(context, threading.Event()) is not None
    assert code_of(await_promotion(context, threading.Event())) == "NOT_PROVED"
    assert not told.versions


@pytest.mark.parametrize("name", [HOLD, LEVEL])
def test_a_half_that_a_crash_has_interrupted_is_taken_back(name: str, tmp_path: Path) -> None:
    settings = TakeoverSettings(tmp_path, tmp_path / "m.cfg", tmp_path / "l.cfg", 0, 0, ("192.0.2.100",))
    plan = build_plan(name, settings, Request("label", 1, 0))
    again = build_plan(plan.name, settings, request_of(plan.parameters))
    assert [step.spec for step in again.steps] == [step.spec for step in plan.steps]
    first = plan.steps[0].spec
    assert first.name == {HOLD: "hold-clients", LEVEL: "stop-metalogger"}[name]
    assert first.undo is (UndoScope.ALWAYS if name == HOLD else UndoScope.BEFORE_COMMIT)
    assert not any(step.spec.commits for step in plan.steps)


def test_a_request_that_inherits_survives_the_journal() -> None:
    request = Request("label", 1, 0, inherits=True)
    assert request_of(parameters_of(request)) == request
