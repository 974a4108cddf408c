"""Addresses on an interface: added with a lifetime, renewed, removed, listed. Idempotent, and verified by a dump.

A finite lifetime (IFA_CACHEINFO, valid_lft) is the kernel's own promise to remove the address when nobody renews it,
also when this process is stopped or dead. The kernel counts in whole seconds.
"""

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from pathlib import Path

from pycarpd.invariant import invariant
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, interface_index, request
from pycarpd.linux.rtnetlink import address_body, address_options, address_question, parse_address

_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_GETADDR = 22
_IFA_F_SECONDARY = 0x01
_IFA_F_NODAD = 0x02
_IFA_F_TENTATIVE = 0x40
_IFA_F_NOPREFIXROUTE = 0x200
_FOREVER = 0xFFFFFFFF
_GONE = frozenset((errno.EADDRNOTAVAIL, errno.ENODEV))


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address as the kernel lists it; ``valid_lft_s`` is what is left of its life, None for ever.

    ``cidr`` is written as Python's ipaddress module writes it (lower case, compressed).
    """

    cidr: str
    valid_lft_s: int | None
    is_secondary: bool
    is_tentative: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """An address, and what has to be known of its interface, and of the other addresses there, to put it on it."""

    operation: str
    index: int
    wanted: IPv4Interface | IPv6Interface
    flags: int


def normalized(cidr: str) -> str:
    """Return *cidr* in the one spelling that this room uses."""
    return ip_interface(cidr).with_prefixlen


def list_addresses(interface: str) -> tuple[InterfaceAddress, ...] | SystemFault:
    """Return the IPv4 and IPv6 addresses of *interface*, or why they cannot be told (ENODEV: it does not exist)."""
    found = _present(interface, f"list addresses of {interface}")
    return found if isinstance(found, SystemFault) else found[1]


def _present(interface: str, operation: str) -> tuple[int, tuple[InterfaceAddress, ...]] | SystemFault:
    """Return the interface's present index, which is another one when it is made again, and its addresses."""
    try:
        index = interface_index(interface)
    except OSError as error:
        return SystemFault.of(operation, error)
    listed = _list(index, operation)
    return listed if isinstance(listed, SystemFault) else (index, listed)


def _list(index: int, operation: str) -> tuple[InterfaceAddress, ...] | SystemFault:
    answer = request(address_question(index), _RTM_GETADDR, NLM_F_DUMP, operation)
    if isinstance(answer, SystemFault):
        return answer
    decoded = (decode_address(reply.data) for reply in answer if reply.kind == _RTM_NEWADDR)
    # Of a list: a tuple that grows from a generator leaves its memory unused behind (CPython 3.11, to a bound).
    return tuple([address for owner, address in decoded if owner == index])


def add_address(interface: str, cidr: str, valid_lft_s: int | None = None) -> SystemFault | None:
    """Put *cidr* on *interface* for *valid_lft_s* seconds (None: for ever), or renew it if it is there already.

    None means that the kernel lists it afterwards. IPv6 addresses are usable at once (no duplicate detection).
    No route for the network is made when another address of the interface has one already.
    """
    placement = place_address(interface, cidr)
    if isinstance(placement, SystemFault):
        return placement
    fault = put_address(placement, valid_lft_s)
    if fault is not None:
        return fault
    return _verify(placement.index, placement.wanted.with_prefixlen, placement.operation, is_wanted=True)


def place_address(interface: str, cidr: str) -> Placement | SystemFault:
    """Return what the kernel is to be asked for to put *cidr* on *interface* as it is now; see put_address()."""
    operation = f"add {cidr} to {interface}"
    found = _present(interface, operation)
    if isinstance(found, SystemFault):
        return found
    index, present = found
    wanted = ip_interface(cidr)
    flags = _IFA_F_NODAD if isinstance(wanted, IPv6Interface) else 0
    if any(_shares_network(other, wanted) for other in present):
        flags |= _IFA_F_NOPREFIXROUTE
    return Placement(operation, index, wanted, flags)


