"""A real MooseFS on the laboratory's hosts: configuration files, daemons started by hand, and mounts.

Sources: the sample configurations of Debian's moosefs packages (3.0.117). Each host has files of its own, every
reconnection delay is set to its least, and `mfsmaster` is the VIP on every host.
"""

import fcntl
import os
import shutil
import struct
from pathlib import Path
from typing import Final

from netns.commands import LaboratoryError, end, eventually, must, run, spawn
from netns.owner import Owner
from netns.topology import VIP, Topology

EMPTY_METADATA: Final = b"MFSM NEW"
_USER: Final = "mfs"
_START_WITHIN_S: Final = 30.0
_ANSWER_WITHIN_S: Final = 3.0
_MASTER_CONFIG: Final = """\
WORKING_USER = mfs
WORKING_GROUP = mfs
DATA_PATH = {data}
EXPORTS_FILENAME = {etc}/mfsexports.cfg
TOPOLOGY_FILENAME = {etc}/mfstopology.cfg
"""
_METALOGGER_CONFIG: Final = """\
WORKING_USER = mfs
WORKING_GROUP = mfs
DATA_PATH = {data}
MASTER_HOST = mfsmaster
MASTER_RECONNECTION_DELAY = 1
META_DOWNLOAD_FREQ = 1
"""
_CHUNKSERVER_CONFIG: Final = """\
WORKING_USER = mfs
WORKING_GROUP = mfs
DATA_PATH = {data}
HDD_CONF_FILENAME = {etc}/mfshdd.cfg
HDD_LEAVE_SPACE_DEFAULT = 16MiB
MASTER_HOST = mfsmaster
MASTER_RECONNECTION_DELAY = 1
"""
_EXPORTS: Final = "* / rw,alldirs,maproot=0\n* . rw\n"


