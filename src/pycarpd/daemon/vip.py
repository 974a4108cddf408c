"""Keeping the virtual addresses where the election wants them: on the interface with a short lifetime, or nowhere.

The fence opens with the addresses and closes with the lease, by the kernel's clock (see fencing.py). Behind it, as a
second belt, the addresses have a lifetime, which is the kernel's too: when this process is stopped, killed or starved
they go by themselves. They go before the lease ends, unless it is so short that the lifetime has to be longer, in whole
seconds and two at least: a ucarp host takes over three seconds after the last advert, and must not find the address on
this host still.

Announcements go out at once, after a second and then each minute, and when another hardware address has claimed one of
the addresses and this node still has it after as long as the election gives the other to be heard. One that could not
be sent is tried again soon: with a lease of a few adverts the fence may have closed for a moment, while another program
has loaded rules.
"""

import ipaddress
import logging
from collections.abc import Callable

from pycarpd.daemon.fencing import FenceKeeper
from pycarpd.linux.address import (
    Placement,
    add_address,
    list_addresses,
    place_address,
    put_address,
    remove_address,
)
from pycarpd.linux.faults import SystemFault

NS_PER_S = 1_000_000_000
RENEW_EVERY_NS = NS_PER_S // 2
SECOND_ANNOUNCEMENT_NS = NS_PER_S
ANNOUNCE_EVERY_NS = 60 * NS_PER_S
ANNOUNCE_AGAIN_NS = NS_PER_S // 50
"""After one that could not be sent; twice as long after each further one, up to SECOND_ANNOUNCEMENT_NS."""
LIFETIME_MIN_S = 2
KERNEL_LATE_NS = NS_PER_S // 2
"""How long after its lifetime the kernel may remove an address (measured, 6.18)."""
KERNEL_EARLY_NS = NS_PER_S // 10
"""How long before: it rounds to its timer's ticks."""

Announce = Callable[[str], SystemFault | None]
Log = Callable[[int, str], None]


