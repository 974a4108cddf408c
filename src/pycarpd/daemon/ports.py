"""The heartbeat's sockets on its one interface: opened together, closed together, opened anew when the link is back.

An interface that is deleted and made again has another index, and everything bound to the old one is dead; so the
state of the link, as the election sees it, is "up, and the sockets are open on it".
"""

import logging
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from pycarpd.daemon.messages import QUEUE_OVERFLOW, SEND_FAILURES
from pycarpd.election.model import Role
from pycarpd.linux.advert_socket import AdvertSocket, Datagram, SendResult
from pycarpd.linux.announce import Announcer, Claim
from pycarpd.linux.bpf import AdvertShape
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.link import AddressRemoved, LinkChanged, LinkMonitor, Overrun, interface_state
from pycarpd.settings import DaemonSettings
from pycarpd.wire import carp, trailer

GROUP = "224.0.0.18"
RETRY_NS = 1_000_000_000
DRAIN_MAX = 4096
"""At most so many datagrams are taken in one round: more than the socket's 2 MiB hold, at 512 bytes or more each."""
FAILURES_MAX = 3
"""ucarp takes itself for ill after three failed sends in a row, and for well after three good ones."""

Log = Callable[[int, str], None]


class Ports:
    """The advert socket, the announcer and the link monitor, with the state of the link."""

    def __init__(self, settings: DaemonSettings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._advert_socket: AdvertSocket | None = None
        self._index = 0
        self._said_fault = ""
        self._streak = 0
        self._announcer = Announcer(settings.interface)
        self.monitor = LinkMonitor()
        self.is_up = False
        self.is_failing = False
        self.opened = 0
        """How often the sockets were opened; their descriptors' numbers may be the same each time."""
        self.retry_ns: int | None = None
        others = (m for m in settings.election.members if m.node_id != settings.election.node_id)
        addresses = tuple(m.address for m in others)
        self._members = tuple(str(ip_address(address)) for address in addresses)
        # Beside ucarp an advert may come from anywhere, and without a trailer.
        self._shape = _shape_of(addresses) if settings.election.strict and addresses else None
        self._told_overflows = 0
        self._send_failures = 0

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors to wait on; they change when ``refresh`` has opened the sockets anew."""
        adverts = () if self._advert_socket is None else (self._advert_socket.fileno(),)
        return (*self.link_filenos(), *adverts)

    def link_filenos(self) -> tuple[int, ...]:
        """Return those of them that tell of the link, its addresses and who claims them."""
        own = (self.monitor.fileno(),)
        return own if self._advert_socket is None else (*own, self._announcer.fileno())

    def refresh(self, now_ns: int) -> bool:
        """Look at the interface, open what has to be opened; True if the state of the link or a socket changed."""
        state = interface_state(self._settings.interface)
        was = (self.is_up, self._index)
        if state.fault is not None:
            self._log(logging.ERROR, f"cannot look at the interface, trying again fault={state.fault}")
            self.retry_ns = now_ns + RETRY_NS
        elif not state.exists or not state.is_up:
            self.is_up = False
            self.retry_ns = None
        elif self._advert_socket is None or state.index != self._index or self.retry_ns is not None:
            self._reopen(state.index, now_ns)
        elif not self.is_up:
            self.is_up = self._advert_socket.rejoin() is None
            self.retry_ns = None if self.is_up else now_ns + RETRY_NS
        return was != (self.is_up, self._index)

    def _reopen(self, index: int, now_ns: int) -> None:
        self._close()
        settings = self._settings
        advert_socket = AdvertSocket(settings.interface, settings.own_address, GROUP, settings.vhid, self._shape)
        self._announcer = Announcer(settings.interface)
        fault = advert_socket.open() or self._announcer.open()
        if fault is not None:
            if str(fault) != self._said_fault:
                self._log(logging.ERROR, f"cannot open sockets, trying again each second fault={fault}")
            self._said_fault = str(fault)
            advert_socket.close()
            self.is_up = False
            self.retry_ns = now_ns + RETRY_NS
            return
        self._advert_socket = advert_socket
        self._index = index
        self.opened += 1
        self._said_fault = ""
        self.is_up = True
        self.retry_ns = None

    def _close(self) -> None:
        if self._advert_socket is not None:
            self._advert_socket.close()
            self._advert_socket = None
        self._announcer.close()

    def datagrams(self) -> Iterator[Datagram]:
        """Yield what has been received, until there is no more or DRAIN_MAX were taken."""
        for _ in range(DRAIN_MAX):
            datagram = self._advert_socket.receive() if self._advert_socket is not None else None
            if datagram is None:
                return
            yield datagram

    def counters(self) -> tuple[tuple[str, int], ...]:
        """Return what is told of the sockets beside the verdicts on what they hear."""
        return ((QUEUE_OVERFLOW, self.overflow_count), (SEND_FAILURES, self._send_failures))

    @property
    def overflow_count(self) -> int:
        """Return how many datagrams the kernel has dropped for want of room since the socket was opened."""
        return self._advert_socket.overflow_count if self._advert_socket is not None else 0

    def has_lost_datagrams(self) -> bool:
        """Tell whether the kernel has dropped datagrams for want of room since this was last asked."""
        is_news = self.overflow_count not in (0, self._told_overflows)
        self._told_overflows = self.overflow_count
        return is_news

    def send(self, payload: bytes, role: Role) -> bool:
        """Send an advert to whom it concerns; True if sending has begun to fail, or works again, for good.

        ucarp takes every multicast advert for a claim, so where ucarp hosts may listen a report goes to the members
        one by one.
        """
        if self._advert_socket is None:
            return False
        is_multicast = not self._settings.unicast and (role.claims or self._settings.election.strict)
        is_sent = True
        for destination in (GROUP,) if is_multicast else self._members:
            is_sent = self._advert_socket.send(payload, destination) is SendResult.SENT and is_sent
        return self._count(is_sent)

    def send_to_group(self, payload: bytes) -> None:
        """Send to the group whatever the role is: a resignation concerns ucarp hosts too."""
        if self._advert_socket is not None and not self._settings.unicast:
            self._advert_socket.send(payload, GROUP)

    def _count(self, is_sent: bool) -> bool:
        self._send_failures += not is_sent
        self._streak = self._streak + 1 if is_sent == self.is_failing else 0
        if self._streak < FAILURES_MAX:
            return False
        self._streak = 0
        self.is_failing = not self.is_failing
        self._log(logging.WARNING, f"sending adverts failing={self.is_failing}")
        return True

    def removed_addresses(self) -> tuple[tuple[str, ...], bool]:
        """Read the link monitor: addresses removed from the interface, and whether the link must be looked at."""
        removed: list[str] = []
        is_link_news = False
        for change in self.monitor.read():
            match change:
                case AddressRemoved(interface=interface, cidr=cidr) if interface == self._settings.interface:
                    removed.append(cidr)
                case LinkChanged(interface=interface):
                    is_link_news = is_link_news or interface == self._settings.interface
                case Overrun():
                    is_link_news = True
                case _:
                    pass
        return tuple(removed), is_link_news

    def announce(self, address: str) -> SystemFault | None:
        """Announce the address once; with the interface away there is nobody to tell."""
        return self._announcer.announce(address) if self._advert_socket is not None else None

    def claims(self) -> tuple[Claim, ...]:
        """Return the claims of addresses by other hardware addresses since the last call."""
        return tuple(self._announcer.read_claims()) if self._advert_socket is not None else ()


def _shape_of(sources: tuple[bytes, ...]) -> AdvertShape:
    """Return what the members' adverts look like to the kernel: a CARP header, then a trailer as long as it says."""
    return AdvertShape(
        sources=sources,
        shortest=trailer.SHORTEST,
        mark_at=carp.CARP_LENGTH,
        mark=trailer.MAGIC,
        length_at=carp.CARP_LENGTH + trailer.LENGTH_AT,
        length_from=carp.CARP_LENGTH,
    )
