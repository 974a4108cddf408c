"""The fence around the VIPs: the kernel lets their traffic through for as long as it was last told to, and no longer.

A lease that only a process honours is worth nothing when that process is stopped, starved or dead. So the fence opens
for a time: what it lets through is an element of an nf_tables set with a timeout, looked up for each packet that
concerns a VIP (fence_rules.py says which). When nobody renews it, the element stops matching at its timeout, whether
or not the kernel has collected it by then. That holds while the machine runs: the kernel counts the time in ticks,
which stand still during a suspend.
"""

import errno
import socket
from ipaddress import ip_address

from pycarpd.invariant import invariant
from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.fence_rules import FenceRules
from pycarpd.linux.netlink import NLM_F_DUMP, NLMSG_ERROR, exchange, fault_of, open_channel, split
from pycarpd.linux.nftables import TIMEOUT, TableFlag, batch, has_elements, list_elements, timeout_places
from pycarpd.linux.realtime import Degradation

TIMEOUT_MIN_MS = 20
"""Two ticks of the slowest kernel. Zero means for ever, and an old kernel may round a shorter timeout down to that."""
TIMEOUT_MAX_MS = 600_000
"""No lease is so long; a bound on what a mistaken caller can do."""
LATE_MAX_MS = 5
"""How late a renewal may be done without being done again; what the kernel's rounding takes off is about as much."""
NS_PER_MS = 1_000_000

_NETLINK_NETFILTER = 12
_OWNED = TableFlag.OWNER | TableFlag.PERSIST
"""Others' "flush ruleset" passes such a table by, and it stays when its owner dies."""
_RENEWALS_MAX = 3
"""The second is as late as the first was, unless the machine gets worse while we look."""
_ANSWERS_MAX = 256
"""More than a batch has messages, and so answers."""
_ANSWER_BYTES_MAX = 4096
_ALWAYS_THERE = "lo"


