"""Server and client over a real Unix socket, and the read-only side over TCP on loopback."""

import http.client
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycarpd.control.client import ControlClient, Reply
from pycarpd.control.reports import Report, report
from pycarpd.control.server import unix_listener
from pycarpd.control.status import CommandAnswer, HistoryAnswer, Status, VipStatus
from tests.unit.control.serving import Provider, Served


@pytest.fixture
def served(healthy: Status, tmp_path: Path) -> Iterator[Served]:
    served = Served(Provider(healthy), tmp_path / "control.sock")
    yield served
    served.close()


def answered(reply: Reply | Report) -> Reply:
    assert isinstance(reply, Reply), reply
    return reply


def test_status_and_history_come_back_as_they_were(served: Served, healthy: Status) -> None:
    assert Status.model_validate_json(answered(served.client.get("/status")).text) == healthy
    history = HistoryAnswer.model_validate_json(answered(served.client.get("/history")).text)
    assert history.transitions == (healthy.last_transition,)


def test_the_socket_is_roots_alone(served: Served) -> None:
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(served.path.stat().st_mode)


def test_health_answers_for_load_balancers(served: Served) -> None:
    def statuses() -> list[int]:
        return [answered(served.client.get(path)).status for path in ("/master", "/backup", "/health")]

    assert statuses() == [503, 200, 200]
    vip = VipStatus(addresses=("192.0.2.100/24",), held=True, fence_open=True)
    served.provider.current = served.provider.current.model_copy(update={"role": "MASTER", "vip": vip})
    assert statuses() == [200, 503, 200]
    served.provider.current = served.provider.current.model_copy(update={"role": "FAULT"})
    assert statuses() == [503, 503, 503]


def test_commands_are_passed_on_with_their_arguments(served: Served) -> None:
    reply = answered(served.client.post("/pause", {"ttl_s": 60}))
    assert (reply.status, CommandAnswer.model_validate_json(reply.text).done) == (200, True)
    answered(served.client.post("/resume", {}))
    answered(served.client.post("/resign", {}))
    assert served.provider.commands == [("pause", {"ttl_s": 60}), ("resume", {}), ("resign", {})]


def test_a_refusal_is_409_with_its_reports(served: Served) -> None:
    served.provider.answer = (report("not-master", "this node is BACKUP"),)
    reply = answered(served.client.post("/resign", {}))
    answer = CommandAnswer.model_validate_json(reply.text)
    assert (reply.status, answer.done, answer.reports) == (409, False, served.provider.answer)


@pytest.mark.parametrize("body", ["[]", "{", "7", "\x00"])
def test_a_body_that_is_no_object_is_refused_before_the_provider(served: Served, body: str) -> None:
    connection = http.client.HTTPConnection("localhost", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(served.path))
    connection.request("POST", "/pause", body)
    answer = connection.getresponse()
    assert answer.status == 409
    assert json.loads(answer.read())["reports"][0]["code"] == "command-bad-argument"
    connection.close()
    assert served.provider.commands == []


def test_metrics_and_page(served: Served) -> None:
    served.provider.current = served.provider.current.model_copy(update={"node": "<b>meta2"})
    assert "pycarpd_adverts_sent_total 1.0" in answered(served.client.get("/metrics")).text
    page = answered(served.client.get("/"))
    assert "&lt;b&gt;meta2" in page.text
    assert "<b>" not in page.text


def test_unknown_targets_and_methods_change_nothing(served: Served) -> None:
    assert answered(served.client.get("/resign")).status == 405
    assert answered(served.client.post("/status", {})).status == 405
    assert answered(served.client.post("/no-such-command", {})).status == 404
    assert served.provider.commands == []


def test_tcp_reads_and_cannot_command(served: Served) -> None:
    port = served.open_tcp()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for method, path, expected in (
        ("GET", "/status", 200),
        ("GET", "/metrics", 200),
        ("HEAD", "/backup", 200),
        ("POST", "/resign", 404),
        ("POST", "/pause", 404),
        ("POST", "/resume", 404),
    ):
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        assert (path, answer.status) == (path, expected)
    connection.close()
    assert served.provider.commands == []
    taken = served.refused_tcp(port)
    assert isinstance(taken, Report)
    assert taken.code == "http-listen"


def test_a_second_daemon_does_not_take_the_socket_away(served: Served) -> None:
    second = unix_listener(served.path)
    assert isinstance(second, Report)
    assert second.code == "control-socket"
    assert answered(served.client.get("/status")).status == 200


def test_a_dead_daemons_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = unix_listener(path)
    assert isinstance(listener, socket.socket)
    listener.close()
    (tmp_path / "file").write_text("precious")
    refused = unix_listener(tmp_path / "file")
    assert isinstance(refused, Report)
    assert (tmp_path / "file").read_text() == "precious"


def test_the_clients_faults_are_values(tmp_path: Path) -> None:
    def code(path: Path, timeout_s: float = 5.0) -> str:
        answer = ControlClient(path).get("/status", timeout_s)
        assert isinstance(answer, Report)
        return answer.code

    assert code(tmp_path / "missing.sock") == "control-unreachable"
    assert code(Path("/" + "x" * 200)) == "control-unreachable"
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "silent.sock"))
    silent.listen(1)
    assert code(tmp_path / "silent.sock", 0.2) == "control-timeout"
    silent.close()


def test_an_answer_that_is_not_http_is_a_value(tmp_path: Path) -> None:
    stranger = socket.socket(socket.AF_UNIX)
    stranger.bind(str(tmp_path / "s"))
    stranger.listen(1)

    def babble() -> None:
        connection, _ = stranger.accept()
        connection.recv(4096)
        connection.sendall(os.urandom(4).hex().encode() + b"\r\n\r\n")
        connection.close()

    thread = threading.Thread(target=babble)
    thread.start()
    answer = ControlClient(tmp_path / "s").get("/status")
    thread.join(10)
    stranger.close()
    assert isinstance(answer, Report)
    assert answer.code == "control-bad-answer"
