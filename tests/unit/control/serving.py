"""A control API behind a real Unix socket, served in a thread of its own, and the status it gives."""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pycarpd.control.client import ControlClient
from pycarpd.control.metrics import Metrics
from pycarpd.control.reports import Report, report
from pycarpd.control.server import serve_tcp, serve_unix
from pycarpd.control.status import HistoryAnswer, Status

HEALTHY = """
{
  "schema": 1, "time": "2026-01-02T03:04:05Z", "node": "meta2", "role": "BACKUP", "term": 7, "master": "meta1",
  "vhid": 10, "interface": "eth0", "profile": "default", "priority": 190, "demotion": 0,
  "vip": {"addresses": ["192.0.2.100/24"], "held": false, "fence_open": false},
  "lease_remaining_ms": null, "quorum": {"has": true, "heard": 3, "needed": 2},
  "can_split": false, "paused": false,
  "freshness": {"metaid": "5f3a00000000c0de", "version": 4711, "proved_version": 4700, "drill_age_s": 1800,
                "age_ms": 400, "promotable": true, "why_not": null},
  "members": [
    {"name": "meta1", "address": "192.0.2.11", "state": "heard", "role": "MASTER", "term": 7, "priority": 254,
     "last_heard_ms": 120, "freshness": {"metaid": "5f3a00000000c0de", "version": 4713, "age_ms": 0}},
    {"name": "meta2", "address": "192.0.2.12", "state": "self", "role": "BACKUP", "term": 7, "priority": 190,
     "last_heard_ms": 0, "freshness": {"metaid": "5f3a00000000c0de", "version": 4711, "age_ms": 400,
                                       "promotable": true}},
    {"name": "meta3", "address": "192.0.2.13", "state": "heard", "role": "BACKUP", "term": 7, "priority": 126,
     "last_heard_ms": 95, "freshness": {"metaid": "5f3a00000000c0de", "version": 4712, "age_ms": 300,
                                        "promotable": true}}
  ],
  "last_transition": {"time": "2026-01-02T03:00:00Z", "term": 7, "from": "INIT", "to": "BACKUP",
                      "cause": "started", "phases": {}, "operations_lost": null},
  "lateness": {"wakes": 1000, "p50_us": 60, "p99_us": 300, "max_us": 900}, "reports": []
}
"""


def healthy_status() -> Status:
    return Status.model_validate_json(HEALTHY)


class Provider:
    """Answers with what a test has put into it, and remembers the commands."""

    def __init__(self, status: Status) -> None:
        self.current = status
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.answer: tuple[Report, ...] = (report("command-accepted", "as asked"),)

    def status(self) -> Status:
        return self.current

    def history(self) -> HistoryAnswer:
        last = self.current.last_transition
        return HistoryAnswer(node=self.current.node, transitions=() if last is None else (last,))

    def metrics(self) -> Metrics:
        return Metrics(adverts_sent=1)

    async def command(self, name: str, args: Mapping[str, Any]) -> tuple[Report, ...]:
        self.commands.append((name, dict(args)))
        return self.answer


class Served:
    """A provider behind a real socket, on an event loop in a thread of its own."""

    def __init__(self, provider: Provider, path: Path) -> None:
        self.provider = provider
        self.path = path
        self.client = ControlClient(path)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._cleanups: list[Callable[[], Any]] = []
        self._cleanups.append(self.started(serve_unix(provider, path)).cleanup)

    def started(self, serving: Any) -> Any:
        runner = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        assert not isinstance(runner, Report), runner
        return runner

    def open_tcp(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        self._cleanups.append(self.started(serve_tcp(self.provider, "127.0.0.1", port)).cleanup)
        return port

    def refused_tcp(self, port: int) -> Any:
        serving = serve_tcp(self.provider, "127.0.0.1", port)
        return asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)

    def close(self) -> None:
        for cleanup in self._cleanups:
            asyncio.run_coroutine_threadsafe(cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
