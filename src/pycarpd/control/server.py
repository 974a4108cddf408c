"""The control API: reading on a Unix socket and, if configured, on TCP; commands on the Unix socket alone.

The worker hands in a StatusProvider and serves the application on its asyncio loop. Nothing here decides: every
answer is a snapshot of what the provider says, and every command is passed on and answered with its reports.

    GET  /status /history                      JSON, as in ``status``
    GET  /master /backup /health               200 or 503; the body says why
    GET  /metrics                              Prometheus' text format
    GET  /                                     a page for people
    POST, one path for each of COMMANDS        Unix socket only; JSON object of arguments, CommandAnswer back
"""

import asyncio
import errno
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from pycarpd.control.health import findings, is_node_healthy, is_promotable_backup
from pycarpd.control.metrics import Metrics, make_registry, render
from pycarpd.control.page import html_page
from pycarpd.control.reports import Report, Severity, report
from pycarpd.control.status import CommandAnswer, HistoryAnswer, Model, Status

BODY_BYTES_MAX = 65_536
COMMAND_TIMEOUT_S = 30.0
"""A command is accepted or refused within this; what it starts may take longer and is seen in the status."""
BACKLOG = 16
SOCKET_MODE = 0o600
COMMANDS = ("switchover", "resign", "pause", "resume", "drill", "bootstrap", "confirm-dead")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StatusProvider(Protocol):
    """What the worker gives to the control API. Reading must not block: it is called on the event loop."""

    def status(self) -> Status:
        """Return what this node knows now."""
        ...

    def history(self) -> HistoryAnswer:
        """Return the kept transitions."""
        ...

    def metrics(self) -> Metrics:
        """Return the counters since the start."""
        ...

    async def command(self, name: str, args: Mapping[str, Any]) -> tuple[Report, ...]:
        """Carry out or refuse a command; a report of severity ERROR means that it was not done."""
        ...


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(provider: StatusProvider, *, may_command: bool) -> web.Application:
    """Return the application; with *may_command* False (TCP) there is nothing in it that could change anything."""
    api = _Api(provider)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.add_routes(
        [
            web.get("/", api.page),
            web.get("/status", api.status),
            web.get("/history", api.history),
            web.get("/health", api.health),
            web.get("/master", api.master),
            web.get("/backup", api.backup),
            web.get("/metrics", api.metrics),
        ]
    )
    if may_command:
        app.add_routes([web.post(f"/{name}", api.command(name)) for name in COMMANDS])
    return app


class _Api:
    def __init__(self, provider: StatusProvider) -> None:
        self._provider = provider
        self._registry = make_registry(provider.status, provider.metrics)

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(text=html_page(self._provider.status()), content_type="text/html")

    async def status(self, _request: web.Request) -> web.Response:
        return _json(self._provider.status())

    async def history(self, _request: web.Request) -> web.Response:
        return _json(self._provider.history())

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=render(self._registry), headers={"Content-Type": METRICS_TYPE})

    async def health(self, _request: web.Request) -> web.Response:
        status = self._provider.status()
        return _verdict(is_node_healthy(status), status)

    async def master(self, _request: web.Request) -> web.Response:
        status = self._provider.status()
        return _verdict(status.serves, status)

    async def backup(self, _request: web.Request) -> web.Response:
        status = self._provider.status()
        return _verdict(is_promotable_backup(status), status)

    def command(self, name: str) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            args = await _arguments(request)
            if isinstance(args, Report):
                return _answer((args,))
            return _answer(await self._carried_out(name, args))

        return handle

    async def _carried_out(self, name: str, args: Mapping[str, Any]) -> tuple[Report, ...]:
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                return await self._provider.command(name, args)
        except TimeoutError:
            return (report("control-timeout", f"no decision within {COMMAND_TIMEOUT_S:.0f} s", key=name),)


async def _arguments(request: web.Request) -> dict[str, Any] | Report:
    body = await request.read()
    try:
        args = json.loads(body) if body else {}
    except ValueError:
        args = None
    if not isinstance(args, dict):
        return report("command-bad-argument", "the body is not a JSON object", key=request.path)
    return args


def _json(model: Model, status: int = 200) -> web.Response:
    return web.Response(text=model.model_dump_json(by_alias=True), content_type="application/json", status=status)


def _answer(reports: tuple[Report, ...]) -> web.Response:
    done = all(each.severity is not Severity.ERROR for each in reports)
    return _json(CommandAnswer(done=done, reports=reports), status=200 if done else 409)


def _verdict(holds: bool, status: Status) -> web.Response:
    lines = [f"{status.node} {status.role} term {status.term}"]
    lines += [each.line for each in findings(status)]
    return web.Response(text="\n".join(lines) + "\n", status=200 if holds else 503)


def unix_listener(path: Path) -> socket.socket | Report:
    """Return a listening socket at *path* with mode 0600, or why not; a dead daemon's socket is replaced."""
    try:
        if _is_alive(path):
            return report("control-socket", "another pycarpd listens here", key=str(path))
        path.unlink(missing_ok=True)
        return _bound(path)
    except OSError as error:
        return report("control-socket", error.strerror or str(error), key=str(path))


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        # The mode of the socket itself is what bind() copies: there is no instant at which others may connect.
        os.fchmod(listener.fileno(), SOCKET_MODE)
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_alive(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket is in the way")
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # Whatever else it answers, somebody may be behind it: its socket is not taken away.
            return True
    return True


async def serve_unix(provider: StatusProvider, path: Path) -> web.AppRunner | Report:
    """Serve reading and commands at *path*; stop with ``await runner.cleanup()``."""
    listener = unix_listener(path)
    if isinstance(listener, Report):
        return listener
    runner = _runner(make_app(provider, may_command=True))
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    return runner


async def serve_tcp(provider: StatusProvider, host: str, port: int) -> web.AppRunner | Report:
    """Serve reading alone at host:port; stop with ``await runner.cleanup()``."""
    runner = _runner(make_app(provider, may_command=False))
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_address=True).start()
    except OSError as error:
        await runner.cleanup()
        return report("http-listen", error.strerror or str(error), key=f"{host}:{port}")
    return runner


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