class MooseFS:
    """The daemons and mounts of one file system; every path is below the laboratory's directory."""

    def __init__(self, topology: Topology, owner: Owner | None) -> None:
        self.topology = topology
        self._owner = owner

    def prepare(self, *, small_disk_mb: int = 0) -> None:
        """Write every host's configuration.

        With *small_disk_mb* metadata hosts keep their data on a tmpfs of that size.
        """
        for name, host in self.topology.hosts.items():
            etc = self.etc(name)
            etc.mkdir(mode=0o755, parents=True)
            data = self.data_path(name)
            data.mkdir(mode=0o755)
            if host.is_metadata_host:
                if small_disk_mb:
                    must(
                        "mount", "-t", "tmpfs", "-o", f"size={small_disk_mb}m,mode=755", self.topology.prefix, str(data)
                    )
                self._write(name, "mfsmaster.cfg", _MASTER_CONFIG)
                self._write(name, "mfsmetalogger.cfg", _METALOGGER_CONFIG)
                (etc / "mfsexports.cfg").write_text(_EXPORTS)
                (etc / "mfstopology.cfg").write_text("")
            elif name.startswith("cs"):
                disk = self.topology.host_directory(name) / "disk"
                disk.mkdir(mode=0o755)
                shutil.chown(disk, _USER, _USER)
                self._write(name, "mfschunkserver.cfg", _CHUNKSERVER_CONFIG)
                (etc / "mfshdd.cfg").write_text(f"{disk}\n")
            shutil.chown(data, _USER, _USER)

    def etc(self, host: str) -> Path:
        """Return the directory with a host's MooseFS configuration."""
        return self.topology.host_directory(host) / "etc"

    def data_path(self, host: str) -> Path:
        """Return a host's DATA_PATH."""
        return self.topology.host_directory(host) / "mfs"

    def log(self, host: str, name: str) -> Path:
        """Return the file that a program's output on a host is appended to."""
        return self.topology.host_directory(host) / f"{name}.log"

    def create_file_system(self, host: str) -> None:
        """Put the empty metadata of a new file system on a host.

        The next plain start of mfsmaster there takes it up.
        """
        path = self.data_path(host) / "metadata.mfs"
        path.write_bytes(EMPTY_METADATA)
        shutil.chown(path, _USER, _USER)

    def start_master(self, host: str, *, restore: bool = False) -> int:
        """Start mfsmaster (with ``-a`` to restore) and return its pid once it answers; raises LaboratoryError."""
        self._daemon(host, "mfsmaster", "start", *(["-a"] if restore else []))
        pid = self.lock_holder(host, "mfsmaster")
        if pid is None:
            raise LaboratoryError(f"mfsmaster on {host} says that it started, but nobody holds its lock")
        return pid

    def stop_master(self, host: str) -> None:
        """Stop mfsmaster cleanly, so that it saves its metadata; about four seconds."""
        self._daemon(host, "mfsmaster", "stop")

    def start_metalogger(self, host: str) -> None:
        """Start mfsmetalogger by hand."""
        self._daemon(host, "mfsmetalogger", "start")

    def start_chunkserver(self, host: str) -> None:
        """Start mfschunkserver; it goes on trying until a master answers at the VIP."""
        self._daemon(host, "mfschunkserver", "start")

    def lock_holder(self, host: str, daemon: str) -> int | None:
        """Return the pid that holds a daemon's lock file (F_GETLK); None when nobody does."""
        path = self.data_path(host) / f".{daemon}.lock"
        if not path.exists():
            return None
        # struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        with path.open("r+b") as lock:
            answer = struct.unpack("hhqqi4x", fcntl.fcntl(lock, fcntl.F_GETLK, asked))
        return None if answer[0] == fcntl.F_UNLCK else int(answer[4])

    def serving_hosts(self) -> list[str]:
        """Return the hosts on which a process holds mfsmaster's lock now."""
        hosts = [name for name, host in self.topology.hosts.items() if host.is_metadata_host]
        return [name for name in hosts if self.lock_holder(name, "mfsmaster") is not None]

    def chunkservers_connected(self, client: str) -> int:
        """Return how many chunkservers the master at the VIP knows as connected; 0 when it does not answer."""
        argv = self.topology.inside(client, "mfscli", "-H", VIP, "-p", "-s", ";", "-SCS")
        listed = run(*argv, timeout_s=_ANSWER_WITHIN_S)
        return sum(1 for line in listed.output.splitlines() if line.startswith("chunk servers") and "9422" in line)

    def mount(self, client: str, name: str = "mnt", *options: str) -> Path:
        """Mount the file system on a client, at a place that is seen outside; raises LaboratoryError."""
        point = self.topology.host_directory(client) / name
        point.mkdir(exist_ok=True)
        extra = [word for option in options for word in ("-o", option)]
        argv = self.topology.inside_net(client, "mfsmount", "-f", "-H", VIP, *extra, str(point))
        process = spawn(argv, self.log(client, name))
        if self._owner is not None:
            self._owner.adopt(process)
        try:
            eventually(lambda: answers(point), _START_WITHIN_S, f"{point} answers on {client}", every_s=0.1)
        except LaboratoryError:
            end(process)
            raise
        return point

    def unmount(self, point: Path) -> None:
        """Take a mount away at once, whether anything behind it answers or not."""
        must("umount", "-l", str(point))

    def _write(self, host: str, name: str, text: str) -> None:
        (self.etc(host) / name).write_text(text.format(data=self.data_path(host), etc=self.etc(host)))

    def _daemon(self, host: str, daemon: str, action: str, *options: str) -> None:
        config = str(self.etc(host) / f"{daemon}.cfg")
        argv = self.topology.inside(host, daemon, "-c", config, *options, action)
        completed = run(*argv, timeout_s=_START_WITHIN_S)
        with self.log(host, daemon).open("a") as log:
            log.write(completed.output + completed.errors)
        if not completed.succeeded:
            raise LaboratoryError(completed.describe())


def answers(point: Path, within_s: float = _ANSWER_WITHIN_S) -> bool:
    """Tell whether a MooseFS mounted there answers, asked by a process of its own."""
    told = run("stat", "-f", "-c", "%T", str(point), timeout_s=within_s)
    return told.succeeded and told.output.strip() in ("fuse", "fuseblk")
