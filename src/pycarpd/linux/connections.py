"""The TCP connections that this host's services have now, as the kernel's sock_diag(7) tells them."""

import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from pycarpd.linux.faults import SystemFault
from pycarpd.linux.netlink import NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, exchange

CONNECTIONS_MAX = 1024
"""More than any one advert can carry; what is beyond is left out."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_ESTABLISHED = 1 << 1
_REQUEST = struct.Struct("=IHHII BBBxI")
_SOCKET_ID = struct.Struct(">HH16s16s4x8x")
_QUEUES = struct.Struct("=II")
_SOCKET_ID_OFFSET = 20
"""Of inet_diag_msg's socket id: after the netlink header and four bytes."""
_QUEUES_OFFSET = _SOCKET_ID_OFFSET + _SOCKET_ID.size + 4
"""Of its receive and send queues: after the socket id and a timer."""


class TcpPeer(NamedTuple):
    """The far end of an established connection: packed IPv4 address and port, and the local service's port."""

    address: bytes
    port: int
    service_port: int


def list_connections(
    service_ports: Sequence[int], local_address: str | None = None
) -> tuple[TcpPeer, ...] | SystemFault:
    """Return the established IPv4 connections to *service_ports* of this host, those of the first port first.

    Of each port in the order of their addresses; where there are more than CONNECTIONS_MAX the last are left out. With
    *local_address* only those that were made to that address, such as the VIP.
    """
    wanted = socket.inet_aton(local_address) if local_address is not None else None
    found: list[TcpPeer] = []
    for port in service_ports:
        answer = exchange(_question(port), NLM_F_DUMP, "list connections", _NETLINK_SOCK_DIAG)
        if isinstance(answer, SystemFault):
            return answer
        found += sorted({peer for local, peer in map(_peer, answer) if wanted in (None, local)})
    return tuple(found[:CONNECTIONS_MAX])


class QueuedBytes(NamedTuple):
    """What lies in the queues of a service's connections: not read by the service, not acknowledged by its peers."""

    unread: int
    unsent: int


def queued_bytes(service_port: int) -> QueuedBytes | SystemFault:
    """Return what is queued in all established IPv4 connections to that port of this host."""
    answer = exchange(_question(service_port), NLM_F_DUMP, "look at queues", _NETLINK_SOCK_DIAG)
    if isinstance(answer, SystemFault):
        return answer
    queues = [_QUEUES.unpack_from(message.data, _QUEUES_OFFSET) for message in answer]
    return QueuedBytes(sum(unread for unread, _ in queues), sum(unsent for _, unsent in queues))


def _question(port: int) -> bytes:
    """Return the request for every established IPv4 connection whose local port is *port*."""
    socket_id = _SOCKET_ID.pack(port, 0, b"", b"")
    header = _REQUEST.pack(
        _REQUEST.size + len(socket_id),
        _SOCK_DIAG_BY_FAMILY,
        NLM_F_REQUEST | NLM_F_DUMP,
        1,
        0,
        socket.AF_INET,
        socket.IPPROTO_TCP,
        0,
        _ESTABLISHED,
    )
    return header + socket_id


def _peer(message: NetlinkMessage) -> tuple[bytes, TcpPeer]:
    """Return the local address and the peer that one answer speaks of."""
    local_port, port, local, remote = _SOCKET_ID.unpack_from(message.data, _SOCKET_ID_OFFSET)
    return local[:4], TcpPeer(remote[:4], port, local_port)
