"""The interface, this node's own address, and where the VIP is."""

import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Interface, ip_address, ip_interface
from pathlib import Path

import psutil

from pycarpd.config import Config
from pycarpd.control.client import ControlClient
from pycarpd.control.reports import Report, report

ETHERTYPE_ARP = 0x0806
ARP_REQUEST, ARP_REPLY = 1, 2
ARP_WAIT_S = 0.5
FRAME_BYTES_MIN = 42
_ARP = struct.Struct("!6s6sH HHBBH 6s4s6s4s")


def interface(config: Config) -> Iterator[Report]:
    """Check that the interface exists and has a carrier."""
    name = config.cluster.interface
    found = psutil.net_if_stats().get(name)
    if found is None:
        yield report("host-interface-missing", "does not exist", key=name)
    elif not found.isup:
        yield report("host-interface-down", "is down or has no carrier", key=name)


def own_address(config: Config) -> Iterator[Report]:
    """Check that this node's member address is on the interface."""
    name, own = config.cluster.interface, ip_address(config.cluster.members[config.node.name])
    if name in psutil.net_if_stats() and str(own) not in addresses_on(name):
        yield report("host-address-missing", f"{own} is not on {name}", key=config.node.name, value=own)


def vip_placement(config: Config) -> Iterator[Report]:
    """Check that no VIP is on another interface, nor on this one without a daemon that holds it."""
    for text in config.cluster.virtual_addresses:
        vip = str(ip_interface(text).ip)
        for name in psutil.net_if_addrs():
            if vip not in addresses_on(name):
                continue
            if name != config.cluster.interface:
                yield report("host-vip-other-interface", f"{vip} is on {name}", key=name, value=vip)
            elif not _daemon_answers(config):
                yield report("host-vip-static", f"{vip} is on {name}", key=name, value=vip)


def vip_answers(config: Config) -> Iterator[Report]:
    """Say who answers for an IPv4 VIP on the link: the master, or a stranger."""
    name = config.cluster.interface
    own = ip_address(config.cluster.members[config.node.name])
    if name not in psutil.net_if_stats() or str(own) not in addresses_on(name):
        return
    for text in config.cluster.virtual_addresses:
        vip = ip_interface(text)
        if not isinstance(vip, IPv4Interface) or str(vip.ip) in addresses_on(name):
            continue
        answer = arp_answer(name, own.packed, vip.ip.packed)
        if answer is not None:
            yield report("host-vip-answers", f"{vip.ip} is answered by {answer}", key=name, value=answer)


def addresses_on(name: str) -> set[str]:
    """Return the IP addresses on an interface, without scope; empty for one that does not exist."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = psutil.net_if_addrs().get(name, [])
    return {str(ip_address(each.address.partition("%")[0])) for each in found if each.family in families}


def arp_answer(name: str, own: bytes, target: bytes) -> str | None:
    """Return the hardware address that answers an ARP request (RFC 826) for *target*, or None within half a second."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP)) as link:
            link.bind((name, ETHERTYPE_ARP))
            mac = link.getsockname()[4]
            if len(mac) != 6:  # noqa: PLR2004  only Ethernet speaks ARP with 6 byte addresses
                return None
            link.send(_request(mac, own, target))
            return _awaited(link, target)
    except OSError:
        # Without the privilege or the link there is no answer; both are reported by checks of their own.
        return None


def _request(mac: bytes, own: bytes, target: bytes) -> bytes:
    ethernet = (b"\xff" * 6, mac, ETHERTYPE_ARP)
    return _ARP.pack(*ethernet, 1, 0x0800, 6, 4, ARP_REQUEST, mac, own, bytes(6), target)


def _awaited(link: socket.socket, target: bytes) -> str | None:
    deadline = time.monotonic() + ARP_WAIT_S
    while (left := deadline - time.monotonic()) > 0:
        link.settimeout(left)
        try:
            frame = link.recv(128)
        except TimeoutError:
            return None
        if len(frame) >= FRAME_BYTES_MIN:
            fields = _ARP.unpack_from(frame)
            if fields[7] == ARP_REPLY and fields[9] == target:
                return ":".join(f"{byte:02x}" for byte in fields[8])
    return None


def _daemon_answers(config: Config) -> bool:
    client = ControlClient(Path(config.node.run_dir, "control.sock"))
    return not isinstance(client.get("/status"), Report)