class Fence:
    """Fences *vips* (addresses without a prefix length) on this host, and on frames that leave by *interface*.

    To be installed before anything else, from then on closed until it is renewed. Every verb is idempotent and returns
    what the kernel had against it; ENOENT from a renewal means that somebody has taken the tables away, so that nothing
    is fenced: install again. No verb waits for anything but the kernel's own work, for a renewal some tens of
    microseconds, unless another program is just then loading rules: transactions are done one after the other
    (measured: up to 70 ms beside one that loads 5000 rules again and again).

    While the fence is closed, a program that sends from a VIP is told EPERM, one that sends such frames by a packet
    socket ENOBUFS.
    """

    def __init__(self, interface: str, vips: tuple[str, ...]) -> None:
        invariant(bool(vips), "a fence around no address")
        parsed = tuple(dict.fromkeys(ip_address(vip) for vip in vips))
        self._interface = interface
        self._rules = FenceRules(f"pycarpd_fence_{parsed[0].packed.hex()}", parsed)
        opening = self._rules.opening(TIMEOUT_MIN_MS)
        # Laid out once; a renewal only writes the timeouts into it.
        self._opening = bytearray(batch(opening))
        self._timeouts = timeout_places(opening)
        self._closing = batch(self._rules.closing())
        self._answer = bytearray(_ANSWER_BYTES_MAX)
        self._channel: socket.socket | None = None

    def install(self) -> SystemFault | None:
        """Make the tables, closed, in the place of what an earlier process has left.

        To be called again when the interface was deleted and made again: the kernel forgets what hangs on an
        interface with it (before Linux 6.16), while the rules for the whole host stay. A fault whose operation begins
        with "watch" (ENOENT: the interface is away; EOPNOTSUPP: Linux before 5.16) leaves the whole host fenced, but
        for frames that are made by hand; after any other fault there is no fence, or the one there was.
        """
        operation = f"fence the virtual addresses of {self._interface}"
        fault = self._commit(batch(self._rules.installation(_OWNED)), operation)
        if fault is not None and fault.errno == errno.EOPNOTSUPP:
            fault = self._commit(batch(self._rules.installation(0)), operation)
        if fault is not None:
            return fault
        return self._commit(batch(self._rules.egress(self._interface)), f"watch frames that leave by {self._interface}")

    def renew(self, timeout_ms: int) -> SystemFault | None:
        """Let the VIPs' traffic through for *timeout_ms* from now, whether it passed before or not.

        A caller that knows a deadline had better use renew_until(): nobody knows how long ago its "now" was.
        """
        return self.renew_until(boottime_ns() + timeout_ms * NS_PER_MS)

    def renew_until(self, deadline_ns: int) -> SystemFault | None:
        """Let the VIPs' traffic through until *deadline_ns* (CLOCK_BOOTTIME), whether it passed before or not.

        The kernel counts from when it does the transaction, and rounds down to its ticks (1 to 10 ms). One that it did
        late, as the process was stopped on its way or another program was loading rules, is done again for what is
        left then; if it stays late, the fence is closed, with ETIMEDOUT. So it closes at most LATE_MAX_MS after the
        deadline. With less than TIMEOUT_MIN_MS to go it is closed at once.
        """
        expected_ns = 0
        for _ in range(_RENEWALS_MAX):
            began_ns = boottime_ns()
            timeout_ms = (deadline_ns - began_ns - expected_ns) // NS_PER_MS
            if timeout_ms < TIMEOUT_MIN_MS:
                return self.close()
            fault = self._open(timeout_ms)
            taken_ns = boottime_ns() - began_ns
            if fault is not None or taken_ns - expected_ns <= LATE_MAX_MS * NS_PER_MS:
                return fault
            expected_ns = taken_ns
        return self.close() or SystemFault.numbered("open the fence", errno.ETIMEDOUT, "the kernel was late each time")

    def close(self) -> SystemFault | None:
        """Stop the VIPs' traffic now."""
        return self._commit(self._closing, "close the fence")

    def remove(self) -> SystemFault | None:
        """Take the tables away, and with them all fencing; only when the VIPs are off this host."""
        fault = self._commit(batch(self._rules.removal()), "remove the fence")
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        return fault

    def is_open(self) -> bool | SystemFault:
        """Say whether any of the VIPs' traffic passes now; ENOENT: there is no fence."""
        for addresses in self._rules.sets():
            question = list_elements(addresses)
            answer = exchange(question, NLM_F_DUMP, "look at the fence", _NETLINK_NETFILTER)
            if isinstance(answer, SystemFault):
                return answer
            if any(has_elements(message.data) for message in answer):
                return True
        return False

    def is_available(self) -> Degradation | None:
        """Have the kernel check the fence's rules without keeping them; None when it would take them all."""
        host = self._rules.installation(0)
        fault = self._rehearse(host)
        if fault is not None:
            return _unavailable(fault)
        fault = self._rehearse([*host, *self._rules.egress(_ALWAYS_THERE)])
        if fault is None:
            return None
        return Degradation(
            "fence-without-egress",
            f"frames that are made by hand in a virtual address's name are not fenced ({fault})",
            "run Linux 5.16 or later with CONFIG_NETFILTER_EGRESS",
        )

    def _open(self, timeout_ms: int) -> SystemFault | None:
        invariant(timeout_ms <= TIMEOUT_MAX_MS, f"a fence open for {timeout_ms} ms")
        for place in self._timeouts:
            TIMEOUT.pack_into(self._opening, place, timeout_ms)
        return self._commit(self._opening, "open the fence")

    def _rehearse(self, messages: list[bytes]) -> SystemFault | None:
        try:
            with open_channel(_NETLINK_NETFILTER) as channel:
                channel.send(batch(messages, is_rehearsal=True))
                return self._answered(channel, "try the fence")
        except OSError as error:
            return SystemFault.of("try the fence", error)

    def _commit(self, encoded: bytes | bytearray, operation: str) -> SystemFault | None:
        """Have the kernel do one batch; the socket is kept, as it owns the tables."""
        try:
            if self._channel is None:
                self._channel = open_channel(_NETLINK_NETFILTER)
            self._channel.send(encoded)
            return self._answered(self._channel, operation)
        except OSError as error:
            return SystemFault.of(operation, error)

    def _answered(self, channel: socket.socket, operation: str) -> SystemFault | None:
        """Read all answers, which are there already; return the first fault, None for an acknowledgement alone."""
        verdicts: list[SystemFault | None] = []
        while len(verdicts) < _ANSWERS_MAX:
            try:
                length = channel.recv_into(self._answer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            answer = split(bytes(self._answer[:length]))
            verdicts += [fault_of(message, operation) for message in answer if message.kind == NLMSG_ERROR]
        if not verdicts:
            return SystemFault.numbered(operation, errno.EPROTO, "the kernel did not answer")
        return next((fault for fault in verdicts if fault is not None), None)


def _unavailable(fault: SystemFault) -> Degradation:
    """Say why there can be no fence at all, and what to do."""
    detail = f"nothing but the address's lifetime stops a master that was stopped or starved ({fault})"
    if fault.errno in (errno.EPERM, errno.EACCES):
        return Degradation("fence-not-permitted", detail, "grant CAP_NET_ADMIN")
    return Degradation("fence-missing", detail, "load the nf_tables module, or run a kernel with CONFIG_NF_TABLES_INET")
