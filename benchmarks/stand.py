"""The stand on which contenders take turns: one real MooseFS that goes on from turn to turn, carried by hand.

Between two turns everything of the last contender is ended at once, the newest mfsmaster saves its metadata cleanly,
and m1 gets them; the next contender finds a host with a whole file system and two that have nothing yet, like its
predecessors. So nobody starts from a better place, and chunkservers, clients and their mounts live through all of it.
"""

import os
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from netns.capture import Capture
from netns.cluster import REPOSITORY, Cluster, Options
from netns.commands import LaboratoryError, eventually, run
from netns.owner import Owner, huge_page_policy
from netns.topology import SWITCH, VIP

FIRST: Final = "m1"
_OWNER_NAME: Final = "mfs"
_NOT_KNOWN: Final = "not known"
_COMPLETE_WITHIN_S: Final = 30.0


class Stand:
    """One cluster of three metadata hosts, and what brings it back to its beginning."""

    def __init__(self, owner: Owner, options: Options) -> None:
        self.owner = owner
        self.cluster = Cluster.build(owner, options)
        if self.cluster.capture is not None:
            self.cluster.capture.close()  # one for each turn is enough to read
        self.cluster.create_file_system()
        self.cluster.topology.remove_address(FIRST, f"{VIP}/24")
        self._saved = owner.directory / "level.mfs"
        shutil.copyfile(self._metadata(FIRST), self._saved)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the metadata hosts."""
        return self.cluster.daemons.hosts

    @property
    def standbys(self) -> tuple[str, ...]:
        """Return the hosts that m1's death makes candidates."""
        return self.hosts[1:]

    def capture(self, name: str) -> Capture:
        """Begin a capture of its own."""
        return Capture(self.cluster.topology, self.owner, name)

    def level(self) -> bool:
        """Bring the file system to rest and give it to m1 alone; the contender must have been ended.

        False when no mfsmaster could save: then m1 gets what it was given for the turn before.
        """
        saved = self._save()
        topology = self.cluster.topology
        for host in self.hosts:
            topology.kill_everything(host)
            topology.forget_kernel_state(host)
            topology.set_port(host, is_up=True)
            topology.unfilter(SWITCH, f"cut_{host}")
            self._wipe(host)
        target = self._metadata(FIRST)
        shutil.copyfile(self._saved, target)
        shutil.chown(target, _OWNER_NAME, _OWNER_NAME)
        return saved

    def end_pycarpd(self) -> None:
        """SIGKILL every process of pycarpd on every host, none noticing that another is gone."""
        daemons = self.cluster.daemons
        pids = [process.pid for host in self.hosts for process in daemons.processes(host).values()]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            self.cluster.topology.send_signal(number, pids)
        for host in self.hosts:
            (self.cluster.topology.host_directory(host) / "state" / "journal").unlink(missing_ok=True)

    def start_metaloggers(self) -> None:
        """Start a metalogger on every standby and wait until each has a whole base."""
        for host in self.standbys:
            self.cluster.moosefs.start_metalogger(host)
        for host in self.standbys:
            base = self.cluster.moosefs.data_path(host) / "metadata_ml.mfs.back"
            eventually(base.exists, _COMPLETE_WITHIN_S, f"{host} has downloaded the metadata")

    def wait_served(self) -> None:
        """Wait until the file system is whole: m1 serves with every chunkserver, and every mount answers."""
        self.wait_m1_serves()
        self.cluster.wait_mounts(_COMPLETE_WITHIN_S)

    def wait_m1_serves(self) -> None:
        """Wait until m1 holds the VIP and its mfsmaster, behind it, has the chunkservers."""
        cluster = self.cluster
        eventually(lambda: cluster.topology.holders_of() == [FIRST], _COMPLETE_WITHIN_S, "m1 has the VIP")
        count = len(cluster.chunkservers)
        asked = cluster.chunkservers[0]
        eventually(
            lambda: cluster.moosefs.chunkservers_connected(asked) == count,
            _COMPLETE_WITHIN_S,
            "the chunkservers are connected",
            every_s=0.2,
        )

    def _save(self) -> bool:
        """End the newest mfsmaster so that it saves its metadata, and keep them."""
        serving = [host for host in self.cluster.moosefs.serving_hosts() if host != FIRST] or [FIRST]
        host = serving[0]
        try:
            self.cluster.moosefs.stop_master(host)
        except LaboratoryError:
            return False
        metadata = self._metadata(host)
        if not metadata.exists():
            return False
        shutil.copyfile(metadata, self._saved)
        return True

    def _metadata(self, host: str) -> Path:
        return self.cluster.moosefs.data_path(host) / "metadata.mfs"

    def _wipe(self, host: str) -> None:
        directory = self.cluster.moosefs.data_path(host)
        for path in directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _output(*words: str) -> str:
    try:
        done = run(*words)
    except OSError:
        return _NOT_KNOWN
    return done.output.strip() if done.succeeded else _NOT_KNOWN


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    asked = run("mfsmaster", "-v")
    return {
        "processor": next(models, os.uname().machine),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_kb / 1024 / 1024:.0f} GiB",
        "kernel": os.uname().release,
        "huge pages": huge_page_policy(),
        "moosefs": (asked.output + asked.errors).split()[1].partition("-")[0] if asked.succeeded else _NOT_KNOWN,
        **{package: _output("dpkg-query", "-W", "-f", "${Version}", package) for package in ("ucarp", "keepalived")},
        "pycarpd": _output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"),
        "date": datetime.now(UTC).date().isoformat(),
    }
