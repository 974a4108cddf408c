"""Hosts, links and the switch: one network namespace a host, one more with a bridge that joins them.

Nothing is attached to the root namespace. Each host has one interface, eth0; the switch has one port a host,
named as the host. Addresses and MACs follow from the host's name, so a capture is easily read.
"""

import contextlib
import ipaddress
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netns.commands import LaboratoryError, must, run
from netns.owner import NETNS_ETC, Owner, kill_namespace, pids_in

VIP: Final = "192.0.2.100"
VIP_CIDR: Final = f"{VIP}/24"
INTERFACE: Final = "eth0"
BRIDGE: Final = "br0"
SWITCH: Final = "sw"
_FIRST_ADDRESS: Final = {"m": 10, "cs": 20, "c": 30, "u": 40}
_SYSCTLS: Final = (
    "net.ipv6.conf.all.accept_dad=0",
    "net.ipv6.conf.default.accept_dad=0",
    "net.ipv6.conf.default.accept_ra=0",
)
"""Duplicate address detection would hold an IPv6 address back for a second or more after each link-up."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the laboratory: m1.. may be master, cs1.. are chunkservers, c1.. clients, u1.. anything else."""

    name: str
    number: int

    @classmethod
    def of(cls, name: str) -> "Host":
        """Return the host of that name; raises LaboratoryError for a name that follows no pattern."""
        match = re.fullmatch(r"(m|cs|c|u)([1-9])", name)
        if match is None:
            raise LaboratoryError(f"{name!r} is no host: m1..m9, cs1..cs9, c1..c9, u1..u9")
        return cls(name, _FIRST_ADDRESS[match[1]] + int(match[2]))

    @property
    def address(self) -> str:
        """Return the host's IPv4 address, in 192.0.2.0/24."""
        return f"192.0.2.{self.number}"

    @property
    def address6(self) -> str:
        """Return the host's IPv6 address, in 2001:db8::/64."""
        return str(ipaddress.IPv6Address(f"2001:db8::{self.number:x}"))

    @property
    def mac(self) -> str:
        """Return the MAC address of the host's eth0."""
        return f"02:00:5e:10:00:{self.number:02x}"

    @property
    def is_metadata_host(self) -> bool:
        """True for the hosts that run pycarpd."""
        return self.name.startswith("m")


@dataclass(frozen=True, slots=True)
class Process:
    """A process seen in a host's namespace."""

    pid: int
    parent: int
    command: str
    arguments: tuple[str, ...]


