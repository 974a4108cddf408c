"""This host's MooseFS as the daemon works with it: from its settings and from MooseFS's own configuration files."""

from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from pathlib import Path

from pycarpd.moosefs.config import MfsConfig, read_mfs_config
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.moosefs.emergency import emergency_directories
from pycarpd.moosefs.exports import ExportsFile
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.moosefs.release import Installed
from pycarpd.settings import DaemonSettings, MoosefsSettings
from pycarpd.takeover.context import NS_PER_S, TakeoverSettings
from pycarpd.takeover.datafiles import Kept
from pycarpd.takeover.plans import owner_of, settings_of
from pycarpd.takeover.prune import KeepBounds
from pycarpd.takeover.step import StepFault

LOOPBACK = "127.0.0.1"
USUAL_EXPORTS = Path("/etc/mfs/mfsexports.cfg")
ANY_HOST = ("*", "")


@dataclass(frozen=True, slots=True)
class Host:
    """The services and files of this host; ``follower`` is shared by who watches the files and who takes over."""

    takeover: TakeoverSettings
    mfsmaster: Mfsmaster
    metalogger: Mfsmetalogger
    exports: ExportsFile = field(default_factory=lambda: ExportsFile(USUAL_EXPORTS))
    follower: ChainFollower = field(init=False)

    def __post_init__(self) -> None:
        data_path = self.takeover.data_path
        elsewhere = emergency_directories(data_path, self.takeover.uid)
        follower = ChainFollower(data_path, Kept(data_path).prepared, elsewhere, Installed())
        object.__setattr__(self, "follower", follower)


class HostError(Exception):
    """MooseFS's own configuration cannot be used; the message names file, line and rule."""


def build_host(settings: DaemonSettings, moosefs: MoosefsSettings) -> Host:
    """Return this host's MooseFS; raises HostError."""
    config = read_mfs_config(Path(moosefs.master_config))
    if not isinstance(config, MfsConfig):
        raise HostError("; ".join(f"{f.path}:{f.line}: {f.detail}" for f in config))
    owner = owner_of(config)
    if isinstance(owner, StepFault):
        raise HostError(f"WORKING_USER or WORKING_GROUP: {owner.detail}")
    vips = tuple(str(ip_interface(c).ip) for c in settings.virtual_addresses)
    implied = settings_of(config, Path(moosefs.metalogger_config), vips, owner)
    listens_on = config.matocl_listen_host
    takeover = replace(
        implied,
        data_path=Path(moosefs.data_path),
        also_start=moosefs.also_start,
        start_timeout_ns=moosefs.start_timeout_s * NS_PER_S,
        keep=_keep_bounds(moosefs),
        fence_timeout_ns=settings.fence_timeout_s * NS_PER_S if settings.fence_command else 0,
        takes_address_early=settings.election.majority > 1,
        probe_host=LOOPBACK if listens_on in ANY_HOST else listens_on,
    )
    return Host(
        takeover,
        Mfsmaster(takeover.master_config, takeover.data_path),
        Mfsmetalogger(takeover.metalogger_config, takeover.data_path),
        ExportsFile(config.exports_path),
    )


def _keep_bounds(moosefs: MoosefsSettings) -> KeepBounds:
    bounds = KeepBounds(count=moosefs.archive_keep_count)
    if moosefs.archive_keep_bytes is None:
        return bounds
    return replace(bounds, bytes_max=moosefs.archive_keep_bytes)
