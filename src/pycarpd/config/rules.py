"""The rules that relate configuration keys to each other, as one table.

Each rule names the keys it reads. It is applied as soon as those keys have the right shape, however much else of
the file is wrong, so that an operator sees every problem at once. The values are those of the file; addresses
that cannot be read are reported by their own rule and skipped by the others.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import Any

from pycarpd.config.arbiter_rules import (
    endpoints_are_urls,
    etcd_where_it_belongs,
    pairs_are_whole,
    prefix_is_a_path,
    speculation_needs_votes,
    two_nodes_opt_in,
    witness_has_a_say,
)
from pycarpd.control.reports import Report, closest, report

NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,32}")
METAID_PATTERN = re.compile(r"(0x)?[0-9A-Fa-f]{1,16}")
IPV4 = 4
PORT_MAX = 65_535
IPV4, IPV6 = 4, 6


@dataclass(frozen=True, slots=True)
class Rule:
    """One relation: its name, the key paths it reads, and the check that yields a report for each breach."""

    name: str
    needs: tuple[str, ...]
    check: Callable[..., Iterator[Report]]


def parse_listen(text: str) -> tuple[str, int] | None:
    """Return (host, port) of ``ADDRESS:PORT`` or ``[IPv6]:PORT``, or None when it is neither."""
    host, colon, port = text.rpartition(":")
    address = _address(host.removeprefix("[").removesuffix("]"))
    if not colon or address is None or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= PORT_MAX:
        return None
    if (address.version == IPV6) != host.startswith("["):
        return None
    return str(address), int(port)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _interface(text: str) -> IPv4Interface | IPv6Interface | None:
    try:
        return ip_interface(text) if "/" in text else None
    except ValueError:
        return None


def _member_addresses(members: dict[str, str]) -> dict[str, IPv4Address | IPv6Address]:
    return {name: found for name, text in members.items() if (found := _address(text)) is not None}


def _vips(texts: list[str]) -> list[IPv4Interface | IPv6Interface]:
    return [found for text in texts if (found := _interface(text)) is not None]


def _names_are_words(members: dict[str, str]) -> Iterator[Report]:
    rule = "a name has 1 to 32 of the characters A-Z a-z 0-9 . _ -"
    for name in members:
        if not NAME_PATTERN.fullmatch(name):
            yield report(
                "config-bad-name", "is no usable node name", key=f"cluster.members.{name}", value=name, rule=rule
            )


def _addresses_are_hosts(members: dict[str, str]) -> Iterator[Report]:
    rule = "an address of one host, such as 192.0.2.11"
    for name, text in members.items():
        found = _address(text)
        if found is None or found.is_multicast or found.is_unspecified or found.is_loopback:
            message = f"{text!r} is no host address"
            yield report("config-bad-address", message, key=f"cluster.members.{name}", value=text, rule=rule)


def _addresses_differ(members: dict[str, str]) -> Iterator[Report]:
    owner: dict[IPv4Address | IPv6Address, str] = {}
    for name, address in _member_addresses(members).items():
        if address in owner:
            yield report(
                "config-duplicate-address",
                f"has the address of {owner[address]}",
                key=f"cluster.members.{name}",
                value=address,
                rule="member addresses are distinct",
            )
        owner.setdefault(address, name)


def _ipv4_alone(members: dict[str, str], virtual_addresses: list[str]) -> Iterator[Report]:
    rule = "members and virtual addresses are IPv4 addresses"
    for name, address in _member_addresses(members).items():
        if address.version != IPV4:
            key = f"cluster.members.{name}"
            yield report("config-not-ipv4", "is an IPv6 address", key=key, value=address, rule=rule)
    for vip in _vips(virtual_addresses):
        if vip.version != IPV4:
            key = "cluster.virtual_addresses"
            yield report("config-not-ipv4", f"{vip} is an IPv6 address", key=key, value=vip, rule=rule)


def _own_name_is_a_member(name: str, members: dict[str, str]) -> Iterator[Report]:
    if name not in members:
        near = closest(name, members)
        yield report(
            "config-own-name-missing",
            f"{name!r} is not one of cluster.members",
            key="node.name",
            value=name,
            rule="node.name is one of cluster.members",
            hint=f"did you mean {near!r}?" if near else None,
        )


def _witnesses_are_members(witnesses: list[str], members: dict[str, str]) -> Iterator[Report]:
    for index, name in enumerate(witnesses):
        if name not in members:
            near = closest(name, members)
            yield report(
                "config-unknown-witness",
                f"{name!r} is not one of cluster.members",
                key=f"cluster.witnesses[{index}]",
                value=name,
                rule="every witness is one of cluster.members",
                hint=f"did you mean {near!r}?" if near else None,
            )


def _somebody_can_be_master(members: dict[str, str], witnesses: list[str]) -> Iterator[Report]:
    if set(members) <= set(witnesses):
        yield report(
            "config-no-candidate",
            "names every member a witness",
            key="cluster.witnesses",
            value=", ".join(witnesses),
            rule="at least one member is no witness",
        )


def _moosefs_where_it_belongs(name: str, witnesses: list[str], has_moosefs: bool) -> Iterator[Report]:
    if name in witnesses and has_moosefs:
        yield report(
            "config-witness-with-moosefs",
            f"{name!r} is a witness and has a [moosefs] table",
            key="moosefs",
            rule="a witness votes and never serves: it has no [moosefs]",
        )
    if name not in witnesses and not has_moosefs:
        yield report(
            "config-candidate-without-moosefs",
            f"{name!r} is no witness and has no [moosefs] table",
            key="moosefs",
            rule="every member that is no witness has a [moosefs] table",
        )


def _vips_are_interfaces(virtual_addresses: list[str]) -> Iterator[Report]:
    rule = "an address with its prefix length, such as 192.0.2.100/24"
    seen: set[str] = set()
    for index, text in enumerate(virtual_addresses):
        key, found = f"cluster.virtual_addresses[{index}]", _interface(text)
        if found is None or found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_loopback:
            yield report("config-bad-vip", f"{text!r} is no VIP", key=key, value=text, rule=rule)
            continue
        if str(found.ip) in seen:
            yield report("config-duplicate-vip", "is named twice", key=key, value=text, rule="VIPs are distinct")
        seen.add(str(found.ip))


def _vip_is_nobodys_own(virtual_addresses: list[str], members: dict[str, str]) -> Iterator[Report]:
    owner = {address: name for name, address in _member_addresses(members).items()}
    for vip in _vips(virtual_addresses):
        if vip.ip in owner:
            yield report(
                "config-vip-is-member",
                f"is also the own address of {owner[vip.ip]}",
                key="cluster.virtual_addresses",
                value=vip,
                rule="a VIP is no member's own address",
            )


def _own_subnet(name: str, members: dict[str, str], virtual_addresses: list[str]) -> Iterator[Report]:
    own = _member_addresses(members).get(name)
    for vip in _vips(virtual_addresses):
        if own is not None and own.version == vip.version and own not in vip.network:
            yield report(
                "config-vip-other-subnet",
                f"{vip} does not contain this node's address {own}",
                key="cluster.virtual_addresses",
                value=vip,
                rule="a VIP usually lies in the subnet of the members' addresses",
            )


def _ucarp_has_its_password(strict: bool, ucarp_pass_file: str | None) -> Iterator[Report]:
    if strict == (ucarp_pass_file is not None):
        message = "is set although strict = true" if strict else "is missing although strict = false"
        rule = "ucarp_pass_file is set exactly when strict = false"
        yield report("config-ucarp-pass-file", message, key="cluster.ucarp_pass_file", value=ucarp_pass_file, rule=rule)


def _ucarp_speaks_for_one_vip(strict: bool, virtual_addresses: list[str]) -> Iterator[Report]:
    of_ipv4 = all(each.version == IPV4 for each in _vips(virtual_addresses))
    if not strict and (len(virtual_addresses) != 1 or not of_ipv4):
        yield report(
            "config-ucarp-one-vip",
            "cannot be shared with ucarp",
            key="cluster.virtual_addresses",
            value=", ".join(virtual_addresses),
            rule="with strict = false there is exactly one VIP, of IPv4: ucarp's digest covers no other",
        )


def _ucarp_hears_multicast(strict: bool, unicast: bool) -> Iterator[Report]:
    if not strict and unicast:
        yield report(
            "config-ucarp-multicast",
            "excludes ucarp hosts, which send to 224.0.0.18 only",
            key="cluster.unicast",
            value="true",
            rule="with strict = false, unicast = false",
        )


def _ucarp_cannot_vote(strict: bool, arbiter: str) -> Iterator[Report]:
    if not strict and arbiter != "none":
        yield report(
            "config-ucarp-no-vote",
            "ucarp hosts take the VIP without asking anybody",
            key="cluster.arbiter",
            value=arbiter,
            rule='with strict = false, arbiter = "none"',
        )


def _tie_break_suits(strict: bool, tie_break: str | None) -> Iterator[Report]:
    if not strict and tie_break == "numeric":
        yield report(
            "config-tie-break",
            "differs from what ucarp on x86 and ARM does",
            key="cluster.tie_break",
            value=tie_break,
            rule='beside ucarp, tie_break is "ucarp-le" unless all its hosts are big-endian',
        )


def _metaid_is_hex(expected_metaid: str | None) -> Iterator[Report]:
    if expected_metaid is not None and not METAID_PATTERN.fullmatch(expected_metaid):
        yield report(
            "config-bad-metaid",
            "is no metaid",
            key="moosefs.expected_metaid",
            value=expected_metaid,
            rule="1 to 16 hexadecimal digits",
        )


def _listen_is_an_address(listen: str) -> Iterator[Report]:
    if parse_listen(listen) is None:
        yield report(
            "config-bad-listen",
            "is no address to listen on",
            key="http.listen",
            value=listen,
            rule="ADDRESS:PORT with a numeric address, [ADDRESS]:PORT for IPv6",
        )


def _absolute(key: str) -> Rule:
    def check(path: str | None) -> Iterator[Report]:
        if path is not None and not path.startswith("/"):
            yield report("config-relative-path", "is relative", key=key, value=path, rule="paths are absolute")

    return Rule(f"{key} is absolute", (key,), check)


PATH_KEYS = (
    "node.state_dir",
    "node.run_dir",
    "node.watchdog_device",
    "cluster.key_file",
    "cluster.ucarp_pass_file",
    "etcd.ca_file",
    "etcd.cert_file",
    "etcd.cert_key_file",
    "etcd.password_file",
    "moosefs.data_path",
    "moosefs.master_config",
    "moosefs.metalogger_config",
)

MEMBERS, VIPS, WITNESSES = "cluster.members", "cluster.virtual_addresses", "cluster.witnesses"
ETCD_PAIRS = ("etcd.cert_file", "etcd.cert_key_file", "etcd.username", "etcd.password_file")
NAME, STRICT, ARBITER = "node.name", "cluster.strict", "cluster.arbiter"
SPECULATE = "cluster.speculate"

RULES: tuple[Rule, ...] = (
    Rule("names are words", (MEMBERS,), _names_are_words),
    Rule("addresses are hosts", (MEMBERS,), _addresses_are_hosts),
    Rule("addresses differ", (MEMBERS,), _addresses_differ),
    Rule("IPv4 alone", (MEMBERS, VIPS), _ipv4_alone),
    Rule("own name is a member", (NAME, MEMBERS), _own_name_is_a_member),
    Rule("witnesses are members", (WITNESSES, MEMBERS), _witnesses_are_members),
    Rule("somebody can be master", (MEMBERS, WITNESSES), _somebody_can_be_master),
    Rule("moosefs where it belongs", (NAME, WITNESSES, "moosefs"), _moosefs_where_it_belongs),
    Rule("two nodes opt in", (MEMBERS, WITNESSES, ARBITER), two_nodes_opt_in),
    Rule("witness has a say", (WITNESSES, ARBITER), witness_has_a_say),
    Rule("speculation needs votes", (SPECULATE, ARBITER), speculation_needs_votes),
    Rule("etcd where it belongs", (ARBITER, "etcd"), etcd_where_it_belongs),
    Rule("endpoints are URLs", ("etcd.endpoints",), endpoints_are_urls),
    Rule("prefix is a path", ("etcd.prefix",), prefix_is_a_path),
    Rule("pairs are whole", ETCD_PAIRS, pairs_are_whole),
    Rule("VIPs are interfaces", (VIPS,), _vips_are_interfaces),
    Rule("VIP is nobody's own", (VIPS, MEMBERS), _vip_is_nobodys_own),
    Rule("own subnet", (NAME, MEMBERS, VIPS), _own_subnet),
    Rule("ucarp has its password", (STRICT, "cluster.ucarp_pass_file"), _ucarp_has_its_password),
    Rule("ucarp speaks for one VIP", (STRICT, VIPS), _ucarp_speaks_for_one_vip),
    Rule("ucarp hears multicast", (STRICT, "cluster.unicast"), _ucarp_hears_multicast),
    Rule("ucarp cannot vote", (STRICT, ARBITER), _ucarp_cannot_vote),
    Rule("tie-break suits", (STRICT, "cluster.tie_break"), _tie_break_suits),
    Rule("metaid is hexadecimal", ("moosefs.expected_metaid",), _metaid_is_hex),
    Rule("listen is an address", ("http.listen",), _listen_is_an_address),
    *(_absolute(key) for key in PATH_KEYS),
)


def breaches(known: Mapping[str, Any]) -> list[Report]:
    """Return a report for each breach of each rule whose keys are all in *known* (key path to value)."""
    found: list[Report] = []
    for rule in RULES:
        if all(key in known for key in rule.needs):
            found.extend(rule.check(*(known[key] for key in rule.needs)))
    return found
