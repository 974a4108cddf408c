"""MooseFS's chunk locks across a crash: a writer whose answer died with the master goes on within seconds.

Left to itself it waits for the lock of its former self to run out: 124 s were seen.
"""

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.cluster import Cluster, Options
from netns.commands import boottime_ns, bound_to_parent, eventually, spawn
from netns.faults import heal, inject
from netns.owner import Owner, reap
from netns.pycarpd import Settings
from netns.topology import SWITCH
from pycarpd.moosefs.chunklocks import ChunkLock, find_locks

pytestmark = [pytest.mark.netns, pytest.mark.product, pytest.mark.timeout(300)]
HOLD = "holdanswers"
READY_WITHIN_S = 60.0
LOCKED_WITHIN_S = 20.0
WRITTEN_WITHIN_S = 60.0
"""Half of the lock's time; a few seconds are what it takes."""
BLOCK = 65536
PAGE = 4096
PAGES = 200
HEAD_BYTES = 8192
NETWORK_ONLY = "192.0.2.0/24 / rw,alldirs,maproot=0\n192.0.2.0/24 . rw\n"
"""No session for the loopback address."""
CHILD = """
import os, sys, time
path, go, size, count, pause_s = *sys.argv[1:3], *map(int, sys.argv[3:5]), float(sys.argv[5])
file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
print("open", flush=True)
while not os.path.exists(go):
    time.sleep(0.01)
for number in range(count):
    os.write(file, bytes([number % 256]) * size)
    time.sleep(pause_s)
os.fsync(file)
print("written", flush=True)
"""
OPENER = "import sys, time; file = open(sys.argv[1]); print('open', flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """As many chunkservers as a chunk has copies: MooseFS lets nobody write to less for ten seconds after a start."""
    reap()
    with Owner() as owner:
        cluster = Cluster.build(owner, Options(chunkservers=2, clients=2, settings=Settings(arbiter="none")))
        for host in cluster.daemons.hosts:
            (cluster.moosefs.etc(host) / "mfsexports.cfg").write_text(NETWORK_ONLY)
        cluster.start()
        yield cluster


class Child:
    """A program on a client that says how far it is; it is never waited for without a bound."""

    def __init__(self, cluster: Cluster, script: str, path: Path, *arguments: object) -> None:
        assert cluster.owner is not None
        name = f"child-{boottime_ns()}"
        self._log = cluster.directory / f"{name}.log"
        self._go = cluster.directory / f"{name}.go"
        words = (path, self._go, *arguments)
        argv = bound_to_parent([sys.executable, "-c", script, *map(str, words)])
        cluster.owner.adopt(spawn(argv, self._log))
        self.wait_for("open", READY_WITHIN_S)

    def go(self) -> None:
        """Let a writer begin."""
        self._go.touch()

    def says(self, word: str) -> bool:
        """Tell whether it has got there."""
        return word in self._log.read_text().split()

    def wait_for(self, word: str, within_s: float) -> None:
        """Wait until it gets there; raises LaboratoryError."""
        eventually(lambda: self.says(word), within_s, f"{word!r} in {self._log.read_text()!r}")


def hold_answers(cluster: Cluster, master: str, client: str) -> None:
    """Let requests through, but no answer, as for those that a dying master has not sent yet."""
    address = cluster.topology.hosts[client].address
    hook = "type filter hook forward priority 0; policy accept;"
    rules = f'  chain forward {{\n    {hook}\n    iifname "{master}*" ip daddr {address} drop\n  }}'
    cluster.topology.filter(SWITCH, HOLD, rules)


def known_locks(cluster: Cluster, hosts: list[str]) -> set[ChunkLock]:
    """Return the locks that every one of these metaloggers has heard of."""
    logs = [cluster.moosefs.data_path(host) / "changelog_ml.0.mfs" for host in hosts]
    return set.intersection(*(set(find_locks(log)) for log in logs))


def crash(cluster: Cluster, master: str) -> str:
    """Let the master's host die; returns the host that serves in its place."""
    inject(cluster, "crash", master)
    cluster.topology.unfilter(SWITCH, HOLD)

    def successor() -> str | None:
        return next(
            (h for h in cluster.daemons.hosts if h != master and cluster.daemons.status(h).role == "MASTER"), None
        )

    return eventually(successor, READY_WITHIN_S, "another host is MASTER", every_s=0.1)