class VipKeeper:
    """Owns the virtual addresses of one interface."""

    def __init__(
        self, interface: str, cidrs: tuple[str, ...], announce: Announce, log: Log, fence: FenceKeeper
    ) -> None:
        self._interface = interface
        self._fence = fence
        self._cidrs = cidrs
        self._addresses = tuple(str(ipaddress.ip_interface(c).ip) for c in cidrs)
        self._send_announcement = announce
        self._log = log
        self._placements: tuple[Placement, ...] = ()
        self._lease_until_ns = 0
        self._renewed_ns = 0
        self._lifetime_ends_ns = 0
        self._announce_due_ns: int | None = None
        self._answer_due_ns: int | None = None
        self._again_ns = ANNOUNCE_AGAIN_NS
        self._next_ns = SECOND_ANNOUNCEMENT_NS
        self.is_attached = False
        self.has_address = False
        """Whether the newest attempt has put at least one of the addresses: without any, nobody can be served."""

    def is_present(self) -> bool:
        """Tell whether the interface has all of the addresses, whoever put them there."""
        listed = list_addresses(self._interface)
        if not isinstance(listed, tuple):
            return False
        present = {ipaddress.ip_interface(a.cidr).ip for a in listed}
        return {ipaddress.ip_interface(c).ip for c in self._cidrs} <= present

    def next_deadline(self) -> int | None:
        """Return when ``on_time`` has something to do."""
        planned_ns, answer_ns = self._announce_due_ns, self._answer_due_ns
        if planned_ns is None or answer_ns is None:
            return planned_ns if self.is_attached else None
        return min(planned_ns, answer_ns)

    def is_safe(self, now_ns: int) -> bool:
        """Tell whether the addresses are here only with a lease, or not at all."""
        return not self.is_attached or now_ns < self._lease_until_ns

    def attach(self, now_ns: int) -> bool:
        """Put the addresses on the interface and announce them; False, with a log line, if one could not be put."""
        self.is_attached = True
        self._fence.open_until(self._lease_until_ns)
        self._again_ns, self._next_ns = ANNOUNCE_AGAIN_NS, SECOND_ANNOUNCEMENT_NS
        is_announced = self._put_prepared(now_ns)
        if is_announced:
            self._announce_and_plan(now_ns)
        is_ok = self._put(now_ns)
        if not is_announced:
            self._announce_and_plan(now_ns)
        return is_ok

    def prepare(self) -> None:
        """Have ready what the kernel is to be asked for when the addresses are to be put: clients wait for that."""
        if self._placements or self.is_attached:
            return
        placements = [place_address(self._interface, cidr) for cidr in self._cidrs]
        known = tuple(each for each in placements if isinstance(each, Placement))
        self._placements = known if len(known) == len(placements) else ()

    def forget(self) -> None:
        """Forget what was prepared: the interface, or its addresses, may be others now."""
        self._placements = ()

    def renew(self, until_ns: int, now_ns: int) -> None:
        """Let the addresses live until just before the lease ends; two seconds at least."""
        self._lease_until_ns = until_ns
        if self.is_attached:
            self._fence.open_until(until_ns)
        is_long = until_ns - now_ns > LIFETIME_MIN_S * NS_PER_S
        if self.is_attached and (is_long or now_ns - self._renewed_ns >= RENEW_EVERY_NS):
            self._put(now_ns)

    def detach(self) -> None:
        """Take the addresses off the interface, also ones that this process did not put there."""
        self.is_attached = self.has_address = False
        self._announce_due_ns = self._answer_due_ns = None
        self._fence.close()
        for cidr in self._cidrs:
            fault = remove_address(self._interface, cidr)
            if fault is not None:
                self._log(logging.ERROR, f"cannot remove virtual address cidr={cidr} fault={fault}")

    def on_time(self, now_ns: int) -> None:
        """Announce again when it is due."""
        if self.is_attached and self._announce_due_ns is not None and now_ns >= self._announce_due_ns:
            self._announce_and_plan(now_ns)
        if self.is_attached and self._answer_due_ns is not None and now_ns >= self._answer_due_ns:
            self._answer_due_ns = None
            self._announce()

    def on_removed(self, cidr: str, now_ns: int) -> None:
        """Put an address back that somebody took away while this node serves.

        One whose lifetime is over was taken away by the kernel, because the lease nears its end: if it is renewed after
        all, that puts the address back.
        """
        removed = ipaddress.ip_interface(cidr).ip
        if not self.is_attached or all(ipaddress.ip_interface(c).ip != removed for c in self._cidrs):
            return
        if now_ns >= self._lifetime_ends_ns - KERNEL_EARLY_NS:
            hint = "it comes back with the lease, when a majority or the etcd can be reached"
            text = f"virtual address has gone, its lease was not renewed in time cidr={cidr} hint={hint!r}"
            self._log(logging.WARNING, text)
        else:
            self._log(logging.WARNING, f"virtual address was removed by somebody else, putting it back cidr={cidr}")
            self.attach(now_ns)

    def announce(self, after_ns: int, now_ns: int) -> None:
        """Tell the link who owns the addresses: at once, or later, unless this node has given them up by then.

        What is asked for while an answer is due already adds none.
        """
        if not self.is_attached:
            return
        if after_ns == 0:
            self._announce()
        elif self._answer_due_ns is None:
            self._answer_due_ns = now_ns + after_ns

    def _put_prepared(self, now_ns: int) -> bool:
        """Put all addresses as it was prepared; False if that cannot be relied on. Nothing is looked at yet."""
        lifetime_s = self._lifetime_s(now_ns)
        return bool(self._placements) and not any(put_address(each, lifetime_s) for each in self._placements)

    def _lifetime_s(self, now_ns: int) -> int:
        remaining_ns = max(0, self._lease_until_ns - now_ns)
        return max(LIFETIME_MIN_S, (remaining_ns - KERNEL_LATE_NS) // NS_PER_S)

    def _put(self, now_ns: int) -> bool:
        self._renewed_ns = now_ns
        lifetime_s = self._lifetime_s(now_ns)
        self._lifetime_ends_ns = now_ns + lifetime_s * NS_PER_S
        faults = [add_address(self._interface, cidr, lifetime_s) for cidr in self._cidrs]
        for cidr, fault in zip(self._cidrs, faults, strict=True):
            if fault is not None:
                self._log(logging.ERROR, f"cannot put virtual address cidr={cidr} fault={fault}")
        self.has_address = None in faults
        return not any(faults)

    def _announce_and_plan(self, now_ns: int) -> None:
        if self._announce():
            self._announce_due_ns = now_ns + self._next_ns
            self._again_ns, self._next_ns = ANNOUNCE_AGAIN_NS, ANNOUNCE_EVERY_NS
            return
        self._announce_due_ns = now_ns + self._again_ns
        self._again_ns = min(2 * self._again_ns, SECOND_ANNOUNCEMENT_NS)

    def _announce(self) -> bool:
        """Announce each address; False, with a log line, if one could not be announced."""
        faults = [(address, self._send_announcement(address)) for address in self._addresses]
        for address, fault in faults:
            if fault is not None:
                self._log(logging.WARNING, f"cannot announce virtual address={address} fault={fault}")
        return all(fault is None for _, fault in faults)
