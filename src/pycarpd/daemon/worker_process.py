"""The worker process's start: settings from the supervisor, MooseFS's own configuration, logging, the event loop."""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Iterator

from pycarpd.daemon.channel import Channel
from pycarpd.daemon.heartbeat_process import FAILED, ignore_stop_signals, receive_settings
from pycarpd.daemon.host import HostError, build_host
from pycarpd.daemon.worker import Worker
from pycarpd.linux.hugepages import allow_huge_pages
from pycarpd.linux.realtime import Degradation, come_first
from pycarpd.settings import DaemonSettings

PREFIXES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class JournalFormatter(logging.Formatter):
    """Prefixes each line with the priority that the system journal reads, ``<4>``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return f"<{PREFIXES.get(record.levelno, 6)}>{super().format(record)}"


def _use_machine(settings: DaemonSettings) -> Iterator[Degradation]:
    """Have from this host what the settings wish for, and yield what it refuses."""
    wishes = (
        (settings.realtime, come_first),
        (settings.moosefs is not None and settings.moosefs.huge_pages, allow_huge_pages),
    )
    for is_wished, ask in wishes:
        refused = ask() if is_wished else None
        if refused is not None:
            yield refused


def main() -> int:
    """Run the worker process; 0 after the heartbeat's goodbye, 1 when the heartbeat was lost or nothing could begin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--heartbeat-fd", type=int, required=True)
    parser.add_argument("--votes-fd", type=int, required=True)
    parser.add_argument("--supervisor-fd", type=int, required=True)
    arguments = parser.parse_args()
    ignore_stop_signals()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter("%(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    received = receive_settings(socket.socket(fileno=arguments.supervisor_fd))
    if received is None:
        return FAILED
    supervisor, settings = received
    try:
        host = build_host(settings, settings.moosefs) if settings.moosefs is not None else None
    except HostError as error:
        logging.getLogger(__name__).critical("cannot use MooseFS's configuration: %s", error)
        return FAILED
    for refused in _use_machine(settings):
        logging.getLogger(__name__).warning("%s: %s; %s", refused.code, refused.detail, refused.remedy)
    heartbeat = Channel(socket.socket(fileno=arguments.heartbeat_fd))
    votes = Channel(socket.socket(fileno=arguments.votes_fd))
    return asyncio.run(Worker(settings, host, heartbeat, votes, supervisor).run())


if __name__ == "__main__":
    sys.exit(main())