def put_address(placement: Placement, valid_lft_s: int | None = None) -> SystemFault | None:
    """Put an address where it was placed, with one question: None means that the kernel has acknowledged it.

    For one that is waited for. ENODEV: the interface was made anew since it was placed.
    """
    invariant(valid_lft_s is None or 0 < valid_lft_s < _FOREVER, f"valid_lft of {valid_lft_s} s")
    lifetime_s = _FOREVER if valid_lft_s is None else valid_lft_s
    body = _body(placement.index, placement.wanted) + address_options(placement.flags, lifetime_s)
    answer = request(body, _RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, placement.operation)
    return answer if isinstance(answer, SystemFault) and answer.errno != errno.EEXIST else None


def remove_address(interface: str, cidr: str) -> SystemFault | None:
    """Take *cidr* off *interface*; None means that the kernel does not list it any more, or never did.

    The other addresses of its network stay, also where the kernel counts them as secondary to this one.
    """
    operation = f"remove {cidr} from {interface}"
    found = _present(interface, operation)
    if isinstance(found, SystemFault):
        return _unless_gone(found)
    index, present = found
    wanted = ip_interface(cidr)
    entry = next((address for address in present if address.cidr == wanted.with_prefixlen), None)
    if entry is None:
        return None
    if not entry.is_secondary and any(other.is_secondary for other in present):
        fault = _keep_secondaries(interface, operation)
        if fault is not None:
            return fault
    answer = request(_body(index, wanted), _RTM_DELADDR, NLM_F_ACK, operation)
    if isinstance(answer, SystemFault) and _unless_gone(answer) is not None:
        return answer
    return _verify(index, wanted.with_prefixlen, operation, is_wanted=False)


def decode_address(data: bytes) -> tuple[int, InterfaceAddress]:
    """Return interface index and address of an RTM_NEWADDR or RTM_DELADDR message, header included."""
    said = parse_address(data)
    valid_s = _FOREVER if said.valid_s is None else said.valid_s
    address = InterfaceAddress(
        cidr=f"{ip_address(said.address)}/{said.prefixlen}",
        valid_lft_s=None if valid_s == _FOREVER else valid_s,
        is_secondary=said.family == socket.AF_INET and bool(said.flags & _IFA_F_SECONDARY),
        is_tentative=bool(said.flags & _IFA_F_TENTATIVE),
    )
    return said.interface, address


def _body(index: int, wanted: IPv4Interface | IPv6Interface) -> bytes:
    """Return the message's body that names exactly *wanted* on the interface *index*."""
    return address_body(index, wanted.packed, wanted.network.prefixlen)


def _shares_network(other: InterfaceAddress, wanted: IPv4Interface | IPv6Interface) -> bool:
    """Say whether another address of the interface lies in the same network, and so has brought its route."""
    parsed = ip_interface(other.cidr)
    return parsed.network == wanted.network and parsed.ip != wanted.ip


def _keep_secondaries(interface: str, operation: str) -> SystemFault | None:
    """Have the kernel promote a secondary address when its primary goes, instead of removing it as well."""
    path = Path("/proc/sys/net/ipv4/conf") / interface / "promote_secondaries"
    try:
        path.write_text("1")
    except OSError as error:
        return SystemFault.of(operation, error)
    return None


def _verify(index: int, cidr: str, operation: str, *, is_wanted: bool) -> SystemFault | None:
    """Return None when the kernel's list agrees with what was asked for."""
    present = _list(index, operation)
    if isinstance(present, SystemFault):
        return present if is_wanted else _unless_gone(present)
    if any(address.cidr == cidr for address in present) == is_wanted:
        return None
    number = errno.EADDRNOTAVAIL if is_wanted else errno.EADDRINUSE
    return SystemFault.numbered(operation, number, "acknowledged by the kernel, yet its list disagrees")


def _unless_gone(fault: SystemFault) -> SystemFault | None:
    """Return the fault, unless it says that the address is not there any more, or its interface."""
    return None if fault.errno in _GONE else fault
