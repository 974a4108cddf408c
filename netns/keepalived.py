"""keepalived on hosts of the laboratory's own, to be measured beside pycarpd: VRRPv3, the same interval and VIP.

Source: keepalived.conf(5) of 2.2.7. Three missed adverts and a skew, as RFC 9568 section 6.1 has it, are what pycarpd's
profiles count as well. The first host has the best priority, and no host preempts another.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from netns.capture import Capture
from netns.commands import bound_to_parent, eventually, spawn
from netns.owner import Owner
from netns.topology import INTERFACE, VIP, VIP_CIDR, Topology
from netns.watch import Change, read_changes

_UP_WITHIN_S: Final = 30.0
_REPOSITORY: Final = Path(__file__).parents[1]
_PRIORITY_FIRST: Final = 250
_CONFIG: Final = """\
global_defs {{
    router_id {name}
    vrrp_version 3
    vrrp_garp_master_repeat 1
    {realtime}
}}
vrrp_instance lab {{
    state BACKUP
    nopreempt
    interface {interface}
    virtual_router_id 10
    priority {priority}
    advert_int {interval_s:.2f}
    virtual_ipaddress {{
        {vip} dev {interface}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Keepalived:
    """keepalived on every host of a topology, with a capture and a netlink watch as a cluster has them."""

    topology: Topology
    capture: Capture
    netlink: Path

    @classmethod
    def start(cls, owner: Owner, hosts: int, interval_ms: int, *, is_realtime: bool) -> Self:
        """Build the hosts u1.. and start keepalived on each; returns when one of them has the VIP."""
        names = tuple(f"u{number}" for number in range(1, hosts + 1))
        topology = Topology.build(owner, names)
        group = cls(topology, Capture(topology, owner, "keepalived"), owner.directory / "netlink.jsonl")
        group._watch(owner)
        for rank, name in enumerate(names):
            directory = topology.host_directory(name)
            config = directory / "keepalived.conf"
            config.write_text(
                _CONFIG.format(
                    name=name,
                    interface=INTERFACE,
                    priority=_PRIORITY_FIRST - 50 * rank,
                    interval_s=interval_ms / 1000,
                    vip=VIP_CIDR,
                    realtime="vrrp_rt_priority 10" if is_realtime else "",
                )
            )
            pids = ("--pid", str(directory / "keepalived.pid"), "--vrrp_pid", str(directory / "vrrp.pid"))
            argv = ("keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", str(config), *pids)
            owner.adopt(spawn(bound_to_parent(topology.inside(name, *argv)), directory / "keepalived.log"))
        eventually(lambda: topology.holders_of(VIP), _UP_WITHIN_S, "a keepalived has the VIP", every_s=0.2)
        return group

    def changes(self) -> list[Change]:
        """Return the address and link changes that netlink has told of so far."""
        return read_changes(self.netlink)

    def _watch(self, owner: Owner) -> None:
        pairs = [f"{self.topology.namespace(host)}={host}" for host in self.topology.hosts]
        argv = bound_to_parent([sys.executable, "-m", "netns.watch", str(self.netlink), *pairs])
        owner.adopt(spawn(argv, owner.directory / "netlink.log", cwd=_REPOSITORY))
        eventually(self.netlink.exists, _UP_WITHIN_S, "netlink is watched")
