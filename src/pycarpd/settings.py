"""What the two processes of the daemon are told: plain frozen values with a lossless JSON form.

The supervisor validates the configuration with pydantic; the heartbeat must start without importing it, so the
settings travel as JSON text that only the standard library is needed to read. The text contains keys: hand it
over through a pipe, never on a command line, and never log it.
"""

import json
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from ipaddress import ip_address
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pycarpd.election.settings import ElectionSettings
from pycarpd.invariant import invariant

SETTINGS_VERSION = 1
"""Refused unless equal: both ends come from one installation, or the start is refused."""


@dataclass(frozen=True, slots=True)
class MoosefsSettings:
    """Where the host's MooseFS lives and how long its steps may take.

    ``expected_metaid`` refuses any other file system (None: the first one proved is believed).
    ``archive_keep_bytes`` None means the usual bound, 64 GiB (takeover.prune.KeepBounds). ``drill_interval_s`` 0:
    no drill that nobody has asked for. ``huge_pages``: the kernel is told at the start to give them to every program.
    """

    data_path: str
    master_config: str
    metalogger_config: str
    also_start: tuple[str, ...]
    start_timeout_s: int
    hang_timeout_s: int
    expected_metaid: int | None
    archive_keep_count: int
    archive_keep_bytes: int | None
    drill_interval_s: int = 3600
    huge_pages: bool = False


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """How etcd is reached, below which prefix it keeps who is master, and how long a lease lasts."""

    endpoints: tuple[str, ...]
    prefix: str
    lease_s: int
    ca_file: str
    cert_file: str
    cert_key_file: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """Everything heartbeat and worker need, validated: the node, its cluster, its secrets and its MooseFS.

    ``own_address`` is this node's member address; ``virtual_addresses`` are interface CIDRs. ``key_text`` is the
    key file as it stands, newest key first. ``ucarp_password`` is set exactly when the cluster is not strict.
    ``moosefs`` is None on a witness, ``etcd`` unless it is the arbiter.
    """

    node_name: str
    state_dir: str
    run_dir: str
    interface: str
    own_address: str
    vhid: int
    virtual_addresses: tuple[str, ...]
    profile: str
    realtime: bool
    unicast: bool
    election: ElectionSettings
    moosefs: MoosefsSettings | None
    etcd: EtcdSettings | None
    http_host: str | None
    http_port: int | None
    key_text: str = field(repr=False)
    ucarp_password: bytes | None = field(repr=False)
    fence_command: tuple[str, ...] = ()
    fence_timeout_s: int = 30
    watchdog: str = "off"
    watchdog_device: str = "/dev/watchdog"

    @property
    def control_socket(self) -> str:
        """Return the path of the control API's Unix socket."""
        return f"{self.run_dir}/control.sock"

    def to_json(self) -> str:
        """Return the settings as one line of JSON; ``from_json`` gives back an equal value."""
        return json.dumps({"version": SETTINGS_VERSION, "settings": _plain(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "DaemonSettings":
        """Return the settings that ``to_json`` wrote.

        Raises InvariantError for any other text: only our own supervisor writes it.
        """
        document = json.loads(text)
        invariant(document.get("version") == SETTINGS_VERSION, "settings were written by another version")
        built = _built(cls, document["settings"])
        invariant(isinstance(built, cls), "settings did not hold DaemonSettings")
        return built  # type: ignore[no-any-return]  # proved by the invariant above


@dataclass(frozen=True, slots=True)
class UcarpSettings:
    """ucarp's own options, validated: addresses are IPv4, the password has 1 to 19 bytes.

    ``parameters`` is what the scripts get behind interface and address: nothing, or ``--xparam``'s value.
    """

    interface: str
    source: str
    address: str
    group: str
    vhid: int
    password: bytes = field(repr=False)
    advbase: int
    advskew: int
    dead_ratio: int
    preempt: bool
    neutral: bool
    shutdown: bool
    ignore_link: bool
    broadcast: bool
    upscript: str | None
    downscript: str | None
    parameters: tuple[str, ...]

    @property
    def source_packed(self) -> bytes:
        """Return the own address as four bytes."""
        return ip_address(self.source).packed

    @property
    def address_packed(self) -> bytes:
        """Return the virtual address as four bytes."""
        return ip_address(self.address).packed


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value) if each.init}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _built(hint: Any, value: Any) -> Any:
    """Return *value* as the type *hint* names; the hints are those of the dataclasses above."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        return None if value is None else _built(inner, value)
    if origin is tuple:
        return tuple(_built(get_args(hint)[0], each) for each in value)
    if is_dataclass(hint):
        return _built_dataclass(hint, value)
    if issubclass(hint, Enum):
        return hint(value)
    if hint is bytes:
        return bytes.fromhex(value)
    invariant(type(value) is hint, f"settings hold {type(value).__name__} where {hint.__name__} belongs")
    return value


def _built_dataclass(hint: Any, value: dict[str, Any]) -> Any:
    hints = get_type_hints(hint)
    names = {each.name for each in fields(hint) if each.init}
    invariant(set(value) == names, f"settings for {hint.__name__} name other fields than it has")
    return hint(**{name: _built(hints[name], value[name]) for name in names})
