"""A ucarp on a host of the laboratory, with scripts that move the address, and what it says and does there."""

import signal
from pathlib import Path

from netns.cluster import Cluster
from netns.commands import eventually, spawn
from netns.topology import INTERFACE, VIP, VIP_CIDR

PASSWORD = "an old secret"  # noqa: S105 - of this test's own ucarp
SCRIPT = """\
#!/bin/sh
{command}
echo {word} >> {log}
"""


class Ucarp:
    """A ucarp on one host, or what runs with its options in its place."""

    def __init__(self, cluster: Cluster, host: str, *options: str, program: tuple[str, ...] = ("ucarp",)) -> None:
        self.cluster = cluster
        self.host = host
        self.directory = cluster.topology.host_directory(host)
        self.output = self.directory / "ucarp.log"
        self.scripts_run = self.directory / "scripts.log"
        self._options = options
        self._program = program

    def start(self) -> None:
        password = self.directory / "password"
        password.write_text(PASSWORD + "\n")
        up = self._script("up", f"ip addr add {VIP_CIDR} dev $1")
        down = self._script("down", f"ip addr del {VIP_CIDR} dev $1")
        address = self.cluster.topology.hosts[self.host].address
        # Its output is a file, and would be kept back until there are 4 kB of it.
        argv = (
            "stdbuf",
            "-oL",
            *self._program,
            "-i",
            INTERFACE,
            "-s",
            address,
            "-v",
            "10",
            "-o",
            str(password),
            "-a",
            VIP,
        )
        scripts = ("-u", str(up), "-d", str(down), "-z", "-D", "-f", "none")
        process = spawn(self.cluster.topology.inside(self.host, *argv, *scripts, *self._options), self.output)
        if self.cluster.owner is not None:
            self.cluster.owner.adopt(process)
        eventually(lambda: "down" in self.runs, 15.0, "ucarp has begun as a backup")

    def stop(self) -> None:
        self.cluster.topology.send_signal(signal.SIGTERM, self._pids())
        eventually(lambda: not self._pids(), 15.0, "ucarp has ended")

    @property
    def runs(self) -> list[str]:
        """Return which of its scripts ucarp has run so far, in order."""
        return self.scripts_run.read_text().split() if self.scripts_run.exists() else []

    def ask(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.cluster.topology.send_signal(number, self._pids())

    def state(self) -> str:
        """Ask ucarp for its state, by the signal it has for that."""
        asked = self.output.read_text(errors="replace").count(" on eth0 id 10")
        self.cluster.topology.send_signal(signal.SIGUSR1, self._pids())

        def answers() -> list[str]:
            lines = [line for line in self.output.read_text(errors="replace").splitlines() if " on eth0 id 10" in line]
            return lines[asked:]

        return eventually(answers, 15.0, "ucarp tells its state")[-1].partition(" on ")[0].split()[-1]

    def _pids(self) -> list[int]:
        running = self.cluster.topology.processes(self.host)
        return [process.pid for process in running if {process.command, *process.arguments} & {"ucarp"}]

    def _script(self, word: str, command: str) -> Path:
        path = self.directory / word
        path.write_text(SCRIPT.format(word=word, command=command, log=self.scripts_run))
        path.chmod(0o755)
        return path
