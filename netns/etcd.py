"""A real etcd: one server or a cluster of them, on hosts of a laboratory or on one address, and what befalls them."""

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from netns.cluster import Cluster
from netns.commands import end, eventually, run, spawn

CLIENT_PORT: Final = 2379
_READY_WITHIN_S: Final = 60.0
_PORTS_APART: Final = 10


@dataclass
class EtcdServer:
    """One member: its name, address, the port for clients (the next one is for its peers) and its directory."""

    name: str
    address: str
    client_port: int
    directory: Path
    inside: Callable[..., Sequence[str]]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Return the URL that clients use."""
        return f"http://{self.address}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Return the URL that the other members use."""
        return f"http://{self.address}:{self.client_port + 1}"

    def start(self, members: str) -> None:
        """Start it; *members* is etcd's list of all of them. One that ran before goes on from its files."""
        argv = self.inside(
            "etcd", "--name", self.name, "--data-dir", str(self.directory / self.name),
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url,
            "--initial-cluster", members, "--log-level", "error",
        )  # fmt: skip
        self.process = spawn(argv, self.directory / f"{self.name}.log")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, if it runs."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            end(self.process)
            self.process = None

    def is_healthy(self) -> bool:
        """Tell whether it answers that it has a leader."""
        script = f"import urllib.request; print(urllib.request.urlopen({self.url + '/health'!r}, timeout=1).read())"
        return '"health":"true"' in run(*self.inside("python3", "-c", script), timeout_s=3.0).output


@dataclass
class EtcdCluster:
    """All members; ``members`` is how etcd is told of them."""

    servers: list[EtcdServer]
    members: str

    @property
    def urls(self) -> tuple[str, ...]:
        """Return the members' URLs for clients."""
        return tuple(each.url for each in self.servers)

    def start(self) -> None:
        """Start all, and wait until they have elected a leader."""
        for each in self.servers:
            each.start(self.members)
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Wait until every member that runs answers that there is a leader."""
        running = [each for each in self.servers if each.process is not None]
        eventually(
            lambda: all(each.is_healthy() for each in running), _READY_WITHIN_S, "etcd has a leader", every_s=0.2
        )

    def end(self) -> None:
        """Kill all."""
        for each in self.servers:
            each.end()

    @classmethod
    def on_hosts(cls, cluster: Cluster, hosts: Sequence[str]) -> "EtcdCluster":
        """Return a cluster with one member on each of these hosts of a laboratory; nothing runs yet."""
        topology = cluster.topology
        return cls._of(
            EtcdServer(
                host,
                topology.hosts[host].address,
                CLIENT_PORT,
                topology.host_directory(host),
                lambda *argv, host=host: topology.inside_net(host, *argv),
            )
            for host in hosts
        )

    @classmethod
    def on_address(cls, address: str, directory: Path, count: int = 1) -> "EtcdCluster":
        """Return a cluster whose members share one address of this network namespace; nothing runs yet."""
        return cls._of(
            EtcdServer(f"e{number}", address, CLIENT_PORT + _PORTS_APART * number, directory, lambda *argv: argv)
            for number in range(1, count + 1)
        )

    @classmethod
    def _of(cls, servers: Iterator[EtcdServer]) -> "EtcdCluster":
        listed = list(servers)
        return cls(listed, ",".join(f"{each.name}={each.peer_url}" for each in listed))


@contextmanager
def running(cluster: EtcdCluster) -> Iterator[EtcdCluster]:
    """Start the cluster; it is killed afterwards, whatever happened."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
