"""Making the first metadata of a new, empty file system: the only way there is to one (S7).

``MFSM NEW`` is what a package brings, and no file system yet: it gets its identity when a mfsmaster serves it. So one
is started in a scratch directory, reachable on this host's loopback alone, and ended cleanly; what it saves is whole
metadata with a metaid, and an ordinary promotion makes a master of its host.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pycarpd.linux.files import fsync_directory
from pycarpd.linux.process import run
from pycarpd.moosefs.config import MfsConfig, read_mfs_config
from pycarpd.moosefs.control import Mfsmaster
from pycarpd.moosefs.faults import ServiceFault
from pycarpd.moosefs.metadata import MetadataFault, walk
from pycarpd.takeover.context import TakeoverSettings
from pycarpd.takeover.datafiles import Kept, make_scratch, names_in_the_way
from pycarpd.takeover.step import StepFault

NEW = b"MFSM NEW"
MADE = "metadata.mfs"
_CONFIG_TEXT = """\
WORKING_USER = {user}
WORKING_GROUP = {group}
DATA_PATH = {scratch}
EXPORTS_FILENAME = {scratch}/mfsexports.cfg
TOPOLOGY_FILENAME = {scratch}/mfstopology.cfg
SYSLOG_IDENT = pycarpd-bootstrap
MATOML_LISTEN_HOST = 127.0.0.1
MATOCS_LISTEN_HOST = 127.0.0.1
MATOCL_LISTEN_HOST = 127.0.0.1
MATOML_LISTEN_PORT = {ports[0]}
MATOCS_LISTEN_PORT = {ports[1]}
MATOCL_LISTEN_PORT = {ports[2]}
"""
_EXPORTS = "127.0.0.1 / ro\n"
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class NewFileSystem:
    """What was made."""

    metaid: int
    version: int


def make_file_system(settings: TakeoverSettings) -> NewFileSystem | StepFault:
    """Put the metadata of a new, empty file system into DATA_PATH, where there must be none; takes some five seconds.

    Faults: NOT_EMPTY, BOOTSTRAP_FAILED; nothing is in DATA_PATH then that was not there before.
    """
    scratch = Kept(settings.data_path).bootstrap
    try:
        there = metadata_files(settings.data_path)
        if there:
            return StepFault("NOT_EMPTY", f"{settings.data_path} holds {', '.join(there)}")
        return _make(settings, scratch)
    except OSError as error:
        return StepFault("BOOTSTRAP_FAILED", f"{error.filename or scratch}: {error.strerror or error}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def metadata_files(data_path: Path) -> tuple[str, ...]:
    """Return the files of DATA_PATH that are metadata of some file system; the package's MFSM NEW is none."""
    return tuple(name for name in names_in_the_way(data_path) if not _is_new(data_path / name))


def _is_new(path: Path) -> bool:
    return path.stat().st_size == len(NEW) and path.read_bytes() == NEW


def _make(settings: TakeoverSettings, scratch: Path) -> NewFileSystem | StepFault:
    master = read_mfs_config(settings.master_config)
    if not isinstance(master, MfsConfig):
        return StepFault("BOOTSTRAP_FAILED", f"{settings.master_config}: {master[0].detail}")
    make_scratch(scratch, settings.uid, settings.gid)
    config = _write_files(scratch, master, settings)
    fault = _serve_once(config, scratch)
    if fault is not None:
        return fault
    found = walk(scratch / MADE)
    if isinstance(found, MetadataFault):
        return StepFault("BOOTSTRAP_FAILED", f"what mfsmaster saved is not whole: {found.detail}")
    (scratch / MADE).rename(settings.data_path / MADE)  # in the place of a package's MFSM NEW, if there was one
    fsync_directory(settings.data_path)
    return NewFileSystem(found.header.metaid, found.header.version)


def _write_files(scratch: Path, master: MfsConfig, settings: TakeoverSettings) -> Path:
    (scratch / MADE).write_bytes(NEW)
    os.chown(scratch / MADE, settings.uid, settings.gid)
    (scratch / "mfsexports.cfg").write_text(_EXPORTS, encoding="ascii")
    (scratch / "mfstopology.cfg").write_text("", encoding="ascii")
    own = settings.ports
    ports = tuple(port + 1000 for port in (own.metaloggers, own.chunkservers, own.clients))
    config = scratch / "bootstrap.cfg"
    text = _CONFIG_TEXT.format(user=master.working_user, group=master.working_group, scratch=scratch, ports=ports)
    config.write_text(text, encoding="utf-8")
    return config


def _serve_once(config: Path, scratch: Path) -> StepFault | None:
    """Start mfsmaster on ``MFSM NEW`` and end it so that it saves; whatever happens, none is left running."""
    mfsmaster = Mfsmaster(config, scratch)
    try:
        started = run(["mfsmaster", "-c", str(config), "start"], _START_TIMEOUT_S)
        if mfsmaster.lock_holder() is None:
            said = (started.stdout + started.stderr).decode(errors="replace").strip()[-500:]
            return StepFault("BOOTSTRAP_FAILED", f"mfsmaster did not start: {started.fault or said}")
        stopped = run(["mfsmaster", "-c", str(config), "stop"], _STOP_TIMEOUT_S)
        if not stopped.is_success or mfsmaster.is_running():
            return StepFault("BOOTSTRAP_FAILED", "mfsmaster did not end in time")
    finally:
        left = mfsmaster.kill_tree(_STOP_TIMEOUT_S)
    return StepFault("BOOTSTRAP_FAILED", left.detail) if isinstance(left, ServiceFault) else None
