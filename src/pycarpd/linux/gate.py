"""The gate before the client port: while it is closed, TCP packets to VIP:port are dropped, not refused.

A client that is dropped tries again by itself and finds the port open; one that is refused, or let in before the
chunkservers are back, meets errors. The gate is an nftables table of its own, and its one entry has a timeout: a
gate that nobody opens opens itself, so a dead worker cannot keep clients out.
"""

from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from pycarpd.invariant import invariant
from pycarpd.linux.process import Completed, run

_NFT_TIMEOUT_S = 5.0
_OPEN_AFTER_S_MAX = 600
_NO_SUCH_TABLE = b"No such file or directory"
_PRIORITY = -10
"""Before the host's own filter tables."""


class GateFaultCode(Enum):
    """Why the gate did not move."""

    NFT_MISSING = "nft is not installed"
    NFT_TIMED_OUT = "nft did not answer in time"
    REFUSED = "the kernel or nft refused the rules"


@dataclass(frozen=True, slots=True)
class GateFault:
    """The gate is where it was; a takeover goes on without it, with a few more errors seen by clients."""

    code: GateFaultCode
    detail: str


class ClientGate:
    """Closes and opens one TCP port of one VIP. Every verb is idempotent and takes a few milliseconds."""

    def __init__(self, vip: str, port: int, open_after_s: int = 10) -> None:
        invariant(0 < port <= 65535, f"TCP port {port}")  # noqa: PLR2004 -- 16 bits on the wire
        invariant(0 < open_after_s <= _OPEN_AFTER_S_MAX, f"a gate closed for {open_after_s} s")
        address = ip_address(vip)
        self._match = f"{'ip' if address.version == 4 else 'ip6'} daddr {address}"  # noqa: PLR2004
        self._port = port
        self._open_after_s = open_after_s
        self._table = f"pycarpd_gate_{address.packed.hex()}_{port}"

    def close(self) -> GateFault | None:
        """Drop what comes for the port, for ``open_after_s`` seconds from now at most."""
        # Added and deleted first, so that a left-over table is replaced in the same transaction.
        return _fault_of(
            _nft(
                f"""add table inet {self._table}
delete table inet {self._table}
table inet {self._table} {{
  set closed {{ type inet_service; flags timeout; elements = {{ {self._port} timeout {self._open_after_s}s }}; }}
  chain input {{
    type filter hook input priority {_PRIORITY}; policy accept;
    {self._match} tcp dport @closed drop
  }}
}}
"""
            )
        )

    def open(self) -> GateFault | None:
        """Let everybody in again; leaves no table behind."""
        return _fault_of(_nft(f"add table inet {self._table}\ndelete table inet {self._table}\n"))

    def is_closed(self) -> bool | GateFault:
        """Say whether packets are being dropped now."""
        listed = _nft(f"list table inet {self._table}\n")
        if listed.exit_status == 1 and _NO_SUCH_TABLE in listed.stderr:
            return False
        return _fault_of(listed) or b"elements" in listed.stdout


def _nft(rules: str) -> Completed:
    """Have nft apply *rules* as one transaction."""
    return run(("nft", "-f", "-"), _NFT_TIMEOUT_S, stdin=rules.encode())


def _fault_of(completed: Completed) -> GateFault | None:
    """Return what went wrong, None when nothing did."""
    if completed.is_success:
        return None
    if completed.fault is not None:
        return GateFault(GateFaultCode.NFT_MISSING, str(completed.fault))
    if completed.timed_out:
        return GateFault(GateFaultCode.NFT_TIMED_OUT, f"no answer within {_NFT_TIMEOUT_S} s")
    return GateFault(GateFaultCode.REFUSED, completed.stderr.decode(errors="replace").strip())
