"""The pair of processes that the supervisor keeps: started together, ended together.

Either of the two notices the other's death by itself and brings the host into a safe state (the heartbeat resigns, the
worker ends mfsmaster) before it ends; the supervisor only waits for that, with a bound, and starts a new pair.
"""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pycarpd.daemon.channel import Channel, pair
from pycarpd.daemon.messages import SettingsNews, StopOrder
from pycarpd.linux.process import wait_pidfd

MODULES = {"heartbeat": "pycarpd.daemon.heartbeat_process", "worker": "pycarpd.daemon.worker_process"}
NAMES = ("heartbeat", "worker")
OTHER_FLAG = {"heartbeat": "--worker-fd", "worker": "--heartbeat-fd"}
VOTES_FLAG = "--votes-fd"


@dataclass(frozen=True, slots=True)
class Child:
    """One process with the supervisor's end of its channel and a pidfd."""

    name: str
    process: subprocess.Popen[bytes]
    channel: Channel
    pidfd: int

    def has_ended(self) -> bool:
        """Tell whether the process is gone."""
        return self.process.poll() is not None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the process; False when it is still there."""
        return self.has_ended() or (wait_pidfd(self.pidfd, timeout_s) and self.process.wait() is not None)

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Close the channel and the pidfd."""
        self.channel.close()
        os.close(self.pidfd)


@dataclass(frozen=True, slots=True)
class Children:
    """The heartbeat and the worker of one round."""

    heartbeat: Child
    worker: Child

    @classmethod
    def start(cls, settings_text: str) -> "Children":
        """Start both, joined by a channel and by one for votes, and give each its settings."""
        ends = tuple(zip(pair(), pair(), strict=True))
        try:
            heartbeat, worker = (
                _spawn(name, {OTHER_FLAG[name]: other.fileno(), VOTES_FLAG: votes.fileno()})
                for name, (other, votes) in zip(NAMES, ends, strict=True)
            )
        finally:
            for each in ends:
                for end in each:
                    end.close()
        children = cls(heartbeat, worker)
        children.tell(SettingsNews(settings_text))
        return children

    def both(self) -> tuple[Child, Child]:
        """Return the two."""
        return (self.heartbeat, self.worker)

    def tell(self, message: SettingsNews | StopOrder) -> None:
        """Tell both the settings, or the heartbeat to stop: the worker hears of the end from the heartbeat."""
        self.heartbeat.channel.send(message)
        if isinstance(message, SettingsNews):
            self.worker.channel.send(message)

    def end(self, timeout_s: float) -> None:
        """Wait for the end of both, then kill what is left; the worker first gets the time to end mfsmaster."""
        for child in self.both():
            if not child.wait(timeout_s):
                child.kill()
        for child in self.both():
            child.close()


def _spawn(name: str, ends: dict[str, int]) -> Child:
    ours, theirs = pair()
    given = {**ends, "--supervisor-fd": theirs.fileno()}
    command = [sys.executable, "-m", MODULES[name], *(word for flag, fd in given.items() for word in (flag, str(fd)))]
    try:
        # What is passed is made inheritable in the child alone.
        process = subprocess.Popen(command, pass_fds=tuple(given.values()), stdin=subprocess.DEVNULL, cwd=Path("/"))
    finally:
        theirs.close()
    return Child(name, process, Channel(ours), os.pidfd_open(process.pid))
