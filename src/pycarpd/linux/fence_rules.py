"""What the fence's tables say, as nf_tables messages. Pure.

One rule holds at every hook: what speaks as the holder of a VIP, or asks for it, passes only while the VIP is in the
set ``open4`` or ``open6`` of the hook's table. Host-wide, in the families inet and arp:

    input   packets to the VIP by whatever interface, the loopback too; ARP requests and neighbour solicitations for it
    output  packets from the VIP; ARP messages with it as sender; neighbour advertisements of it

and on one interface, in the family netdev, so that frames made by hand (packet sockets) or rewritten on their way
(source NAT) are met too:

    egress  the same as output

What this host says *to* a VIP, and hears *from* it, passes always: while another host holds the VIP, the metalogger
and the clients here talk to it, and its announcements must reach the neighbour tables here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pycarpd.linux.nftables import (
    AddressSet,
    Comparison,
    Family,
    Hook,
    KeyType,
    Meta,
    compare,
    delete_table,
    drop,
    flush_set,
    load_meta,
    load_network,
    load_transport,
    new_chain,
    new_element,
    new_rule,
    new_set,
    new_table,
    unless_in,
)

Vip = IPv4Address | IPv6Address
Match = tuple[bytes, ...]
"""Expressions that all have to hold, and then one that loads the VIP which the packet is about."""

_PRIORITY = -300
"""Before connection tracking, which so never hears of what is dropped."""
_EGRESS = 1
_IPV4 = 4
_IPV6 = 6
_ETHERTYPE = {_IPV4: b"\x08\x00", _IPV6: b"\x86\xdd"}
_ETHERTYPE_ARP = b"\x08\x06"
_NFPROTO = {_IPV4: b"\x02", _IPV6: b"\x0a"}
_ICMPV6 = b"\x3a"
_NEIGHBOUR_SOLICITATION = b"\x87"
_NEIGHBOUR_ADVERTISEMENT = b"\x88"
_IP_SOURCE = {_IPV4: load_network(12, 4), _IPV6: load_network(8, 16)}
_IP_DESTINATION = {_IPV4: load_network(16, 4), _IPV6: load_network(24, 16)}
_ARP_SENDER = load_network(14, 4)
_ARP_TARGET = load_network(24, 4)
_ND_TYPE = load_transport(0, 1)
_ND_TARGET = load_transport(8, 16)


@dataclass(frozen=True, slots=True)
class FenceRules:
    """The tables, all of one name, that fence some VIPs."""

    table: str
    vips: tuple[Vip, ...]

    def installation(self, table_flags: int) -> list[bytes]:
        """Return the messages that replace what tables of this name there are by closed ones, yet without egress."""
        families = {addresses.family for addresses in self.sets()}
        tables = [new_table(family, self.table, table_flags) for family in sorted(families)]
        sets = [new_set(addresses, number) for number, addresses in enumerate(self.sets(), 1)]
        return [*self.removal(), *tables, *sets, *(part for chain in _CHAINS for part in self._chain(*chain))]

    def egress(self, interface: str) -> list[bytes]:
        """Return the messages that add the chain for frames that leave by *interface*; it must exist."""
        return self._chain(Family.NETDEV, "egress", Hook(_EGRESS, _PRIORITY, interface), _leaves_interface)

    def opening(self, timeout_ms: int) -> list[bytes]:
        """Return the messages that open the fence for *timeout_ms* from when they are done, open or closed before.

        The sets are emptied first: an element that is there keeps its old timeout when it is added again, and
        to delete one that has just run out would fail the whole batch (measured: after 14 ms).
        """
        elements = (
            new_element(addresses, vip.packed, timeout_ms)
            for addresses in self.sets()
            for vip in self._vips_in(addresses)
        )
        return [*self.closing(), *elements]

    def closing(self) -> list[bytes]:
        """Return the messages that close the fence, open or closed before."""
        return [flush_set(addresses) for addresses in self.sets()]

    def removal(self) -> list[bytes]:
        """Return the messages after which no table has this name; each is made first, as it may not exist."""
        return [verb(family, self.table) for family in Family for verb in (new_table, delete_table)]

    def sets(self) -> tuple[AddressSet, ...]:
        """Return the sets whose elements open the fence, one for each family of tables and version of IP."""
        versions = {vip.version for vip in self.vips}
        return tuple(
            AddressSet(family, self.table, f"open{version}", KeyType.IPV4 if version == _IPV4 else KeyType.IPV6)
            for family in Family
            for version in sorted(versions)
            if (family, version) != (Family.ARP, _IPV6)
        )

    def _vips_in(self, addresses: AddressSet) -> tuple[Vip, ...]:
        return tuple(vip for vip in self.vips if len(vip.packed) == addresses.key_type.key_bytes)

    def _chain(self, family: Family, name: str, hook: Hook, matches: Callable[[Vip], tuple[Match, ...]]) -> list[bytes]:
        """Return the messages that make a chain with a rule for each match of each VIP; none if there is nothing."""
        rules = [
            new_rule(family, self.table, name, (*match, unless_in(f"open{vip.version}"), drop()))
            for vip in self.vips
            for match in matches(vip)
        ]
        return [new_chain(family, self.table, name, hook), *rules] if rules else []


def _enters(vip: Vip) -> tuple[Match, ...]:
    """Return what is for the VIP's holder."""
    version = (load_meta(Meta.NFPROTO), _is(_NFPROTO[vip.version]))
    packet = (*version, _IP_DESTINATION[vip.version], _is(vip.packed))
    return (packet, *_neighbour_discovery(vip, version, _NEIGHBOUR_SOLICITATION))