class Topology:
    """The namespaces of one laboratory; usable by any process that knows prefix, directory and host names."""

    def __init__(self, prefix: str, directory: Path, names: tuple[str, ...]) -> None:
        self.prefix = prefix
        self.directory = directory
        self.hosts = {name: Host.of(name) for name in names}

    @classmethod
    def build(cls, owner: Owner, names: tuple[str, ...]) -> "Topology":
        """Make namespaces, switch, links and addresses; all are up and see each other on return."""
        topology = cls(owner.prefix, owner.directory, names)
        owner.describe(names, owner.record.options or {})
        must("ip", "-batch", "-", stdin="".join(f"netns add {topology.namespace(n)}\n" for n in (*names, SWITCH)))
        topology._build_switch()
        for name in names:
            topology._write_etc(name)
            topology.connect(name)
        return topology

    def namespace(self, host: str) -> str:
        """Return the name of a host's network namespace."""
        return f"{self.prefix}-{host}"

    def host_directory(self, host: str) -> Path:
        """Return the directory with a host's files, made when it is not there yet."""
        path = self.directory / host
        path.mkdir(mode=0o755, exist_ok=True)
        return path

    def inside(self, host: str, *argv: str) -> list[str]:
        """Return *argv* as run on a host, with its own /etc/hosts."""
        return ["ip", "netns", "exec", self.namespace(host), *argv]

    def inside_net(self, host: str, *argv: str) -> list[str]:
        """Return *argv* as run in a host's network only, so that a mount it makes is seen from outside as well."""
        return ["nsenter", f"--net=/run/netns/{self.namespace(host)}", *argv]

    def connect(self, host: str) -> None:
        """Plug a host in: make its link to the switch, give it its addresses and set all up."""
        spec = self.hosts[host]
        self._ip(
            SWITCH,
            f"link add {host} type veth peer name {INTERFACE} address {spec.mac} netns {self.namespace(host)}",
            f"link set {host} master {BRIDGE} up",
        )
        self._ip(
            host,
            "link set lo up",
            f"link set {INTERFACE} up",
            f"addr add {spec.address}/24 dev {INTERFACE}",
            f"addr add {spec.address6}/64 dev {INTERFACE} nodad",
        )

    def unplug(self, host: str) -> None:
        """Delete a host's interface, as a driver that is unloaded does."""
        self._ip(host, f"link delete {INTERFACE}")

    def set_port(self, host: str, *, is_up: bool) -> None:
        """Set a host's switch port up or down; the host sees its carrier come and go."""
        self._ip(SWITCH, f"link set {host} {'up' if is_up else 'down'}")

    def disable_port(self, host: str) -> None:
        """Let the switch pass no frame to or from a host, at once; its carrier stays. Up again, the port forwards."""
        must(*self.inside_net(SWITCH, "bridge", "link", "set", "dev", host, "state", "disabled"))

    def set_interface(self, host: str, *, is_up: bool) -> None:
        """Set a host's own interface up or down, as an administrator on that host does."""
        self._ip(host, f"link set {INTERFACE} {'up' if is_up else 'down'}")
        if is_up:
            # The kernel has dropped the IPv6 address with the link.
            self._ip(host, f"addr replace {self.hosts[host].address6}/64 dev {INTERFACE} nodad")

    def addresses(self, host: str) -> list[str]:
        """Return the IPv4 addresses on a host's interface, without their prefix lengths; none when it is gone."""
        listed = run("ip", "-n", self.namespace(host), "-4", "-o", "addr", "show", "dev", INTERFACE)
        return [line.split()[3].partition("/")[0] for line in listed.output.splitlines()]

    def holders_of(self, address: str = VIP) -> list[str]:
        """Return the hosts that have an address on their interface now."""
        return [name for name in self.hosts if address in self.addresses(name)]

    def add_address(self, host: str, cidr: str) -> None:
        """Add an address by hand; it is no fault when it is there."""
        self._ip(host, f"addr replace {cidr} dev {INTERFACE}")

    def remove_address(self, host: str, cidr: str) -> None:
        """Remove an address by hand; it is no fault when it is not there."""
        run("ip", "-n", self.namespace(host), "addr", "del", cidr, "dev", INTERFACE)

    def filter(self, host: str, table: str, rules: str, *, family: str = "bridge") -> None:
        """Install a table of nft rules in a host's (or the switch's) namespace, in place of one of that name."""
        text = f"add table {family} {table}\ndelete table {family} {table}\ntable {family} {table} {{\n{rules}\n}}\n"
        must(*self.inside_net(host, "nft", "-f", "-"), stdin=text)

    def unfilter(self, host: str, table: str, *, family: str = "bridge") -> None:
        """Remove a table of nft rules; it is no fault when it is not there."""
        text = f"add table {family} {table}\ndelete table {family} {table}\n"
        must(*self.inside_net(host, "nft", "-f", "-"), stdin=text)

    def processes(self, host: str) -> list[Process]:
        """Return the processes in a host's namespace, oldest first."""
        return [p for p in map(_process, pids_in(self.namespace(host))) if p is not None]

    def kill_everything(self, host: str) -> None:
        """SIGKILL every process on a host until none is left."""
        kill_namespace(self.namespace(host))

    @staticmethod
    def send_signal(number: signal.Signals, pids: list[int]) -> None:
        """Send a signal to processes on any host; one that is gone already is no fault."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def forget_kernel_state(self, host: str) -> None:
        """Bring a host's network back to what it is after booting: own addresses only, no filter, no sessions."""
        spec = self.hosts[host]
        self._ip(host, f"addr flush dev {INTERFACE} scope global")
        self._ip(
            host,
            f"addr add {spec.address}/24 dev {INTERFACE}",
            f"addr add {spec.address6}/64 dev {INTERFACE} nodad",
            "neigh flush all",
        )
        must(*self.inside_net(host, "nft", "flush", "ruleset"))

    def _build_switch(self) -> None:
        for name in self.hosts:
            must(*self.inside_net(name, "sysctl", "-q", "-w", *_SYSCTLS))
        # A switch has no addresses and says nothing of its own.
        must(*self.inside_net(SWITCH, "sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1"))
        # Without snooping the bridge passes multicast to every port, as a switch without IGMP does.
        self._ip(
            SWITCH,
            f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link set {BRIDGE} up",
        )

    def _write_etc(self, host: str) -> None:
        directory = NETNS_ETC / self.namespace(host)
        directory.mkdir(parents=True)
        lines = ["127.0.0.1 localhost", "::1 localhost", f"{VIP} mfsmaster"]
        lines += [f"{spec.address} {name}" for name, spec in self.hosts.items()]
        (directory / "hosts").write_text("\n".join(lines) + "\n")

    def _ip(self, host: str, *lines: str) -> None:
        must("ip", "-n", self.namespace(host), "-batch", "-", stdin="\n".join(lines) + "\n")


def _process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = tuple(word.decode(errors="replace") for word in arguments.split(b"\0") if word)
    command = stat[stat.index("(") + 1 : stat.rindex(")")]
    return Process(pid, int(stat.rpartition(")")[2].split()[1]), command, words)
