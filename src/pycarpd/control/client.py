"""The other end of the control socket: one request, one answer, every fault a value."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycarpd.control.reports import Report, report

TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 35.0
"""Longer than the daemon's own limit, so that its answer is heard."""
ANSWER_BYTES_MAX = 16_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What the daemon answered: the HTTP status and the JSON text."""

    status: int
    text: str


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, slots=True)
class ControlClient:
    """Asks the daemon behind a control socket; raises nothing that a daemon or an operator could cause."""

    path: Path

    def get(self, target: str, timeout_s: float = TIMEOUT_S) -> Reply | Report:
        """Return the answer to ``GET target``, or why there is none."""
        return self._ask("GET", target, None, timeout_s)

    def post(self, target: str, args: Mapping[str, Any], timeout_s: float = COMMAND_TIMEOUT_S) -> Reply | Report:
        """Return the answer to ``POST target`` with *args* as its JSON object, or why there is none."""
        return self._ask("POST", target, json.dumps(dict(args)), timeout_s)

    def _ask(self, method: str, target: str, body: str | None, timeout_s: float) -> Reply | Report:
        where = str(self.path)
        connection = _UnixConnection(self.path, timeout_s)
        try:
            connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(ANSWER_BYTES_MAX).decode())
        except PermissionError as error:
            return report("control-denied", error.strerror or str(error), key=where)
        except TimeoutError:
            return report("control-timeout", f"no answer within {timeout_s:.0f} s", key=where)
        except (http.client.HTTPException, UnicodeDecodeError) as error:
            return report("control-bad-answer", f"{type(error).__name__}: {error}", key=where)
        except OSError as error:
            return report("control-unreachable", error.strerror or str(error), key=where)
        finally:
            connection.close()
