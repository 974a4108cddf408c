"""The host's MooseFS: programs, data directory, both configurations, and what would start it behind our back."""

import os
import pwd
import shutil
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path

from pycarpd.cli.host_checks.tools import run_tool
from pycarpd.config import Config
from pycarpd.control.reports import Report, report
from pycarpd.moosefs.config import MfsConfig, MfsConfigFault, read_mfs_config

PROGRAMS = ("mfsmaster", "mfsmetalogger")
SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
MASTER_UNIT = "moosefs-master"
ANY_ADDRESS = ("*", "any", "0.0.0.0")  # noqa: S104  these are compared with, not listened on
EMERGENCY_NAME = "metadata.mfs.emergency"
EMERGENCY_DIRECTORIES = (
    "/",
    "/tmp",  # noqa: S108  where mfsmaster itself puts the file when a save fails
    "/var",
    "/usr",
    "/usr/share",
    "/usr/local",
    "/usr/local/var",
    "/usr/local/share",
)


def programs(config: Config) -> Iterator[Report]:
    """Check that both programs are installed."""
    for name in PROGRAMS if config.moosefs else ():
        if not _is_installed(name):
            yield report("host-mfs-binary-missing", f"{name} is not on PATH", key=name)


def companions(config: Config) -> Iterator[Report]:
    """Check that what is to be started with the master is installed."""
    for name in config.moosefs.also_start if config.moosefs else ():
        if not _is_installed(name):
            yield report("host-companion-missing", f"{name} is not on PATH", key="moosefs.also_start", value=name)


def data_directory(config: Config) -> Iterator[Report]:
    """Check that the data directory exists and belongs to the user that mfsmaster becomes."""
    if config.moosefs is None:
        return
    path = Path(config.moosefs.data_path)
    if not path.is_dir():
        yield report("host-mfs-data-path", f"{path} is no directory", key="moosefs.data_path", value=path)
        return
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield report("host-mfs-data-path", f"{path} cannot be written", key="moosefs.data_path", value=path)
    # A file that cannot be read is reported by the check of that file.
    found = read_mfs_config(Path(config.moosefs.master_config))
    if isinstance(found, MfsConfig):
        yield from _owner(path, found.working_user)


def _owner(path: Path, user: str) -> Iterator[Report]:
    owner = path.stat().st_uid
    try:
        expected = pwd.getpwnam(user).pw_uid
    except KeyError:
        message = f"WORKING_USER {user} does not exist on this host"
        yield report("host-mfs-data-owner", message, key=str(path), value=user)
        return
    if expected not in (owner, 0):
        message = f"{path} belongs to user id {owner}, not to {user}"
        yield report("host-mfs-data-owner", message, key=str(path), value=owner)


def master_configuration(config: Config) -> Iterator[Report]:
    """Check that mfsmaster.cfg can be read, works in data_path, listens everywhere, saves hourly and has exports."""
    if config.moosefs is None:
        return
    found = read_mfs_config(Path(config.moosefs.master_config))
    if not isinstance(found, MfsConfig):
        yield from map(_unusable, found)
        return
    yield from _same_data_path(config.moosefs.data_path, found)
    for host in sorted({found.matoml_listen_host, found.matocs_listen_host, found.matocl_listen_host}):
        if host not in ANY_ADDRESS:
            yield report("host-mfs-listen-host", f"listens on {host}", key=str(found.path), value=host)
    frequency = dict(found.defined).get("METADATA_SAVE_FREQ", "1")
    if frequency != "1":
        message = f"METADATA_SAVE_FREQ = {frequency}"
        yield report("host-save-frequency", message, key=str(found.path), value=frequency)
    if not os.access(found.exports_path, os.R_OK):
        message = f"{found.exports_path} cannot be read"
        yield report("host-exports-missing", message, key=str(found.path), value=found.exports_path)


def metalogger_configuration(config: Config) -> Iterator[Report]:
    """Check that mfsmetalogger.cfg can be read, works in data_path, follows the VIP and downloads hourly."""
    if config.moosefs is None:
        return
    found = read_mfs_config(Path(config.moosefs.metalogger_config))
    if not isinstance(found, MfsConfig):
        yield from map(_unusable, found)
        return
    yield from _same_data_path(config.moosefs.data_path, found)
    if found.download_hours != 1:
        message = f"META_DOWNLOAD_FREQ = {found.download_hours}"
        yield report("host-download-frequency", message, key=str(found.path), value=found.download_hours)
    yield from _leads_to_vip(config, found.master_host, found.path)


def _unusable(fault: MfsConfigFault) -> Report:
    place = f"line {fault.line}: " if fault.line else ""
    return report("host-mfs-config", f"{place}{fault.detail}", key=str(fault.path))


def _same_data_path(data_path: str, found: MfsConfig) -> Iterator[Report]:
    if os.path.realpath(found.data_path) != os.path.realpath(data_path):
        message = f"DATA_PATH = {found.data_path}"
        yield report("host-mfs-data-path-differs", message, key=str(found.path), value=found.data_path)


def _leads_to_vip(config: Config, host: str, path: Path) -> Iterator[Report]:
    vips = {str(ip_interface(each).ip) for each in config.cluster.virtual_addresses}
    found = resolve(host)
    if not found:
        yield report("host-master-host", f"{host!r} does not resolve", key=str(path), value=host)
    elif not found <= vips:
        message = f"{host!r} resolves to {', '.join(sorted(found))}"
        yield report("host-master-host", message, key=str(path), value=host, rule="it resolves to a VIP alone")


def resolve(host: str) -> set[str]:
    """Return the addresses of a host name as this host's resolver gives them; empty when there are none in time."""
    outcome = run_tool("getent", "ahosts", host)
    words = [line.split()[0] for line in outcome.output.splitlines() if line] if outcome.status == 0 else []
    return {str(ip_address(word.partition("%")[0])) for word in words}


def autostart(config: Config) -> Iterator[Report]:
    """Check that systemd does not start mfsmaster at boot."""
    if config.moosefs is None or shutil.which("systemctl") is None:
        return
    outcome = run_tool("systemctl", "is-enabled", MASTER_UNIT)
    if outcome.output.startswith("enabled"):
        yield report("host-mfs-autostart", f"{MASTER_UNIT} is enabled", key=MASTER_UNIT)


def emergency_files(config: Config) -> Iterator[Report]:
    """Check that no metadata lies where mfsmaster puts it in an emergency."""
    if config.moosefs is None:
        return
    places = {config.moosefs.data_path: None, str(Path.home()): None} | dict.fromkeys(EMERGENCY_DIRECTORIES)
    for place in places:
        for found in sorted(Path(place).glob(EMERGENCY_NAME + "*")):
            yield report("host-emergency-metadata", f"{found} exists", key=str(found))


def _is_installed(name: str) -> bool:
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + SBIN) is not None
