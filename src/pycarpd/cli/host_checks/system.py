"""Privileges, scheduling, memory, nftables and directories: tried for real where trying changes nothing."""

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import psutil

from pycarpd.cli.host_checks.tools import run_tool
from pycarpd.config import Config
from pycarpd.control.reports import Report, Severity, report
from pycarpd.linux.hugepages import ALWAYS, POLICY_FILE, huge_page_policy

PROTOCOL_CARP = 112
CAP_NET_ADMIN = 12
VOLATILE = ("tmpfs", "ramfs")

# Tried in a process of its own, so that this one keeps its scheduling and its pages.
_TRY_REALTIME = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"
_TRY_MEMORY_LOCK = (
    "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True); "
    "sys.exit(os.strerror(ctypes.get_errno()) if libc.mlockall(3) else 0)"
)


def raw_socket(config: Config) -> Iterator[Report]:
    """Check that a raw socket of IP protocol 112 can be opened."""
    own = ip_address(config.cluster.members[config.node.name])
    family = socket.AF_INET if own.version == 4 else socket.AF_INET6  # noqa: PLR2004  IP version 4
    try:
        socket.socket(family, socket.SOCK_RAW, PROTOCOL_CARP).close()
    except OSError as error:
        yield report("host-no-raw-socket", f"a raw socket for IP protocol 112 was refused: {error.strerror or error}")


def net_admin(_config: Config) -> Iterator[Report]:
    """Check that the process may change addresses and nftables."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    effective = int(found[1], 16) if found else 0
    if not effective >> CAP_NET_ADMIN & 1:
        yield report("host-no-net-admin", "CAP_NET_ADMIN is not among the effective capabilities")


def realtime(_config: Config) -> Iterator[Report]:
    """Check that SCHED_FIFO is granted."""
    outcome = run_tool(sys.executable, "-I", "-c", _TRY_REALTIME)
    if outcome.status != 0:
        yield report("host-no-realtime", f"SCHED_FIFO was refused: {_last_line(outcome.output)}")


def memory_lock(_config: Config) -> Iterator[Report]:
    """Check that all memory can be locked."""
    outcome = run_tool(sys.executable, "-I", "-c", _TRY_MEMORY_LOCK)
    if outcome.status != 0:
        yield report("host-no-memlock", f"mlockall was refused: {_last_line(outcome.output)}")


def huge_pages(config: Config) -> Iterator[Report]:
    """Check that mfsmaster gets huge pages, or will as soon as the daemon runs."""
    policy = huge_page_policy()
    if config.moosefs is None or policy in (None, ALWAYS):
        return
    is_wished = config.moosefs.huge_pages
    if is_wished and os.access(POLICY_FILE, os.W_OK):
        return
    if is_wished:
        message, severity = "huge_pages = true has no effect: the policy cannot be changed from here", Severity.WARNING
    else:
        message, severity = "huge pages go only to programs that ask, and mfsmaster does not", Severity.INFO
    yield report("host-small-pages", message, key=str(POLICY_FILE), value=policy, severity=severity)


def nftables(_config: Config) -> Iterator[Report]:
    """Check that nft is installed and the kernel answers it."""
    if shutil.which("nft") is None:
        yield report("host-no-nft", "nft is not on PATH")
        return
    outcome = run_tool("nft", "list", "tables")
    if outcome.status != 0:
        yield report("host-no-nft", _last_line(outcome.output))


def directories(config: Config) -> Iterator[Report]:
    """Check that state_dir and run_dir can be written, and state_dir survives a reboot."""
    for key, text in (("node.state_dir", config.node.state_dir), ("node.run_dir", config.node.run_dir)):
        path = Path(text)
        if not path.exists():
            message = f"{path} does not exist yet; the daemon creates it"
            hint = "nothing; `pycarpd run` creates it, root's"
            yield report("host-directory", message, key=key, value=path, hint=hint, severity=Severity.INFO)
        elif not path.is_dir():
            yield report("host-directory", f"{path} is no directory", key=key, value=path)
        elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            yield report("host-directory", f"{path} cannot be written", key=key, value=path)
    kind = filesystem_of(Path(config.node.state_dir))
    if kind in VOLATILE:
        message = f"{config.node.state_dir} lies on a {kind}"
        yield report("host-state-volatile", message, key="node.state_dir", value=kind)


def filesystem_of(path: Path) -> str | None:
    """Return the type of the file system that holds *path*, or would hold it once created."""
    absolute = Path(os.path.realpath(path))
    mounts = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    return next((mounts[each] for each in (absolute, *absolute.parents) if each in mounts), None)


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else "no reason was given"
