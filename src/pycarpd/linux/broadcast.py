"""Adverts in broadcast frames, for networks that pass no multicast (ucarp's ``--nomcast``).

Only the Ethernet destination differs: the IP destination stays the group, which is what every CARP host looks at. A
raw IP socket cannot send such a frame, so header and frame are made here.
"""

import fcntl
import socket
import struct
from typing import Final

from pycarpd.linux.checksum import internet_checksum
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.frames import BROADCAST

_ETHERTYPE_IP: Final = 0x0800
_SIOCGIFHWADDR: Final = 0x8927
_IP: Final = struct.Struct(">BBHHHBBH4s4s")
_DONT_FRAGMENT: Final = 0x4000
_LOW_DELAY: Final = 0x10
_TTL: Final = 255
_CARP_PROTOCOL: Final = 112


def advert_frame(mac: bytes, source: str, group: str, payload: bytes) -> bytes:
    """Return the Ethernet frame of an advert to everybody, with the IP header that ucarp gives it."""
    ends = (socket.inet_aton(source), socket.inet_aton(group))
    head = (0x45, _LOW_DELAY, _IP.size + len(payload), 0, _DONT_FRAGMENT, _TTL, _CARP_PROTOCOL)
    header = _IP.pack(*head, internet_checksum(_IP.pack(*head, 0, *ends)), *ends)
    return BROADCAST + mac + _ETHERTYPE_IP.to_bytes(2, "big") + header + payload


class BroadcastSender:
    """Sends adverts in broadcast frames from one interface."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)

    def send(self, payload: bytes, source: str, group: str) -> SystemFault | None:
        """Send one advert; never waits."""
        try:
            request = struct.pack("16s24x", self._interface.encode())
            mac = fcntl.ioctl(self._socket, _SIOCGIFHWADDR, request)[18:24]
            self._socket.sendto(advert_frame(mac, source, group, payload), (self._interface, _ETHERTYPE_IP))
        except OSError as error:
            return SystemFault.of(f"broadcast an advert on {self._interface}", error)
        return None

    def close(self) -> None:
        """Give the socket back; idempotent."""
        self._socket.close()
