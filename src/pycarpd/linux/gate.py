"""The gate before mfsmaster's ports: while it is closed, TCP packets to VIP:port are dropped, not refused.

A client that is dropped tries again by itself and finds the port open; one that is refused, or let in before the
chunkservers are back, meets errors. Of the ports that are *held* only the opening of new connections (SYN) is dropped:
what belongs to an old connection reaches the kernel, which resets it. The gate is an nftables table of its own, and its
entries have a timeout: a gate that nobody opens opens itself, so a dead worker cannot keep clients out.
"""

import errno
import socket
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from pycarpd.invariant import invariant
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.netlink import NLM_F_DUMP, exchange
from pycarpd.linux.nftables import (
    AddressSet,
    Comparison,
    Family,
    Hook,
    KeyType,
    Meta,
    batch,
    compare,
    delete_table,
    drop,
    flush_set,
    has_elements,
    if_in,
    list_elements,
    load_meta,
    load_network,
    load_transport,
    masked,
    new_chain,
    new_element,
    new_rule,
    new_set,
    new_table,
)
from pycarpd.linux.transaction import NETLINK_NETFILTER, Transactions

_OPEN_AFTER_S_MAX = 600
LONGER_S_MAX = 86_400
"""A day of loading; a bound on what a mistaken caller can do."""
_MS_PER_S = 1000
_INPUT = 1
_PRIORITY = -10
"""Before the host's own filter tables."""
_NFPROTO = {4: b"\x02", 6: b"\x0a"}
_DESTINATION = {4: load_network(16, 4), 6: load_network(24, 16)}
_TCP = bytes([socket.IPPROTO_TCP])
_DESTINATION_PORT = load_transport(2, 2)
_TCP_FLAGS = load_transport(13, 1)
_SYN = b"\x02"
_SYN_ACK = b"\x12"
_NO_SUPPORT = frozenset({errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT})


class GateFaultCode(Enum):
    """Why the gate did not move."""

    UNAVAILABLE = "the kernel has no nf_tables"
    REFUSED = "the kernel refused the rules"


@dataclass(frozen=True, slots=True)
class GateFault:
    """The gate is where it was; a takeover goes on without it, with a few more errors seen by clients."""

    code: GateFaultCode
    detail: str


class ClientGate:
    """Closes and opens TCP ports of one VIP: *port* for everything, *held_ports* for new connections only.

    Every verb is idempotent and takes well below a millisecond; remove() does not.
    """

    def __init__(self, vip: str, port: int, open_after_s: int = 10, held_ports: tuple[int, ...] = ()) -> None:
        for each in (port, *held_ports):
            invariant(0 < each <= 65535, f"TCP port {each}")  # noqa: PLR2004 -- 16 bits on the wire
        invariant(0 < open_after_s <= _OPEN_AFTER_S_MAX, f"a gate closed for {open_after_s} s")
        self._vip = ip_address(vip)
        self._port = port
        self._held_ports = held_ports
        self._timeout_ms = open_after_s * _MS_PER_S
        self._kernel = Transactions()
        self._table = f"pycarpd_gate_{self._vip.packed.hex()}_{port}"
        self._closed = AddressSet(Family.INET, self._table, "closed", KeyType.PORT)
        self._held = AddressSet(Family.INET, self._table, "held", KeyType.PORT)

    def close(self) -> GateFault | None:
        """Drop what comes for the client port, for ``open_after_s`` seconds from now at most."""
        return self._close((), self._timeout_ms)

    def keep_out(self, longer_s: int) -> GateFault | None:
        """Drop that, and new connections to the held ports, for up to ``open_after_s`` and *longer_s* seconds."""
        return self._close(self._held_ports, self._timeout_ms + min(longer_s, LONGER_S_MAX) * _MS_PER_S)

    def _close(self, held_ports: tuple[int, ...], timeout_ms: int) -> GateFault | None:
        entries = [(self._closed, self._port), *((self._held, port) for port in held_ports)]
        elements = [new_element(ports, port.to_bytes(2), timeout_ms) for ports, port in entries]
        # Made and deleted first, so that a left-over table is replaced in the same transaction.
        return _as_gate_fault(
            self._kernel.transact(batch([*self._removal(), *self._rules(), *elements]), "close the gate")
        )

    def release(self) -> GateFault | None:
        """Let new connections to the held ports in; the client port stays closed. No gate at all is success."""
        fault = self._kernel.transact(batch([flush_set(self._held)]), "release the gate")
        return None if fault is None or fault.errno == errno.ENOENT else _as_gate_fault(fault)

    def open(self) -> GateFault | None:
        """Let everybody in again. The empty table stays: packets pass it quickly, and to free it takes a while."""
        fault = self._kernel.transact(batch([flush_set(self._closed), flush_set(self._held)]), "open the gate")
        return None if fault is None or fault.errno == errno.ENOENT else _as_gate_fault(fault)

    def remove(self) -> GateFault | None:
        """Let everybody in and leave no table behind; unlike the other verbs it may take tens of milliseconds."""
        fault = self._kernel.transact(batch(self._removal()), "remove the gate")
        self._kernel.close()
        return _as_gate_fault(fault)

    def is_closed(self) -> bool | GateFault:
        """Say whether packets for the client port are being dropped now."""
        answer = exchange(list_elements(self._closed), NLM_F_DUMP, "look at the gate", NETLINK_NETFILTER)
        if not isinstance(answer, SystemFault):
            return any(has_elements(message.data) for message in answer)
        return False if answer.errno == errno.ENOENT else GateFault(_code_of(answer), str(answer))

    def _removal(self) -> list[bytes]:
        return [new_table(Family.INET, self._table), delete_table(Family.INET, self._table)]

    def _rules(self) -> list[bytes]:
        version = self._vip.version
        to_vip = (
            load_meta(Meta.NFPROTO),
            compare(Comparison.EQUAL, _NFPROTO[version]),
            _DESTINATION[version],
            compare(Comparison.EQUAL, self._vip.packed),
            load_meta(Meta.L4PROTO),
            compare(Comparison.EQUAL, _TCP),
            _DESTINATION_PORT,
        )
        opens = (_TCP_FLAGS, masked(_SYN_ACK), compare(Comparison.EQUAL, _SYN))
        return [
            new_table(Family.INET, self._table),
            new_set(self._closed, 1),
            new_set(self._held, 2),
            new_chain(Family.INET, self._table, "input", Hook(_INPUT, _PRIORITY)),
            new_rule(Family.INET, self._table, "input", (*to_vip, if_in(self._closed.name), drop())),
            new_rule(Family.INET, self._table, "input", (*to_vip, if_in(self._held.name), *opens, drop())),
        ]


def _as_gate_fault(fault: SystemFault | None) -> GateFault | None:
    return None if fault is None else GateFault(_code_of(fault), str(fault))


def _code_of(fault: SystemFault) -> GateFaultCode:
    return GateFaultCode.UNAVAILABLE if fault.errno in _NO_SUPPORT else GateFaultCode.REFUSED
