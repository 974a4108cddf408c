"""This host's MooseFS as the takeover needs it: made from the settings and from MooseFS's own configuration files."""

import grp
import pwd
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

from pycarpd.linux.gate import ClientGate
from pycarpd.moosefs.companion import Companion
from pycarpd.moosefs.config import MfsConfig, read_mfs_config
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.settings import DaemonSettings, MoosefsSettings
from pycarpd.takeover.context import NS_PER_S, Context, Ports, Request, TakeoverSettings
from pycarpd.takeover.prune import KeepBounds

LOOPBACK = "127.0.0.1"
ANY_HOST = "*"


@dataclass(frozen=True, slots=True)
class Host:
    """The services and files of this host."""

    takeover: TakeoverSettings
    mfsmaster: Mfsmaster
    metalogger: Mfsmetalogger
    companions: tuple[Companion, ...]

    def context(self, request: Request) -> Context:
        """Return what the steps of one plan work on."""
        ports = self.takeover.ports
        return Context(
            settings=self.takeover,
            request=request,
            mfsmaster=self.mfsmaster,
            metalogger=self.metalogger,
            gates=tuple(ClientGate(vip, ports.clients) for vip in self.takeover.virtual_addresses),
            companions=self.companions,
        )


class HostError(Exception):
    """MooseFS's own configuration cannot be used; the message names file, line and rule."""


def build_host(settings: DaemonSettings, moosefs: MoosefsSettings) -> Host:
    """Return this host's MooseFS; raises HostError."""
    config = read_mfs_config(Path(moosefs.master_config))
    if not isinstance(config, MfsConfig):
        raise HostError("; ".join(f"{f.path}:{f.line}: {f.detail}" for f in config))
    data_path = Path(moosefs.data_path)
    takeover = TakeoverSettings(
        data_path=data_path,
        master_config=Path(moosefs.master_config),
        metalogger_config=Path(moosefs.metalogger_config),
        uid=_uid(config),
        gid=_gid(config),
        virtual_addresses=tuple(str(ip_interface(c).ip) for c in settings.virtual_addresses),
        ports=Ports(config.matoml_listen_port, config.matocs_listen_port, config.matocl_listen_port),
        also_start=moosefs.also_start,
        start_timeout_ns=moosefs.start_timeout_s * NS_PER_S,
        keep=_keep_bounds(moosefs),
        probe_host=LOOPBACK if config.matocl_listen_host in (ANY_HOST, "") else config.matocl_listen_host,
    )
    return Host(
        takeover,
        Mfsmaster(takeover.master_config, data_path),
        Mfsmetalogger(takeover.metalogger_config, data_path),
        tuple(Companion(name) for name in moosefs.also_start),
    )


def _keep_bounds(moosefs: MoosefsSettings) -> KeepBounds:
    if moosefs.archive_keep_bytes is None:
        return KeepBounds(count=moosefs.archive_keep_count)
    return KeepBounds(moosefs.archive_keep_count, moosefs.archive_keep_bytes)


def _uid(config: MfsConfig) -> int:
    try:
        return pwd.getpwnam(config.working_user).pw_uid
    except KeyError:
        raise HostError(f"{config.path}: WORKING_USER {config.working_user} is no user of this host") from None


def _gid(config: MfsConfig) -> int:
    if not config.working_group:
        return pwd.getpwnam(config.working_user).pw_gid
    try:
        return grp.getgrnam(config.working_group).gr_gid
    except KeyError:
        raise HostError(f"{config.path}: WORKING_GROUP {config.working_group} is no group of this host") from None
