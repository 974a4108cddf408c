"""Telling the network where the VIP lives, and hearing when another host says otherwise.

Works on one interface with its present MAC address, which is looked at for every announcement: a bond or an operator
may have changed it. Claims are heard of the IPv4 addresses that were announced; IPv6 does not use ARP.
"""

import fcntl
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from pycarpd.invariant import InvariantError
from pycarpd.linux.bpf import arp_sender_filter, attach_filter
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.frames import ETHERTYPE_ARP, ETHERTYPE_IPV6, garp_reply, garp_request, unsolicited_na
from pycarpd.linux.netlink import interface_index

_SIOCGIFHWADDR = 0x8927
_FRAME_BYTES_MAX = 128
_CLAIMS_MAX = 64
"""Frames per read_claims(); what is left keeps the descriptor readable."""
_VIPS_MAX = 64
"""Addresses listened for, the newest; the filter's jumps reach 255 instructions."""
_IPV6 = 6


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody else's ARP message with a VIP of ours as its sender address."""

    vip: str
    mac: bytes


class Announcer:
    """Sends GARP and neighbour advertisements on one interface, and hears who else claims what it has announced.

    ``receive_error_count`` counts errors while listening.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._announced: tuple[bytes, ...] = ()
        self._socket: socket.socket | None = None
        self.receive_error_count = 0

    def open(self) -> SystemFault | None:
        """Open the packet socket on the interface as it exists now, closing an earlier one.

        To be called again when the interface was deleted and made again; the descriptor changes.
        """
        self.close()
        try:
            interface_index(self._interface)
            # Without a protocol nothing is received yet, so no frame passes before the filter stands.
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
            )
            attach_filter(self._socket, arp_sender_filter(self._announced))
            self._socket.bind((self._interface, ETHERTYPE_ARP))
        except OSError as error:
            self.close()
            return SystemFault.of(f"open the ARP socket on {self._interface}", error)
        return None

    def fileno(self) -> int:
        """Return the descriptor to wait on: readable when there may be a claim."""
        return self._opened().fileno()

    def announce(self, vip: str) -> SystemFault | None:
        """Say once that *vip* is here: a GARP request and a GARP reply, or a neighbour advertisement for IPv6."""
        channel = self._opened()
        try:
            mac = self._mac(channel)
            if ip_address(vip).version == _IPV6:
                channel.sendto(unsolicited_na(mac, vip), (self._interface, ETHERTYPE_IPV6))
                return None
            # The reply asks nobody for an answer; who answers the request is to be heard.
            channel.sendto(garp_reply(mac, vip), (self._interface, ETHERTYPE_ARP))
            self._listen_for(channel, ip_address(vip).packed)
            channel.sendto(garp_request(mac, vip), (self._interface, ETHERTYPE_ARP))
        except OSError as error:
            return SystemFault.of(f"announce {vip} on {self._interface}", error)
        return None

    def read_claims(self) -> list[Claim]:
        """Return the claims heard since the last call, oldest first, never waiting."""
        channel = self._opened()
        claims: list[Claim] = []
        try:
            own_mac = self._mac(channel)
            for _ in range(_CLAIMS_MAX):
                frame = channel.recv(_FRAME_BYTES_MAX)
                if frame[22:28] != own_mac:
                    claims.append(Claim(socket.inet_ntoa(frame[28:32]), frame[22:28]))
        except BlockingIOError:
            return claims
        except OSError:
            # The interface went down or away; the kernel says so once, and the link monitor tells the story.
            self.receive_error_count += 1
        return claims

    def close(self) -> None:
        """Give the socket back; idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _opened(self) -> socket.socket:
        """Return the socket; using it before open() succeeded is a bug."""
        if self._socket is None:
            raise InvariantError("the announcer is not open")
        return self._socket

    def _listen_for(self, channel: socket.socket, vip: bytes) -> None:
        """Let the kernel pass claims of *vip* too, from its first announcement on."""
        if vip not in self._announced:
            self._announced = (*self._announced, vip)[-_VIPS_MAX:]
            attach_filter(channel, arp_sender_filter(self._announced))

    def _mac(self, channel: socket.socket) -> bytes:
        """Return the interface's present MAC address; raises OSError when the interface is gone."""
        # open() has found the interface by this very name, so it is not too long to be asked for.
        request = struct.pack("16s24x", self._interface.encode())
        return fcntl.ioctl(channel, _SIOCGIFHWADDR, request)[18:24]
