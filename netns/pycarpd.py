"""pycarpd on the laboratory's hosts: configuration files, daemons, and what they say of themselves.

The laboratory knows pycarpd only by its commands, its configuration file and its control socket.
"""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from netns import own_clock
from netns.commands import LaboratoryError, eventually, run, spawn
from netns.owner import Owner
from netns.topology import INTERFACE, VIP_CIDR, Process, Topology

_STATUS_WITHIN_S: Final = 5.0
_LOOK_WITHIN_S: Final = 3.0
_STOP_WITHIN_S: Final = 20.0
COMMANDS: Final = Path(sys.executable).parent
_CONFIG: Final = """\
[node]
name = "{name}"
state_dir = "{state_dir}"
run_dir = "{run_dir}"

[cluster]
vhid = 10
interface = "{interface}"
virtual_addresses = ["{vip}"]
key_file = "{key_file}"
members = {{ {members} }}
arbiter = "{arbiter}"
profile = "{profile}"
witnesses = [{witnesses}]
{cluster_lines}
"""
_MOOSEFS: Final = """\

[moosefs]
data_path = "{data_path}"
master_config = "{etc}/mfsmaster.cfg"
metalogger_config = "{etc}/mfsmetalogger.cfg"
also_start = []
huge_pages = {huge_pages}
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration of all hosts says.

    ``cluster_lines`` are further TOML lines of [cluster], each with the host it is for ("" for every host).
    """

    profile: str = "default"
    arbiter: str = "none"
    cluster_lines: tuple[tuple[str, str], ...] = ()
    witnesses: tuple[str, ...] = ()
    huge_pages: bool = False

    def lines_of(self, host: str) -> str:
        """Return the further lines for one host: the ones for every host, then its own."""
        return "\n".join(text for name, text in self.cluster_lines if name in ("", host))

    def with_line(self, text: str) -> Self:
        """Return the settings with one more line of [cluster] on every host."""
        return replace(self, cluster_lines=(*self.cluster_lines, ("", text)))

    def with_priorities(self, priorities: dict[str, int]) -> Self:
        """Return the settings with a priority for each of these hosts."""
        lines = tuple((host, f"priority = {priority}") for host, priority in priorities.items())
        return replace(self, cluster_lines=(*self.cluster_lines, *lines))

    def as_options(self) -> dict[str, Any]:
        """Return the settings as they stand in a laboratory's record."""
        return asdict(self)

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> Self:
        """Return the settings from a laboratory's record."""
        lines = tuple((name, text) for name, text in options["cluster_lines"])
        return cls(options["profile"], options["arbiter"], lines, tuple(options["witnesses"]), options["huge_pages"])


@dataclass(frozen=True, slots=True)
class Status:
    """What pycarpd on a host says of itself; every field is empty when it said nothing."""

    fields: dict[str, Any]

    @property
    def role(self) -> str:
        """Return the role's word, "" when pycarpd does not answer."""
        return str(self.fields.get("role", ""))

    @property
    def is_promotable(self) -> bool:
        """True when the host says that it could take over now."""
        return bool((self.fields.get("freshness") or {}).get("promotable", False))

    @property
    def why_not(self) -> str:
        """Return why the host could not take over, in its own words."""
        return str((self.fields.get("freshness") or {}).get("why_not") or "")


