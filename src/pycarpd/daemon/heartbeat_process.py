"""The heartbeat process's start: settings from the supervisor, state from disk, real time, then the loop.

Everything that may be slow happens here, before the first advert. Only what stands in the allow-list of the
architecture test may be imported from here on: no pydantic, no HTTP server, no asyncio.
"""

import argparse
import signal
import socket
import sys
from ipaddress import ip_interface
from pathlib import Path

from pycarpd.daemon.channel import Channel, Closed
from pycarpd.daemon.heartbeat import Heartbeat
from pycarpd.daemon.identity import StateError, bring_over, new_identity, read_persistent
from pycarpd.daemon.lines import Lines
from pycarpd.daemon.messages import SettingsNews
from pycarpd.daemon.punctuality import Punctuality
from pycarpd.invariant import invariant
from pycarpd.linux.realtime import Degradation, freeze_garbage_collector, lock_memory, use_realtime
from pycarpd.settings import DaemonSettings
from pycarpd.wire.codec import CodecSettings
from pycarpd.wire.keys import KeyRing

REALTIME_PRIORITY = 10
FAILED = 1
SETTINGS_TIMEOUT_S = 10.0


def receive_settings(supervisor: socket.socket) -> tuple[Channel, DaemonSettings] | None:
    """Wait for the supervisor's first message; None when the supervisor is gone before it has sent it."""
    supervisor.settimeout(SETTINGS_TIMEOUT_S)
    supervisor.recv(1, socket.MSG_PEEK)
    channel = Channel(supervisor)
    message = channel.receive()
    if message is None or isinstance(message, Closed):
        return None
    invariant(isinstance(message, SettingsNews), "the supervisor's first message is the settings")
    return channel, DaemonSettings.from_json(getattr(message, "text", ""))


def ignore_stop_signals() -> None:
    """Leave stopping to the supervisor: a service manager signals every process of the group at once.

    By handlers that do nothing rather than SIG_IGN, which mfsmaster and all that is started here would inherit.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)


def codec_settings(settings: DaemonSettings) -> CodecSettings:
    """Return what the wire needs of the settings, which the supervisor has validated."""
    keyring = KeyRing.parse(settings.key_text)
    if not isinstance(keyring, KeyRing):
        raise StateError(f"the key file is not usable: {keyring}")
    return CodecSettings(
        vhid=settings.vhid,
        virtual_address=ip_interface(settings.virtual_addresses[0]).ip.packed,
        own_node_id=settings.election.node_id,
        members=settings.election.members,
        strict=settings.election.strict,
        keyring=keyring,
        ucarp_password=settings.ucarp_password,
    )


def use_machine(settings: DaemonSettings) -> tuple[Degradation, ...]:
    """Make the process as punctual as the machine allows; return what it does not allow."""
    wanted = [freeze_garbage_collector(), lock_memory()]
    if settings.realtime:
        wanted.append(use_realtime(REALTIME_PRIORITY))
    return tuple(d for d in wanted if d is not None)


def main() -> int:
    """Run the heartbeat process; exit 0 after the election has ended here, 1 if it could not begin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker-fd", type=int, required=True)
    parser.add_argument("--votes-fd", type=int, required=True)
    parser.add_argument("--supervisor-fd", type=int, required=True)
    arguments = parser.parse_args()
    ignore_stop_signals()
    received = receive_settings(socket.socket(fileno=arguments.supervisor_fd))
    if received is None:
        return FAILED
    supervisor, settings = received
    state_dir = Path(settings.state_dir)
    try:
        codec = codec_settings(settings)
        identity = new_identity(state_dir)
        persistent = read_persistent(state_dir)
        bring_over(state_dir, persistent)
    except (OSError, StateError) as error:
        sys.stderr.write(f"pycarpd heartbeat: {error}\n")
        return FAILED
    worker, votes = (Channel(socket.socket(fileno=fd)) for fd in (arguments.worker_fd, arguments.votes_fd))
    lines = Lines(worker, votes, supervisor)
    heartbeat = Heartbeat(settings, codec, identity, persistent, lines, Punctuality(use_machine(settings)))
    heartbeat.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
