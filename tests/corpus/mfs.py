"""A real mfsmaster run on a directory of one's own, as people run it and as the proof is checked by it."""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from pycarpd.linux.process import lock_holder
from pycarpd.moosefs.probe import LiveMaster, probe

ADDRESS = "127.0.0.1"
_TIMEOUT_S = 60.0
_START_TIMEOUT_S = 20.0
_SECTIONS = ("NODE", "EDGE", "FREE", "QUOT", "XATR", "PACL", "CHNK")
_VERSION = re.compile(r"\[version")


@dataclass(frozen=True, slots=True)
class Ran:
    """What ``mfsmaster -a start`` made of a directory: None where it hangs, and where nothing serves."""

    exit_status: int | None
    live_version: int | None
    live_metaid: int | None


def write_config(data: Path, config: Path, port: int = 9421) -> None:
    """Write a master's configuration for *data*; its three ports are *port* - 2 to *port*."""
    exports, topology = config.with_name("mfsexports.cfg"), config.with_name("mfstopology.cfg")
    exports.write_text("* / rw,alldirs,maproot=0\n* . rw\n")
    topology.write_text("")
    names = ("MATOML", "MATOCS", "MATOCL")
    ports = "".join(f"{name}_LISTEN_PORT = {port - 2 + index}\n" for index, name in enumerate(names))
    config.write_text(
        f"WORKING_USER = root\nWORKING_GROUP = root\nDATA_PATH = {data}\n{ports}"
        f"EXPORTS_FILENAME = {exports}\nTOPOLOGY_FILENAME = {topology}\n"
    )


def restore(data: Path) -> bool:
    """Let ``mfsmaster restore`` apply all of *data*'s changelogs to its newest base; says whether it claims success."""
    config = data.with_name(f"{data.name}-config") / "mfsmaster.cfg"
    config.parent.mkdir(exist_ok=True)
    write_config(data, config)
    return _run(config, (), "-a", "restore") == 0 and (data / "metadata.mfs").exists()


def start(data: Path, port: int, elsewhere: Path) -> Ran:
    """Run ``mfsmaster -a start`` on *data*, ask what it serves, and kill it.

    It sees *elsewhere* in the place of one of the directories that it looks for emergency saves in.
    """
    config = data.with_name(f"{data.name}-config") / "mfsmaster.cfg"
    config.parent.mkdir(exist_ok=True)
    write_config(data, config, port)
    try:
        replaced = f'mount --bind {elsewhere} /usr/local/share && exec "$0" "$@"'
        launcher = ("unshare", "--mount", "sh", "-c", replaced)
        exit_status = _run(config, launcher, "-a", "start", timeout_s=_START_TIMEOUT_S)
        live = probe(ADDRESS, port, 5.0)
        if isinstance(live, LiveMaster):
            return Ran(exit_status, live.version, live.metaid)
        return Ran(exit_status, None, None)
    except subprocess.TimeoutExpired:
        return Ran(None, None, None)
    finally:
        _kill(data)


def tree_of(metadata: Path) -> list[str]:
    """Return the file tree, chunks and attributes in a metadata file as MooseFS's own dumper lists them, in order.

    Restoring twice gives the same things in another order, and sections that only the running master needs differ.
    """
    lines: list[str] = []
    for section in _SECTIONS:
        done = subprocess.run(
            ("mfsmetadump", "-s", section, str(metadata)), capture_output=True, timeout=_TIMEOUT_S, check=True
        )
        lines += done.stdout.decode(errors="backslashreplace").splitlines()
    return sorted(line for line in lines if not line.startswith("#") and not _VERSION.search(line))


def _run(config: Path, launcher: tuple[str, ...], *arguments: str, timeout_s: float = _TIMEOUT_S) -> int:
    with (config.parent / "output").open("ab") as output:
        return subprocess.run(
            (*launcher, "mfsmaster", "-c", str(config), *arguments),
            stdin=subprocess.DEVNULL,
            # A daemon keeps its parent's output open: to a file, or the wait would be for it.
            stdout=output,
            stderr=output,
            timeout=timeout_s,
            check=False,
        ).returncode


def _kill(data: Path) -> None:
    """End what the start has left on *data*: mfsmaster and its background writer."""
    for name in (".mfsmaster.lock", ".bgwriter.lock"):
        pid = lock_holder(data / name)
        if pid is not None and pid > 1:
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _TIMEOUT_S
    while any((lock_holder(data / name) or 0) > 1 for name in (".mfsmaster.lock", ".bgwriter.lock")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"mfsmaster of {data} outlives SIGKILL")
        time.sleep(0.01)