class _Control(http.client.HTTPConnection):
    """The control socket of one pycarpd."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_LOOK_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_LOOK_WITHIN_S)
        self.sock.connect(str(self._path))


class Daemons:
    """pycarpd on every metadata host of a laboratory."""

    def __init__(self, topology: Topology, owner: Owner | None, settings: Settings) -> None:
        self.topology = topology
        self.settings = settings
        self.hosts = tuple(name for name, host in topology.hosts.items() if host.is_metadata_host)
        self._owner = owner
        self._running = dict[str, subprocess.Popen[bytes]]()

    def prepare(self) -> None:
        """Write every host's configuration and the one key they share."""
        key_line = secrets.token_hex(32) + "\n"
        for host in self.hosts:
            directory = self.topology.host_directory(host)
            for name in ("state", "run"):
                (directory / name).mkdir(mode=0o755)
            key_file = directory / "key"
            key_file.touch(mode=0o600)
            key_file.write_text(key_line)
        self.write_configs()

    def write_configs(self) -> None:
        """Write every host's configuration file as the settings say."""
        for host in self.hosts:
            self.config(host).write_text(self._config_text(host))

    def config(self, host: str) -> Path:
        """Return a host's configuration file."""
        return self.topology.host_directory(host) / "pycarpd.toml"

    def log(self, host: str) -> Path:
        """Return the file that pycarpd's output on a host is appended to."""
        return self.topology.host_directory(host) / "pycarpd.log"

    def start(self, host: str) -> None:
        """Start `pycarpd run` on a host; returns at once."""
        path = f"{own_clock.commands(self.topology, host)}:{os.environ.get('PATH', os.defpath)}"
        command = (str(COMMANDS / "pycarpd"), "run", "--config", str(self.config(host)))
        argv = self.topology.inside(host, "env", f"PATH={path}", *command)
        process = spawn(argv, self.log(host))
        self._running[host] = process
        if self._owner is not None:
            self._owner.adopt(process)

    def stop(self, host: str) -> int | None:
        """Stop pycarpd on a host by SIGTERM and return its exit status.

        None when it had to be killed after twenty seconds, or was started by another process of the laboratory.
        """
        process = self._running.pop(host, None)
        supervisor = self.processes(host).get("supervisor")
        if supervisor is None:
            return None
        self.topology.send_signal(signal.SIGTERM, [supervisor.pid])
        try:
            eventually(lambda: "supervisor" not in self.processes(host), _STOP_WITHIN_S, f"pycarpd on {host} ends")
        except LaboratoryError:
            self.topology.send_signal(signal.SIGKILL, [p.pid for p in self.processes(host).values()])
            return None
        # A process leaves its namespace a moment before it can be waited for.
        return process.wait(_STOP_WITHIN_S) if process is not None else None

    def control(self, host: str, *arguments: str, timeout_s: float = _STATUS_WITHIN_S) -> tuple[int, str]:
        """Run pycarpctl against a host and return its exit status and output."""
        argv = (str(COMMANDS / "pycarpctl"), "--config", str(self.config(host)), *arguments)
        completed = run(*argv, timeout_s=timeout_s)
        return completed.status, completed.output + completed.errors

    def status(self, host: str) -> Status:
        """Ask a host's pycarpd for its status; a host that does not answer has an empty one."""
        return Status(self.look(host))

    def look(self, host: str) -> dict[str, Any]:
        """Return a host's status by its control socket, empty when it does not answer.

        In milliseconds, where pycarpctl takes a second of CPU time.
        """
        control = _Control(self.topology.host_directory(host) / "run" / "control.sock")
        try:
            control.request("GET", "/status")
            answer = json.loads(control.getresponse().read())
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return {}
        finally:
            control.close()
        return answer if isinstance(answer, dict) else {}

    def processes(self, host: str) -> dict[str, Process]:
        """Return pycarpd's processes on a host by what they are: supervisor, heartbeat, worker."""
        named: dict[str, Process] = {}
        for process in self.topology.processes(host):
            name = _name_of(process.arguments)
            if name:
                named.setdefault(name, process)
        return named

    def _config_text(self, host: str) -> str:
        directory = self.topology.host_directory(host)
        text = _CONFIG if host in self.settings.witnesses else _CONFIG + _MOOSEFS
        return text.format(
            name=host,
            state_dir=directory / "state",
            run_dir=directory / "run",
            interface=INTERFACE,
            vip=VIP_CIDR,
            key_file=directory / "key",
            members=", ".join(f'{name} = "{self.topology.hosts[name].address}"' for name in self.hosts),
            arbiter=self.settings.arbiter,
            profile=self.settings.profile,
            witnesses=", ".join(f'"{name}"' for name in self.settings.witnesses),
            cluster_lines=self.settings.lines_of(host),
            data_path=directory / "mfs",
            etc=directory / "etc",
            huge_pages=str(self.settings.huge_pages).lower(),
        )


def _name_of(arguments: tuple[str, ...]) -> str:
    for word in arguments:
        if word.startswith(("pycarpd.daemon.heartbeat", "pycarpd.daemon.worker")):
            return word.split(".")[2].partition("_")[0]
    is_command = any(Path(word).name == "pycarpd" for word in arguments[:2])
    return "supervisor" if is_command and "run" in arguments else ""
