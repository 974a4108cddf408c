"""One witness node with the whole daemon as real processes, in a namespace of the test's own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from scapy.layers.inet import IP

from tests.netns.linux_fixtures import Lab, eventually, ip, laboratory
from tests.scapy_layer import GROUP, PROTOCOL, Trailer

BIN = Path(sys.executable).parent
KEY = "5ec2e7" * 10 + "abcd"
WAIT_S = 30.0
BOTH = {"heartbeat", "worker"}
CONFIG = """
[node]
name = "w1"
state_dir = "{directory}/state"
run_dir = "{directory}/run"
[cluster]
vhid = 10
interface = "eth0"
virtual_addresses = ["192.0.2.100/24"]
key_file = "{directory}/key"
members = {{ meta1 = "192.0.2.11", meta2 = "192.0.2.12", w1 = "192.0.2.1" }}
witnesses = ["w1"]
"""


class DaemonHost:
    """`pycarpd run` on host a, its children, its log and what it told the service manager."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self.directory = directory
        self.config = directory / "pycarpd.toml"
        self.config.write_text(CONFIG.format(directory=directory), encoding="utf-8")
        key_file = directory / "key"
        key_file.touch(0o600)
        key_file.write_text(KEY + "\n", encoding="ascii")
        self.log = directory / "log"
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(directory / "notify"))
        self._manager.setblocking(False)
        self._notified: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.under: tuple[str, ...] = ()
        """The words of a command that starts the daemon."""

    def start(self) -> None:
        command = ["ip", "netns", "exec", self._lab.name("a"), *self.under, str(BIN / "pycarpd"), "run", "--config"]
        environment = os.environ | {"NOTIFY_SOCKET": str(self.directory / "notify")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, str(self.config)], env=environment, stderr=log, stdout=log)

    def start_ready(self) -> None:
        self.start()
        assert eventually(lambda: "READY=1" in self.notified(), WAIT_S), self.said()

    @property
    def supervisor(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def children(self) -> dict[str, psutil.Process]:
        """Return heartbeat and worker, as far as they live."""
        found: dict[str, psutil.Process] = {}
        for child in self.supervisor.children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                words = child.cmdline()
                found |= {name: child for name in BOTH if f"pycarpd.daemon.{name}_process" in words}
        return found

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self.children().items()}

    def signal(self, number: signal.Signals) -> None:
        self.supervisor.send_signal(number)

    def ended(self) -> int:
        """Wait for the end of the daemon and return its exit status."""
        assert self.process is not None
        return self.process.wait(WAIT_S)

    def notified(self) -> list[str]:
        """Return the lines told to the service manager so far."""
        while True:
            try:
                self._notified += self._manager.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._notified

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def status(self) -> dict[str, object]:
        """Return what pycarpctl says; empty while nobody answers."""
        command = [str(BIN / "pycarpctl"), "--config", str(self.config), "status", "--json"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
        answer = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return answer if "role" in answer else {}

    def intervals_us(self, count: int) -> list[int]:
        """Return what the interval is in so many adverts as host b hears them; to be asked in a child."""
        with self._lab.inside("b"):
            channel = socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL)
        with channel:
            group = socket.inet_aton(GROUP) + socket.inet_aton("192.0.2.2")
            channel.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            channel.settimeout(WAIT_S)
            return [int(IP(channel.recv(4096))[Trailer].interval_us) for _ in range(count)]

    def close(self) -> None:
        """End whatever runs."""
        self._manager.close()
        if self.process is None:
            return
        for pid in map(int, ip("netns", "pids", self._lab.name("a")).split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(WAIT_S)


@contextmanager
def daemon_host(directory: Path) -> Iterator[DaemonHost]:
    """Make the host, and take it away whatever happens."""
    with laboratory("a", "b") as lab:
        lab.connect(("a", "eth0", "192.0.2.1/24"), ("b", "eth0", "192.0.2.2/24"))
        host = DaemonHost(lab, directory)
        try:
            yield host
        finally:
            host.close()