def _leaves(vip: Vip) -> tuple[Match, ...]:
    """Return what comes from the VIP's holder."""
    return _speaks(vip, (load_meta(Meta.NFPROTO), _is(_NFPROTO[vip.version])))


def _leaves_interface(vip: Vip) -> tuple[Match, ...]:
    """Return the same as frames, where ARP is among them."""
    arp = ((load_meta(Meta.PROTOCOL), _is(_ETHERTYPE_ARP), *match) for match in _answers_arp(vip))
    return (*_speaks(vip, (load_meta(Meta.PROTOCOL), _is(_ETHERTYPE[vip.version]))), *arp)


def _speaks(vip: Vip, version: Match) -> tuple[Match, ...]:
    """Return the packets that come from the VIP's holder, given what tells their version of IP."""
    packet = (*version, _IP_SOURCE[vip.version], _is(vip.packed))
    return (packet, *_neighbour_discovery(vip, version, _NEIGHBOUR_ADVERTISEMENT))


def _neighbour_discovery(vip: Vip, version: Match, kind: bytes) -> tuple[Match, ...]:
    """Return the neighbour discovery messages of a kind whose target is the VIP (RFC 4861, 4.3 and 4.4)."""
    if vip.version != _IPV6:
        return ()
    return ((*version, load_meta(Meta.L4PROTO), _is(_ICMPV6), _ND_TYPE, _is(kind), _ND_TARGET, _is(vip.packed)),)


def _asks_arp(vip: Vip) -> tuple[Match, ...]:
    """Return ARP messages to the VIP, but for another holder's announcements, which are from it as well."""
    if vip.version != _IPV4:
        return ()
    return ((_ARP_SENDER, _is_not(vip.packed), _ARP_TARGET, _is(vip.packed)),)


def _answers_arp(vip: Vip) -> tuple[Match, ...]:
    """Return ARP messages from the VIP: answers, announcements, and requests made in its name."""
    return ((_ARP_SENDER, _is(vip.packed)),) if vip.version == _IPV4 else ()


def _is(value: bytes) -> bytes:
    return compare(Comparison.EQUAL, value)


def _is_not(value: bytes) -> bytes:
    return compare(Comparison.UNEQUAL, value)


_CHAINS = (
    (Family.INET, "input", Hook(1, _PRIORITY), _enters),
    (Family.INET, "output", Hook(3, _PRIORITY), _leaves),
    (Family.ARP, "input", Hook(0, _PRIORITY), _asks_arp),
    (Family.ARP, "output", Hook(1, _PRIORITY), _answers_arp),
)
"""The hooks of the whole host: NF_INET_LOCAL_IN and LOCAL_OUT, NF_ARP_IN and OUT."""
