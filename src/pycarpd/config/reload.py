"""What a reload may change while the daemon runs, and what needs a restart and why."""

from dataclasses import dataclass
from typing import Any

from pycarpd.config.schema import Config, Section
from pycarpd.control.reports import Report, report

RELOADABLE: frozenset[str] = frozenset(
    {
        "archive.keep_bytes",
        "archive.keep_count",
        "cluster.advert_interval_ms",
        "cluster.key_file",
        "cluster.missed_adverts",
        "cluster.preempt",
        "cluster.priority",
        "cluster.speculate",
        "drill.interval_s",
        "moosefs.also_start",
        "moosefs.hang_timeout_s",
        "moosefs.start_timeout_s",
    }
)
"""Key paths that take effect by a reload; the key file's content is read again by every reload."""

REFUSALS: dict[str, str] = {
    "node.name": "the name is this node's identity in terms and votes already cast",
    "node.state_dir": "terms and votes are kept there; moving them while they are written could lose a vote",
    "node.run_dir": "the control socket is open there",
    "cluster.vhid": "it names the group that the adverts in flight belong to",
    "cluster.interface": "the raw socket, the VIP and the announcements are bound to it",
    "cluster.virtual_addresses": "clients are connected to the VIP that is in place",
    "cluster.members": "a majority is counted over the members; two counts at once could elect two masters",
    "cluster.witnesses": "a majority is counted over the members; two counts at once could elect two masters",
    "cluster.arbiter": "two rules at once could elect two masters",
    "cluster.profile": "it decides about real-time scheduling, which is set up at the start",
    "cluster.strict": "it decides whose adverts count; both ways at once could elect two masters",
    "cluster.ucarp_pass_file": "the password belongs to the group that is being spoken to",
    "cluster.tie_break": "all members must order equal claims the same way",
    "cluster.unicast": "the raw socket was opened for the other way",
    "node.watchdog": "it may be armed",
    "node.watchdog_device": "it may be armed",
    "cluster.fence_command": "the plan of a takeover was made with it",
    "cluster.fence_timeout_s": "the plan of a takeover was made with it",
    "moosefs.data_path": "a running mfsmaster or metalogger holds its files",
    "moosefs.master_config": "a running mfsmaster was started from it",
    "moosefs.metalogger_config": "a running metalogger was started from it",
    "moosefs.expected_metaid": "it was compared with the metadata when the daemon started",
    "moosefs.huge_pages": "the kernel is told when the daemon starts",
    "moosefs": "a node becomes a candidate or a witness only by a restart",
    "etcd": "two arbiters at once could elect two masters",
    "etcd.endpoints": "two arbiters at once could elect two masters",
    "etcd.prefix": "the term in force is kept there",
    "etcd.lease_s": "the lease in force has another length",
    "etcd.ca_file": "the connections to etcd are open with it",
    "etcd.cert_file": "the connections to etcd are open with it",
    "etcd.cert_key_file": "the connections to etcd are open with it",
    "etcd.username": "the connections to etcd are open with it",
    "etcd.password_file": "the connections to etcd are open with it",
    "http": "the listener is opened at the start",
    "http.listen": "the listener is opened at the start",
}


@dataclass(frozen=True, slots=True)
class ReloadChanges:
    """Which key paths a reload applies, and a report with the reason for each that it does not."""

    applied: tuple[str, ...]
    refused: tuple[Report, ...]


def reloadable_changes(old: Config, new: Config) -> ReloadChanges:
    """Return what differs between two valid configurations, divided by whether a reload may apply it."""
    before, after = _flat(old), _flat(new)
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    tables = {key for key in changed if "." not in key}
    changed = [key for key in changed if key in tables or key.split(".")[0] not in tables]
    applied = tuple(key for key in changed if key in RELOADABLE)
    refused = tuple(_refusal(key, after.get(key)) for key in changed if key in REFUSALS)
    return ReloadChanges(applied, refused)


def _refusal(key: str, value: Any) -> Report:
    message = f"stays as it was until a restart: {REFUSALS[key]}"
    return report("reload-refused", message, key=key, value=value, rule="takes effect by a restart")


def _flat(config: Config) -> dict[str, Any]:
    """Return key path to value; an absent table is one key of its own."""
    flat: dict[str, Any] = {}
    for name in ("node", "cluster", "moosefs", "archive", "drill", "http", "etcd"):
        section: Section | None = getattr(config, name)
        if section is None:
            flat[name] = "absent"
            continue
        flat |= {f"{name}.{key}": value for key, value in section.model_dump().items()}
        if name == "cluster":
            # Dictionaries compare without their order, yet the order decides the default priorities.
            flat["cluster.members"] = tuple(flat["cluster.members"].items())
    return flat
