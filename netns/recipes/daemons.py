"""ucarp and keepalived on the laboratory's hosts, as their users set them up."""

import signal
from pathlib import Path
from typing import Final

from netns.commands import spawn
from netns.moosefs import MooseFS
from netns.owner import Owner
from netns.topology import INTERFACE, VIP, VIP_CIDR, Topology

_HERE: Final = Path(__file__).parent
PRIORITIES: Final = (200, 150, 50)
"""By rank; keepalived and pycarpd mean the same by a priority."""
_SKEWS: Final = (0, 10, 100)
_GROUP_WORD: Final = "recipe"
"""The group exists for seconds, in a network of its own."""
_REAL_TIME_BELOW_S: Final = 0.1
"""Where keepalived's manual advises it."""
_UP: Final = _HERE / "vip-up.sh"
_DOWN: Final = _HERE / "vip-down.sh"


class Ucarp:
    """ucarp at its defaults (adverts each second, three missed) with the recipe's scripts."""

    name: Final = "ucarp"

    def __init__(self, topology: Topology, owner: Owner, moosefs: MooseFS) -> None:
        self._topology = topology
        self._owner = owner
        self._moosefs = moosefs

    def start(self, host: str, rank: int) -> None:
        """Start ucarp on a host; *rank* 0 is preferred."""
        etc = str(self._moosefs.etc(host))
        argv = (
            *("ucarp", "-i", INTERFACE, "-s", self._topology.hosts[host].address, "-v", "10", "-p", _GROUP_WORD),
            *("-a", VIP, "-k", str(_SKEWS[rank]), "-n", "-f", "none", "-x", etc, "-u", str(_UP), "-d", str(_DOWN)),
        )
        self._owner.adopt(spawn(self._topology.inside(host, *argv), self._moosefs.log(host, "ucarp")))

    def stop(self, host: str) -> None:
        """End ucarp on a host at once, without its scripts."""
        _kill(self._topology, host, ("ucarp", "vip-up.sh", "vip-down.sh"))


class Keepalived:
    """keepalived (VRRPv3) with the recipe's script.

    Without a script it is the election alone: no MooseFS is touched.
    """

    def __init__(
        self, topology: Topology, owner: Owner, moosefs: MooseFS, interval_s: float, *, has_script: bool = True
    ) -> None:
        self._topology = topology
        self._owner = owner
        self._moosefs = moosefs
        self._interval_s = interval_s
        self._has_script = has_script

    def start(self, host: str, rank: int) -> None:
        """Start keepalived on a host; *rank* 0 is preferred. Below 100 ms it is given real-time scheduling."""
        directory = self._topology.host_directory(host)
        config = directory / "keepalived.conf"
        is_fast = self._interval_s < _REAL_TIME_BELOW_S
        script = f'notify_master "{_UP} {INTERFACE} {VIP} {self._moosefs.etc(host)}"'
        text = (_HERE / "keepalived.conf").read_text()
        config.write_text(
            text.format(
                realtime="vrrp_rt_priority 50\n    vrrp_no_swap" if is_fast else "",
                interface=INTERFACE,
                priority=PRIORITIES[rank],
                interval=f"{self._interval_s:g}",
                vip=VIP_CIDR,
                notify=script if self._has_script else "",
            )
        )
        config.chmod(0o600)
        argv = ("keepalived", "-P", "-n", "-l", "-f", str(config))
        pids = ("-p", str(directory / "keepalived.pid"), "-r", str(directory / "vrrp.pid"))
        log = self._moosefs.log(host, "keepalived")
        self._owner.adopt(spawn(self._topology.inside(host, *argv, *pids), log))

    def stop(self, host: str) -> None:
        """End keepalived on a host at once, without its scripts."""
        _kill(self._topology, host, ("keepalived", "vip-up.sh"))
        for name in ("keepalived.pid", "vrrp.pid"):
            (self._topology.host_directory(host) / name).unlink(missing_ok=True)


def _kill(topology: Topology, host: str, commands: tuple[str, ...]) -> None:
    # Stopped first: one that lived on while its parent died would act as if alone.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        pids = [process.pid for process in topology.processes(host) if process.command in commands]
        topology.send_signal(number, pids)
