"""From a valid configuration to what the processes work with: settings, digest, derived times."""

import hashlib
import json
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from pycarpd.config.files import Secrets
from pycarpd.config.rules import parse_listen
from pycarpd.config.schema import PROFILES, Config
from pycarpd.election.model import Arbiter, Member, TieBreak
from pycarpd.election.settings import ElectionSettings
from pycarpd.election.timing import NS_PER_MS, master_down_interval_ns, skew_ns
from pycarpd.invariant import invariant
from pycarpd.settings import DaemonSettings, EtcdSettings, MoosefsSettings
from pycarpd.wire.identity import node_id_of

PRIORITY_FIRST = 254
PRIORITY_SPAN = 192
MS_PER_S = 1000


def advert_interval_ms(config: Config) -> int:
    """Return the advert interval: the key's value, else the profile's."""
    return config.cluster.advert_interval_ms or PROFILES[config.cluster.profile].advert_interval_ms


def missed_adverts(config: Config) -> int:
    """Return how many adverts may be missed: the key's value, else the profile's."""
    return config.cluster.missed_adverts or PROFILES[config.cluster.profile].missed_adverts


def priority_of(config: Config, name: str) -> int:
    """Return a member's priority as this host sees it.

    The own ``priority`` key counts for this node alone; by default the first of ``members`` has 254 and the
    others follow evenly, so that no two have the same.
    """
    if name == config.node.name and config.cluster.priority is not None:
        return config.cluster.priority
    names = list(config.cluster.members)
    return PRIORITY_FIRST - names.index(name) * PRIORITY_SPAN // len(names)


def config_digest(config: Config) -> int:
    """Return 64 bits over what all members must agree on: members in order, VIPs, VHID, arbiter."""
    cluster = config.cluster
    agreed = {
        "members": [[name, str(ip_address(address))] for name, address in cluster.members.items()],
        "witnesses": sorted(cluster.witnesses),
        "virtual_addresses": [str(ip_interface(each)) for each in cluster.virtual_addresses],
        "vhid": cluster.vhid,
        "arbiter": cluster.arbiter,
    }
    text = json.dumps(agreed, separators=(",", ":"), sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def members_of(config: Config) -> tuple[Member, ...]:
    """Return the members in the order of the configuration."""
    return tuple(
        Member(node_id_of(name), name, ip_address(address).packed, name in config.cluster.witnesses)
        for name, address in config.cluster.members.items()
    )


def tie_break_of(config: Config) -> TieBreak:
    """Return the tie-break: the key's value, else numeric in a strict cluster and ucarp's own beside ucarp."""
    if config.cluster.tie_break is not None:
        return TieBreak(config.cluster.tie_break)
    return TieBreak.NUMERIC if config.cluster.strict else TieBreak.UCARP_LITTLE_ENDIAN


def election_settings(config: Config) -> ElectionSettings:
    """Return what the Elector may know; advbase is the interval in whole seconds, rounded up."""
    interval_ms = advert_interval_ms(config)
    return ElectionSettings(
        node_id=node_id_of(config.node.name),
        members=members_of(config),
        interval_ns=interval_ms * NS_PER_MS,
        missed_adverts=missed_adverts(config),
        priority=priority_of(config, config.node.name),
        preempt=config.cluster.preempt,
        arbiter=Arbiter(config.cluster.arbiter),
        strict=config.cluster.strict,
        tie_break=tie_break_of(config),
        advbase=-(-interval_ms // MS_PER_S),
        config_digest=config_digest(config),
        speculates=config.cluster.speculate,
    )


def moosefs_settings(config: Config) -> MoosefsSettings | None:
    """Return the host's MooseFS, or None on a witness."""
    section = config.moosefs
    if section is None:
        return None
    return MoosefsSettings(
        data_path=section.data_path,
        master_config=section.master_config,
        metalogger_config=section.metalogger_config,
        also_start=section.also_start,
        start_timeout_s=section.start_timeout_s,
        hang_timeout_s=section.hang_timeout_s,
        expected_metaid=None if section.expected_metaid is None else int(section.expected_metaid, 16),
        archive_keep_count=config.archive.keep_count,
        archive_keep_bytes=config.archive.keep_bytes,
        drill_interval_s=config.drill.interval_s,
        huge_pages=section.huge_pages,
    )


def etcd_settings(config: Config, secrets: Secrets) -> EtcdSettings | None:
    """Return how etcd is reached, or None where it is not the arbiter; the prefix ends with the VHID."""
    section = config.etcd
    if section is None:
        return None
    return EtcdSettings(
        endpoints=section.endpoints,
        prefix=f"{section.prefix}/{config.cluster.vhid}",
        lease_s=section.lease_s,
        ca_file=section.ca_file or "",
        cert_file=section.cert_file or "",
        cert_key_file=section.cert_key_file or "",
        username=section.username or "",
        password=secrets.etcd_password,
    )


def daemon_settings(config: Config, secrets: Secrets) -> DaemonSettings:
    """Return what the heartbeat and the worker are told."""
    cluster = config.cluster
    host, port = None, None
    if config.http is not None:
        listen = parse_listen(config.http.listen)
        invariant(listen is not None, "a loaded configuration has a listen address that parses")
        host, port = listen or (None, None)
    return DaemonSettings(
        node_name=config.node.name,
        state_dir=config.node.state_dir.rstrip("/") or "/",
        run_dir=config.node.run_dir.rstrip("/") or "/",
        interface=cluster.interface,
        own_address=str(ip_address(cluster.members[config.node.name])),
        vhid=cluster.vhid,
        virtual_addresses=tuple(str(ip_interface(each)) for each in cluster.virtual_addresses),
        profile=cluster.profile,
        realtime=PROFILES[cluster.profile].realtime,
        unicast=cluster.unicast,
        election=election_settings(config),
        moosefs=moosefs_settings(config),
        etcd=etcd_settings(config, secrets),
        http_host=host,
        http_port=port,
        key_text=secrets.key_text,
        ucarp_password=secrets.ucarp_password,
        fence_command=cluster.fence_command,
        fence_timeout_s=cluster.fence_timeout_s,
        watchdog=config.node.watchdog,
        watchdog_device=config.node.watchdog_device,
    )


@dataclass(frozen=True, slots=True)
class DerivedTimes:
    """What the settings amount to on this node, in milliseconds.

    ``worst_detection_ms``: the master dies right after an advert and this node is next in turn.
    ``last_turn_ms``: the same where every better candidate has died with the master.
    """

    advert_interval_ms: int
    skew_ms: float
    master_down_ms: float
    worst_detection_ms: float
    last_turn_ms: float


def derived_times(config: Config) -> DerivedTimes:
    """Return the times that follow from interval, missed adverts and priorities (RFC 9568 section 6.1)."""
    settings = election_settings(config)
    candidates = [each.name for each in settings.members if not each.is_witness]
    priorities = sorted((priority_of(config, name) for name in candidates), reverse=True)

    def down_ms(priority: int) -> float:
        skew = skew_ns(settings.interval_ns, priority, 0)
        down = master_down_interval_ns(settings.interval_ns, settings.interval_ns, settings.missed_adverts, skew)
        return down / NS_PER_MS

    return DerivedTimes(
        advert_interval_ms=settings.interval_ns // NS_PER_MS,
        skew_ms=skew_ns(settings.interval_ns, settings.priority, 0) / NS_PER_MS,
        master_down_ms=down_ms(settings.priority),
        worst_detection_ms=down_ms(priorities[min(1, len(priorities) - 1)]),
        last_turn_ms=down_ms(priorities[-1]),
    )
