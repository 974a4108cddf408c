"""The first process: reads the configuration, keeps the pair of processes running, speaks with the service manager.

Signals: SIGTERM and SIGINT hand over cleanly and end; SIGHUP reads the configuration again; SIGUSR2 ends while
mfsmaster and the virtual address stay, for a restart or an upgrade that disturbs nothing (peers wait ten seconds).
"""

import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from pycarpd.config import Config, Loaded, daemon_settings, load, read_secrets, reloadable_changes
from pycarpd.control.reports import Report
from pycarpd.daemon.channel import Closed
from pycarpd.daemon.children import NAMES, Child, Children
from pycarpd.daemon.messages import ReadyNews, SettingsNews, StopOrder
from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.notify import sd_notify

logger = logging.getLogger(__name__)

FAILED = 1
NS_PER_S = 1_000_000_000
STOP_TIMEOUT_S = 90.0
"""A clean hand-over ends mfsmaster, archives and starts the metalogger; each of those steps has its own bound."""
PEER_END_TIMEOUT_S = 30.0
BACKOFF_MIN_S = 0.2
BACKOFF_MAX_S = 10.0
STEADY_NS = 60 * NS_PER_S
"""A pair that has run this long starts anew without back-off."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


class Supervisor:
    """Runs until it is told to stop."""

    def __init__(self, config_path: Path, config: Config, settings_text: str) -> None:
        self._config_path = config_path
        self._config = config
        self._settings_text = settings_text
        self._selector = selectors.DefaultSelector()
        self._backoff_s = BACKOFF_MIN_S
        self._ready: set[str] = set()
        self._is_announced = False
        self._is_stopping = False
        self._signals = _catch_signals()
        self._selector.register(self._signals, selectors.EVENT_READ)

    def run(self) -> int:
        """Keep a pair running until the stop; 0 if the last pair ended as it was told to."""
        while True:
            started_ns = boottime_ns()
            children = Children.start(self._settings_text)
            self._watch(children)
            children.end(STOP_TIMEOUT_S if self._is_stopping else PEER_END_TIMEOUT_S)
            codes = {c.name: c.process.returncode for c in children.both()}
            if self._is_stopping:
                logger.info("stopped exits=%s", codes)
                return 0 if not any(codes.values()) else FAILED
            self._back_off(codes, boottime_ns() - started_ns)
            if self._is_stopping:
                return 0

    def _watch(self, children: Children) -> None:
        """Return when either process has ended."""
        self._ready.clear()
        descriptors = [fd for c in children.both() for fd in (c.pidfd, c.channel.fileno())]
        for descriptor in descriptors:
            self._selector.register(descriptor, selectors.EVENT_READ)
        while not any(c.has_ended() for c in children.both()):
            ready = {key.fd for key, _ in self._selector.select()}
            self._read_signals(children)
            for child in children.both():
                if child.channel.fileno() in ready and not self._read(child):
                    self._selector.unregister(child.channel.fileno())
                    descriptors.remove(child.channel.fileno())
        for descriptor in descriptors:
            self._selector.unregister(descriptor)

    def _read(self, child: Child) -> bool:
        """Take in what a child says; False when it will say no more."""
        message = child.channel.receive()
        if isinstance(message, Closed):
            return False
        if isinstance(message, ReadyNews):
            self._ready.add(child.name)
        if len(self._ready) == len(NAMES) and not self._is_announced:
            self._is_announced = True
            sd_notify("READY=1")
            logger.info("ready node=%s", self._config.node.name)
        return True

    def _read_signals(self, children: Children | None) -> None:
        for number in _pending(self._signals):
            if number == signal.SIGHUP:
                self._reload(children)
            else:
                self._stop(children, keep_serving=number == signal.SIGUSR2)

    def _stop(self, children: Children | None, *, keep_serving: bool) -> None:
        self._is_stopping = True
        sd_notify("STOPPING=1")
        logger.info("stopping keep_serving=%s", keep_serving)
        if children is not None:
            children.tell(StopOrder(keep_serving))

    def _reload(self, children: Children | None) -> None:
        now_us = boottime_ns() // 1000
        sd_notify(f"RELOADING=1\nMONOTONIC_USEC={now_us}")
        prepared = prepare(self._config_path)
        if isinstance(prepared, tuple):
            config, settings_text = prepared
            changes = reloadable_changes(self._config, config)
            for refusal in changes.refused:
                logger.error("%s", refusal.line)
            if not changes.refused:
                self._config, self._settings_text = config, settings_text
                logger.info("reloaded applied=%s", ",".join(changes.applied) or "nothing changed")
                if children is not None:
                    children.tell(SettingsNews(settings_text))
        else:
            tell_reports(prepared.reports)
        sd_notify("READY=1")

    def _back_off(self, codes: dict[str, int], ran_ns: int) -> None:
        if ran_ns >= STEADY_NS:
            self._backoff_s = BACKOFF_MIN_S
        logger.error("a process ended, starting both again exits=%s in_s=%.1f", codes, self._backoff_s)
        self._selector.select(self._backoff_s)
        self._read_signals(None)
        self._backoff_s = min(BACKOFF_MAX_S, self._backoff_s * 2)


class Refused:
    """The configuration cannot be used; the reports say why."""

    def __init__(self, reports: Iterable[Report]) -> None:
        self.reports = tuple(reports)


def prepare(config_path: Path) -> tuple[Config, str] | Refused:
    """Return the configuration and the settings made from it, or every problem."""
    loaded = load(config_path)
    if not isinstance(loaded, Loaded):
        return Refused(loaded)
    secrets = read_secrets(loaded.config)
    if isinstance(secrets, tuple):
        return Refused(secrets)
    return loaded.config, daemon_settings(loaded.config, secrets).to_json()


def tell_reports(reports: Iterable[Report]) -> None:
    """Write reports for the person who started the daemon."""
    for each in reports:
        sys.stderr.write(each.line + "\n")
        for label, words in (("rule", each.rule), ("next", each.hint)):
            if words:
                sys.stderr.write(f"    {label}: {words}\n")


def run(config_path: Path) -> int:
    """Run the daemon in the foreground: 0 after a clean stop, 1 if it cannot start or did not end cleanly."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s supervisor %(message)s")
    prepared = prepare(config_path)
    if isinstance(prepared, Refused):
        tell_reports(prepared.reports)
        return FAILED
    config, settings_text = prepared
    try:
        Path(config.node.state_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(config.node.run_dir).mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        sys.stderr.write(f"error: cannot make the directories of [node]: {error}\n")
        return FAILED
    return Supervisor(config_path, config, settings_text).run()


def _catch_signals() -> socket.socket:
    """Return a socket that gets a byte for each signal; nothing else is done in a handler."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    return reader


def _pending(reader: socket.socket) -> bytes:
    try:
        return os.read(reader.fileno(), 64)
    except BlockingIOError:
        return b""
