"""Records the history that the corpus is cut from: ``python tests/corpus/record.py``, as root, with MooseFS installed.

A new file system is served in a network of its own and changed through a real mount, with data on a real chunkserver;
its changelog from the first change on is the history. Bases of chosen versions are made from its beginnings by
``mfsmaster restore``. What is written to tests/corpus/recorded/ is checked in, so that the tests need no record.
"""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pycarpd.moosefs.probe import LiveMaster, list_servers, probe
from tests.corpus.history import BASES, RECORDED
from tests.corpus.mfs import restore, write_config
from tests.own_network import own_network

_ENOUGH = 4300
_PORT = 9421
_CHANGES = r"""
import os, random, sys
root, seed = sys.argv[1], int(sys.argv[2])
pick = random.Random(seed)
odd = ["a: b|c", "x(1),y%2", "grüße", "new\nline", "7: 12|CREATE(1", " ", "é\x01"]
here = os.path.join(root, f"part{seed}")
os.mkdir(here)
files = []
for n in range(60):
    name = os.path.join(here, odd[n % 7] + str(n) if n % 9 == 0 else f"file{n}")
    with open(name, "wb") as file:
        if n % 12 == 0:
            file.write(os.urandom(300))
            file.flush()
            os.fsync(file.fileno())
    files.append(name)
for n in range(300):
    one = pick.choice(files)
    match n % 8:
        case 0: os.chmod(one, 0o600 + pick.randrange(64))
        case 1: os.utime(one, (n, n))
        case 2:
            os.rename(one, one + ".r")
            files[files.index(one)] = one + ".r"
        case 3: os.setxattr(one, "user.k", b"v%d" % n)
        case 4: os.truncate(one, n * 10)
        case 5:
            os.symlink("to", one + f".s{n}")
            os.unlink(one + f".s{n}")
        case 6:
            os.link(one, one + f".l{n}")
            os.unlink(one + f".l{n}")
        case 7: os.chown(one, n, n)
for one in files[::3]:
    os.unlink(one)
"""


def main() -> int:
    """Record anew; returns the exit status."""
    scratch = Path(tempfile.mkdtemp(prefix="pycarpd-record-"))
    try:
        with own_network() as address:
            try:
                history = _record(scratch, address)
            finally:
                _end(scratch)
        _keep(scratch, history)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


def _record(scratch: Path, address: str) -> list[bytes]:
    data, config = scratch / "data", scratch / "config" / "mfsmaster.cfg"
    data.mkdir()
    config.parent.mkdir()
    write_config(data, config, _PORT)
    (data / "metadata.mfs").write_bytes(b"MFSM NEW")
    _run("mfsmaster", "-c", str(config), "start", output=scratch)
    _start_chunkserver(scratch, address)
    mount = scratch / "mnt"
    mount.mkdir()
    _run("mfsmount", str(mount), "-H", address, "-o", "nosuid", output=scratch)
    seed = 0
    while _version(address) < _ENOUGH:
        _run(sys.executable, "-c", _CHANGES, str(mount), str(seed), output=scratch)
        _run("mfsmakesnapshot", f"{mount}/part{seed}", f"{mount}/copy{seed}", output=scratch)
        seed += 1
    _run("umount", str(mount), output=scratch)
    time.sleep(2)
    return (data / "changelog.0.mfs").read_bytes().splitlines(keepends=True)


def _start_chunkserver(scratch: Path, address: str) -> None:
    data, disk = scratch / "chunkserver", scratch / "disk"
    data.mkdir()
    disk.mkdir()
    (scratch / "mfshdd.cfg").write_text(f"{disk}\n")
    config = scratch / "mfschunkserver.cfg"
    config.write_text(
        f"WORKING_USER = root\nWORKING_GROUP = root\nDATA_PATH = {data}\nHDD_CONF_FILENAME = {scratch}/mfshdd.cfg\n"
        f"MASTER_HOST = {address}\nMASTER_RECONNECTION_DELAY = 1\nHDD_LEAVE_SPACE_DEFAULT = 100MiB\n"
    )
    _run("mfschunkserver", "-c", str(config), "start", output=scratch)
    deadline = time.monotonic() + 30
    while getattr(list_servers(address, _PORT, 5.0), "chunkservers", 0) == 0:
        if time.monotonic() > deadline:
            raise TimeoutError("the chunkserver has not come")
        time.sleep(0.1)
    # A master gives no new chunks in its first ten seconds.
    time.sleep(12)


def _version(address: str) -> int:
    live = probe(address, _PORT, 5.0)
    if not isinstance(live, LiveMaster):
        raise TypeError(live)
    return live.version


def _run(*arguments: str, output: Path) -> None:
    with (output / "output").open("ab") as file:
        subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=120, check=True)


def _end(scratch: Path) -> None:
    """End everything that runs in this network but ourselves."""
    subprocess.run(("umount", "-l", str(scratch / "mnt")), check=False, timeout=20, stderr=subprocess.DEVNULL)
    mine = Path("/proc/thread-self/ns/net").readlink()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "ns/net").readlink() == mine:
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    time.sleep(0.5)


def _keep(scratch: Path, history: list[bytes]) -> None:
    """Write the history, and a base of each chosen version, as mfsmaster makes it from the changes before that."""
    RECORDED.mkdir(exist_ok=True)
    _write("history.log.gz", b"".join(history))
    first, begin = 1, b"MFSM NEW"
    for version in (*BASES, len(history) + 1):
        data = scratch / f"base-{version}"
        data.mkdir()
        (data / "metadata.mfs").write_bytes(begin)
        (data / "changelog.0.mfs").write_bytes(b"".join(history[first - 1 : version - 1]))
        if not restore(data):
            raise RuntimeError(f"mfsmaster does not restore version {version}")
        content = (data / "metadata.mfs").read_bytes()
        _write(f"metadata.{version}.gz", content)
        if first == 1:
            # All later ones are made of the first: a new file system's root is as old as its restore.
            first, begin = version, content


def _write(name: str, content: bytes) -> None:
    (RECORDED / name).write_bytes(gzip.compress(content, 9, mtime=0))
    sys.stdout.write(f"{name}: {len(content)} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