def last_takeover(cluster: Cluster, host: str) -> str:
    """Return what a host's log says of the step that unlocks, once that was."""

    def found() -> str:
        lines = cluster.daemons.log(host).read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if "step=release-locks" in line), "")

    return eventually(found, READY_WITHIN_S, "the locks were looked at")


def content(cluster: Cluster, name: str) -> bytes:
    """Read a file through a mount that has nothing cached."""
    mount = cluster.moosefs.mount(cluster.clients[1], f"fresh-{name}")
    try:
        return (mount / name).read_bytes()
    finally:
        cluster.moosefs.unmount(mount)


def test_a_writer_whose_answer_died_with_the_master_goes_on_at_once(cluster: Cluster) -> None:
    master = cluster.wait_ready(READY_WITHIN_S)
    standbys = [host for host in cluster.daemons.hosts if host != master]
    first, second = (cluster.mounts[client] for client in cluster.clients)
    own = Child(cluster, CHILD, first / "own", BLOCK, 1, 0)
    shared = Child(cluster, CHILD, first / "shared", BLOCK, 1, 0)
    Child(cluster, OPENER, second / "shared")
    hold_answers(cluster, master, cluster.clients[0])
    own.go()
    shared.go()
    eventually(lambda: len(known_locks(cluster, standbys)) == 2, LOCKED_WITHIN_S, "both chunks are locked")
    heard = known_locks(cluster, standbys)
    successor = crash(cluster, master)

    own.wait_for("written", WRITTEN_WITHIN_S)
    assert content(cluster, "own") == bytes(BLOCK)
    told = last_takeover(cluster, successor)
    assert "code=LOCKS_LEFT" in told
    assert "several clients have its file open (1)" in told
    # Another client may write to the same bytes there: only MooseFS's own timeout may end that lock.
    assert not shared.says("written")
    assert len(set(find_locks(cluster.moosefs.data_path(successor) / "changelog.0.mfs")) & heard) == 1
    heal(cluster, "crash", master)


def test_a_writer_that_has_its_answer_and_writes_on_loses_nothing(cluster: Cluster) -> None:
    master = cluster.wait_ready(READY_WITHIN_S)
    standbys = [host for host in cluster.daemons.hosts if host != master]
    before = known_locks(cluster, standbys)
    writer = Child(cluster, CHILD, cluster.mounts[cluster.clients[0]] / "long", PAGE, PAGES, 0.02)
    writer.go()
    held = eventually(lambda: known_locks(cluster, standbys) - before, LOCKED_WITHIN_S, "the chunk is locked")
    successor = crash(cluster, master)

    writer.wait_for("written", WRITTEN_WITHIN_S)
    assert content(cluster, "long") == b"".join(bytes([number % 256]) * PAGE for number in range(PAGES))
    last_takeover(cluster, successor)
    changelog = cluster.moosefs.data_path(successor) / "changelog.0.mfs"
    eventually(lambda: not held & set(find_locks(changelog)), LOCKED_WITHIN_S, "nobody holds its lock any more")
    assert "unlocked chunks" in cluster.daemons.log(successor).read_text(errors="replace"), "its lock was taken away"
    deadline = time.monotonic() + LOCKED_WITHIN_S
    while (different := differing(cluster, {lock.chunkid for lock in held})) and time.monotonic() < deadline:
        time.sleep(0.5)  # each chunkserver writes the checksums at a file's head when it has time to
    assert not different
    heal(cluster, "crash", master)


def differing(cluster: Cluster, chunkids: set[int]) -> list[list[str]]:
    """Return which of these chunks are not the same on every chunkserver: what each has of it, by version and digest.

    Other chunks may be on one of them alone: they were written before the other had come.
    """
    disks = [cluster.topology.host_directory(chunkserver) / "disk" for chunkserver in cluster.chunkservers]
    found = [[digest(disk, chunkid) for disk in disks] for chunkid in sorted(chunkids)]
    return [digests for digests in found if len(set(digests)) > 1 or "none" in digests]


def digest(disk: Path, chunkid: int) -> str:
    """Return the name of a chunk's file, its size, and digests of its head, where the checksums are, and its data."""
    told = []
    for path in sorted(disk.glob(f"*/chunk_{chunkid:016X}_*.mfs")):
        data = path.read_bytes()
        parts = (data[:HEAD_BYTES], data[HEAD_BYTES:])
        told.append(" ".join([path.name, str(len(data)), *(hashlib.sha256(part).hexdigest()[:12] for part in parts)]))
    return ", ".join(told) or "none"
