"""The shape of the configuration file: sections, keys, types, ranges, defaults.

Only what can be said of one key alone is said here; what relates keys to each other is in ``rules``. Unknown keys
are refused everywhere, and TOML's own types are taken as they are: ``vhid = "10"`` is a fault, not a number.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MEMBERS_MAX = 16
"""An advert acknowledges at most 15 peers."""
VIRTUAL_ADDRESSES_MAX = 16
DAY_S = 86_400

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Words = Annotated[tuple[Text, ...], Field(strict=False)]


class Section(BaseModel):
    """A table of the file: frozen, exact types, no key beyond those it names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NodeSection(Section):
    """``[node]``: who this host is and where it keeps what must survive."""

    name: Text
    state_dir: Text = "/var/lib/pycarpd"
    run_dir: Text = "/run/pycarpd"
    watchdog: Literal["off", "automatic", "required"] = "off"
    watchdog_device: Text = "/dev/watchdog"


class ClusterSection(Section):
    """``[cluster]``: the same on every member but for ``interface`` and ``priority``."""

    vhid: int = Field(ge=1, le=255)
    interface: str = Field(min_length=1, max_length=15)
    virtual_addresses: Words = Field(min_length=1, max_length=VIRTUAL_ADDRESSES_MAX)
    key_file: Text
    members: dict[str, str] = Field(min_length=1, max_length=MEMBERS_MAX)
    witnesses: Words = ()
    arbiter: Literal["majority", "etcd", "none"] = "majority"
    profile: Literal["default", "fast", "ucarp"] = "default"
    advert_interval_ms: int | None = Field(default=None, ge=5, le=60_000)
    missed_adverts: int | None = Field(default=None, ge=2, le=20)
    priority: int | None = Field(default=None, ge=1, le=254)
    preempt: bool = False
    speculate: bool = False
    strict: bool = True
    ucarp_pass_file: Text | None = None
    tie_break: Literal["numeric", "ucarp-le"] | None = None
    unicast: bool = False
    fence_command: Words = ()
    fence_timeout_s: int = Field(default=30, ge=1, le=600)


class MoosefsSection(Section):
    """``[moosefs]``: present on every candidate, absent on a witness."""

    data_path: Text = "/var/lib/mfs"
    master_config: Text = "/etc/mfs/mfsmaster.cfg"
    metalogger_config: Text = "/etc/mfs/mfsmetalogger.cfg"
    also_start: Words = ()
    start_timeout_s: int = Field(default=1800, ge=10, le=DAY_S)
    hang_timeout_s: int = Field(default=10, ge=1, le=3600)
    expected_metaid: str | None = None
    huge_pages: bool = False


class EtcdSection(Section):
    """``[etcd]``: present exactly with ``arbiter = "etcd"``; the same on every member but for the files."""

    endpoints: Words = Field(min_length=1, max_length=16)
    prefix: str = Field(default="/pycarpd", min_length=2, max_length=256)
    lease_s: int = Field(default=5, ge=2, le=60)
    ca_file: Text | None = None
    cert_file: Text | None = None
    cert_key_file: Text | None = None
    username: Text | None = None
    password_file: Text | None = None


class ArchiveSection(Section):
    """``[archive]``: how many sets of replaced files are kept; never fewer than the last seven days need."""

    keep_count: int = Field(default=20, ge=1, le=10_000)
    keep_bytes: int | None = Field(default=None, ge=1_000_000)


class DrillSection(Section):
    """``[drill]``: how often a standby rehearses a restore of its files; 0 means only when it is told to."""

    interval_s: int = Field(default=3600, ge=0, le=30 * DAY_S)


class HttpSection(Section):
    """``[http]``: the read-only listener for health checks and metrics; absent means none."""

    listen: Text


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration whose every rule holds; ``moosefs``, ``http`` and ``etcd`` are None without such a table."""

    node: NodeSection
    cluster: ClusterSection
    moosefs: MoosefsSection | None
    archive: ArchiveSection
    drill: DrillSection
    http: HttpSection | None
    etcd: EtcdSection | None


SECTIONS: dict[str, type[Section]] = {
    "node": NodeSection,
    "cluster": ClusterSection,
    "moosefs": MoosefsSection,
    "archive": ArchiveSection,
    "drill": DrillSection,
    "http": HttpSection,
    "etcd": EtcdSection,
}
REQUIRED_SECTIONS = ("node", "cluster")
DEFAULTED_SECTIONS = ("archive", "drill")
"""Where the table is absent its keys have their defaults all the same."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profile stands for where no key overrides it."""

    advert_interval_ms: int
    missed_adverts: int
    realtime: bool


PROFILES: dict[str, Profile] = {
    "default": Profile(250, 3, realtime=False),
    "fast": Profile(10, 3, realtime=True),
    "ucarp": Profile(1000, 3, realtime=False),
}
