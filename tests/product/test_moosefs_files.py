"""The proof against a real mfsmaster and mfsmetalogger: what is proved is exactly what is then served."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pycarpd.moosefs.chain import Chain, ChainIndex, ChainRefusal, RefusalCode, prove, write_layout
from pycarpd.moosefs.config import MfsConfig, read_mfs_config
from pycarpd.moosefs.metadata import MetadataWalk, walk
from pycarpd.moosefs.probe import (
    ConnectedServers,
    LiveMaster,
    ProbeFault,
    ProbeFaultCode,
    list_servers,
    probe,
)
from tests.own_network import own_network

pytestmark = [pytest.mark.product, pytest.mark.netns]
CLIENT_PORT = 9421
METAID = 7_711_207_478_499_287_114
DIRECTORIES = 300
MAKE_DIRECTORIES = "import os, sys; [os.mkdir(f'{sys.argv[1]}/d{n}') for n in range(int(sys.argv[2]))]"


@dataclass(frozen=True)
class Host:
    """One host's MooseFS: everything below *root*, in the network namespace the test is in."""

    root: Path
    address: str

    def configure(self, name: str) -> Path:
        """Return the data directory of a new master and metalogger called *name*."""
        data = self.root / name
        data.mkdir()
        common = f"WORKING_USER = root\nWORKING_GROUP = root\nDATA_PATH = {data}\n"
        (self.root / "mfsexports.cfg").write_text("* / rw,alldirs,maproot=0\n* . rw\n")
        (self.root / "mfstopology.cfg").write_text("")
        self.master_config(name).write_text(
            f"{common}EXPORTS_FILENAME = {self.root}/mfsexports.cfg\nTOPOLOGY_FILENAME = {self.root}/mfstopology.cfg\n"
        )
        (self.root / f"{name}-metalogger.cfg").write_text(
            f"{common}MASTER_HOST = {self.address}\nMASTER_RECONNECTION_DELAY = 1\nMETA_DOWNLOAD_FREQ = 1\n"
        )
        return data

    def master_config(self, name: str) -> Path:
        return self.root / f"{name}-master.cfg"

    def master(self, name: str, verb: str) -> subprocess.CompletedProcess[bytes]:
        return self.run("mfsmaster", "-c", str(self.master_config(name)), "-a", verb)

    def metalogger(self, name: str) -> None:
        done = self.run("mfsmetalogger", "-c", str(self.root / f"{name}-metalogger.cfg"), "start")
        assert done.returncode == 0

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        # Daemons keep their parent's output open: it goes to a file, or the wait would be for them.
        with (self.root / "output").open("ab") as output:
            return subprocess.run(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=30, check=False
            )

    def kill(self) -> None:
        """Kill every process in this network namespace but the test itself, and wait for their ends."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.pids())

    def pids(self) -> list[int]:
        mine = Path("/proc/thread-self/ns/net").readlink()
        return [
            pid
            for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
            if pid != os.getpid() and namespace_of(pid) == mine and state_of(pid) != "Z"
        ]

    def live(self) -> LiveMaster:
        found = probe(self.address, CLIENT_PORT, 5.0)
        assert isinstance(found, LiveMaster), found
        return found

    def fault(self, timeout_s: float) -> ProbeFaultCode:
        found = probe(self.address, CLIENT_PORT, timeout_s)
        assert isinstance(found, ProbeFault), found
        return found.code


def namespace_of(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/net").readlink()
    except OSError:
        return None


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return "Z"


def eventually(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.05)


def version_of(directory: Path) -> int:
    found = prove(directory, expected_metaid=None)
    return found.version if isinstance(found, Chain) else -1


def chain_of(directory: Path) -> Chain:
    found = prove(directory, expected_metaid=None)
    assert isinstance(found, Chain), found
    return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with own_network() as address:
        host = Host(tmp_path, address)
        try:
            yield host
        finally:
            mount = tmp_path / "mnt"
            if mount.exists():
                subprocess.run(("umount", "-l", str(mount)), timeout=10, check=False, stderr=subprocess.DEVNULL)
            host.kill()


def make_directories(host: Host) -> None:
    """Change the metadata through a real mount, in processes that may hang without the test hanging."""
    mount = host.root / "mnt"
    mount.mkdir()
    assert host.run("mfsmount", str(mount), "-H", host.address, "-o", "nosuid").returncode == 0
    assert host.run("python3", "-c", MAKE_DIRECTORIES, str(mount), str(DIRECTORIES)).returncode == 0
    assert host.run("umount", str(mount)).returncode == 0


def with_a_base(host: Host, name: str) -> Path:
    """Return the directory of a master that has saved once: from ``MFSM NEW`` by a restore, without a network."""
    data = host.configure(name)
    (data / "metadata.mfs").write_bytes(b"MFSM NEW")
    (data / "changelog.0.mfs").write_text(f"1: 1795405400|SETMETAID({METAID})\n")
    assert host.master(name, "restore").returncode == 0
    return data


def test_a_new_file_system_is_proved_only_once_it_has_an_identity(host: Host) -> None:
    data = host.configure("new")
    (data / "metadata.mfs").write_bytes(b"MFSM NEW")
    assert host.master("new", "restore").returncode == 0
    refusal = prove(data, expected_metaid=None)
    assert isinstance(refusal, ChainRefusal)
    assert refusal.code is RefusalCode.BASE_DAMAGED
    chain = chain_of(with_a_base(host, "identified"))
    assert (chain.version, chain.metaid) == (2, METAID)


def test_what_is_proved_from_a_metaloggers_files_is_what_a_new_master_serves(host: Host) -> None:
    first, logger, second = with_a_base(host, "first"), host.configure("logger"), host.configure("second")
    assert host.master("first", "start").returncode == 0
    host.metalogger("logger")
    eventually((logger / "metadata_ml.mfs.back").exists)
    index = ChainIndex(logger)
    make_directories(host)
    live = host.live()
    assert live.version > DIRECTORIES
    assert list_servers(host.address, CLIENT_PORT, 5.0) == ConnectedServers(0, 1, 0)

    def keeps_up() -> bool:
        found = index.prove(expected_metaid=live.metaid)
        return isinstance(found, Chain) and found.version == host.live().version

    eventually(keeps_up)
    chain = chain_of(logger)
    assert (chain.version, chain.metaid) == (host.live().version, live.metaid)
    eventually(lambda: version_of(first) == chain.version)

    (master,) = (int((first / ".mfsmaster.lock").read_text()),)
    os.kill(master, signal.SIGSTOP)
    assert host.fault(0.5) is ProbeFaultCode.NO_ANSWER
    os.kill(master, signal.SIGCONT)
    assert host.live() == live
    host.kill()
    assert host.fault(0.5) is ProbeFaultCode.REFUSED

    write_layout(chain_of(logger), second)
    assert sorted(path.name for path in second.iterdir()) == ["changelog.0.mfs", "metadata.mfs.back"]
    assert host.master("second", "start").returncode == 0
    assert (host.live().version, host.live().metaid) == (chain.version, chain.metaid)


@pytest.fixture
def replayable(host: Host) -> Path:
    """A base and 3000 changes that were never served, but can be: the cheapest change there is."""
    data = with_a_base(host, "replayable")
    base = chain_of(data)
    lines = [f"{base.version + n}: {1_795_405_401 + n}|ACCESS(1)\n" for n in range(3000)]
    (data / "changelog_ml.0.mfs").write_text("".join(lines))
    return data


def test_a_torn_log_is_served_to_its_last_whole_line(host: Host, replayable: Path) -> None:
    log = replayable / "changelog_ml.0.mfs"
    base = chain_of(replayable).base_header.version
    os.truncate(log, log.stat().st_size - 1)
    chain = chain_of(replayable)
    assert chain.version == base + 2999
    target = host.configure("target")
    write_layout(chain, target)
    assert host.master("target", "restore").returncode == 0
    restored = walk(target / "metadata.mfs")
    assert isinstance(restored, MetadataWalk)
    assert (restored.header.version, restored.header.metaid) == (chain.version, chain.metaid)
    # The same torn file under mfsmaster's own rules: success, and not one of the changes.
    assert host.master("replayable", "restore").returncode == 0
    assert chain_of(replayable).base_header.version == base


def test_a_base_alone_is_a_layout_that_serves(host: Host) -> None:
    data, target = with_a_base(host, "data"), host.configure("target")
    chain = chain_of(data)
    write_layout(chain, target)
    assert [path.name for path in target.iterdir()] == ["metadata.mfs.back"]
    assert host.master("target", "start").returncode == 0
    assert (host.live().version, host.live().metaid) == (chain.version, chain.metaid)


def test_the_base_that_is_refused_does_kill_mfsmaster_and_an_older_one_does_not(host: Host, replayable: Path) -> None:
    log = replayable / "changelog_ml.0.mfs"
    whole = log.read_text().splitlines(keepends=True)
    base = chain_of(replayable).base
    older = replayable / "metadata.mfs.back.1"
    shutil.copy(base, older)
    log.write_text("".join(line for line in whole if int(line.split(":")[0]) < 2497))
    assert host.master("replayable", "restore").returncode == 0
    log.write_text("".join(whole))

    chain = chain_of(replayable)
    assert chain.base == older
    target = host.configure("target")
    write_layout(chain, target)
    assert host.master("target", "restore").returncode == 0
    assert version_of(target) == chain.version

    older.unlink()
    refusal = prove(replayable, expected_metaid=None)
    assert isinstance(refusal, ChainRefusal)
    assert refusal.code is RefusalCode.LOADER_TRAP
    assert host.master("replayable", "restore").returncode == -signal.SIGFPE


def test_the_configuration_is_read_as_the_daemons_read_it(host: Host) -> None:
    data = host.configure("one")
    found = read_mfs_config(host.master_config("one"))
    assert isinstance(found, MfsConfig)
    assert (found.data_path, found.working_user, found.matocl_listen_port) == (data, "root", CLIENT_PORT)
