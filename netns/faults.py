"""Faults by name, each with a way to bring it about and a way to mend it.

A fault's whole state lies in the namespaces (a table of nft rules, a port that is down, a relay) and in the
laboratory's directory, so one process may bring it about and another mend it. The machine's CPUs and its
CLOCK_REALTIME are shared by all hosts: `cpu-hog` and `clock-step` therefore hit every host, whichever is named.
CLOCK_BOOTTIME and CLOCK_MONOTONIC cannot be stepped at all on Linux.
"""

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netns import freezer, own_clock, relay
from netns.capture import ports
from netns.cluster import Cluster
from netns.commands import LaboratoryError, boottime_ns, eventually, must, realtime_offset_ns
from netns.inject import KINDS
from netns.owner import mounts_below
from netns.topology import BRIDGE, SWITCH, VIP_CIDR, Process

_OURS: Final = ("supervisor", "heartbeat", "worker")
_ATTACK_WITHIN_S: Final = 60.0
_FLOOD_SECONDS: Final = 10
_FORGERIES: Final = 200
VHID: Final = "10"
"""The group that the configuration of every host names."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what it does, what its argument means ("" when it takes none), and how it is mended."""

    name: str
    summary: str
    argument: str
    default: str
    inject: Callable[[Cluster, str, str], None]
    heal: Callable[[Cluster, str, str], None]


@dataclass(frozen=True, slots=True)
class Event:
    """That a fault was brought about or mended, and when (CLOCK_BOOTTIME, taken just before)."""

    at_ns: int
    fault: str
    verb: str
    host: str
    argument: str


def inject(cluster: Cluster, name: str, host: str, argument: str = "") -> Event:
    """Bring a fault about on a host; raises LaboratoryError for an unknown one."""
    fault = _known(cluster, name, host)
    return _logged(cluster, fault, "inject", host, argument or fault.default, fault.inject)


def heal(cluster: Cluster, name: str, host: str, argument: str = "") -> Event:
    """Mend a fault on a host; mending what is whole does nothing."""
    fault = _known(cluster, name, host)
    return _logged(cluster, fault, "heal", host, argument or fault.default, fault.heal)


def find(cluster: Cluster, host: str, what: str) -> list[Process]:
    """Return the processes on a host by name, the main one first.

    Supervisor, heartbeat, worker, a daemon, or "all".
    """
    if what == "all":
        return cluster.topology.processes(host)
    if what in _OURS:
        named = cluster.daemons.processes(host)
        return [named[what]] if what in named else []
    return [process for process in cluster.topology.processes(host) if process.command == what]


def _known(cluster: Cluster, name: str, host: str) -> Fault:
    if name not in FAULTS:
        raise LaboratoryError(f"there is no fault {name!r}; there are: {', '.join(FAULTS)}")
    if host not in cluster.topology.hosts:
        raise LaboratoryError(f"there is no host {host!r}; there are: {', '.join(cluster.topology.hosts)}")
    return FAULTS[name]


def _logged(
    cluster: Cluster, fault: Fault, verb: str, host: str, argument: str, act: Callable[[Cluster, str, str], None]
) -> Event:
    event = Event(boottime_ns(), fault.name, verb, host, argument)
    act(cluster, host, argument)
    with (cluster.directory / "faults.jsonl").open("a") as log:
        fields = (event.at_ns, event.fault, event.verb, event.host, event.argument)
        log.write(json.dumps(dict(zip(("at_ns", "fault", "verb", "host", "argument"), fields, strict=True))) + "\n")
    return event


def _nothing(_cluster: Cluster, _host: str, _argument: str) -> None:
    """Mend what mends itself."""


def _crash(cluster: Cluster, host: str, _argument: str) -> None:
    # A machine without power cannot react to the loss of its carrier, so that comes last. A filter would take tens of
    # milliseconds to be installed, in which it goes on.
    cluster.topology.disable_port(host)
    cluster.topology.kill_everything(host)
    cluster.topology.set_port(host, is_up=False)


def _restart_host(cluster: Cluster, host: str, _argument: str) -> None:
    cluster.topology.forget_kernel_state(host)
    for left in (cluster.topology.host_directory(host) / "run").glob("*"):
        left.unlink()
    cluster.topology.set_port(host, is_up=True)
    cluster.topology.unfilter(SWITCH, f"cut_{host}")
    if cluster.topology.hosts[host].is_metadata_host:
        cluster.daemons.start(host)
    elif host.startswith("cs"):
        cluster.moosefs.start_chunkserver(host)


def _switch_filter(cluster: Cluster, host: str, name: str, *rules: str) -> None:
    hook = "type filter hook forward priority 0; policy accept;"
    body = "\n".join(f"    {rule}" for rule in rules)
    cluster.topology.filter(SWITCH, f"{name}_{host}", f"  chain forward {{\n    {hook}\n{body}\n  }}")


def _unfilter(name: str) -> Callable[[Cluster, str, str], None]:
    return lambda cluster, host, _argument: cluster.topology.unfilter(SWITCH, f"{name}_{host}")


def _cut(cluster: Cluster, host: str, _argument: str) -> None:
    _switch_filter(cluster, host, "cut", f'iifname "{host}*" drop', f'oifname "{host}*" drop')


def _cut_one_way(cluster: Cluster, host: str, argument: str) -> None:
    match argument:
        case "out":
            _switch_filter(cluster, host, "cutoneway", f'iifname "{host}*" drop')
        case "in":
            _switch_filter(cluster, host, "cutoneway", f'oifname "{host}*" drop')
        case _:
            raise LaboratoryError(f"cut-one-way takes `out` or `in`, not {argument!r}")


def _partition(cluster: Cluster, host: str, argument: str) -> None:
    side = [host, *argument.split(",")] if argument else [host]
    others = [name for name in cluster.topology.hosts if name not in side]
    pairs = [(a, b) for a in side for b in others] + [(b, a) for a in side for b in others]
    _switch_filter(cluster, host, "partition", *(f'iifname "{a}*" oifname "{b}*" drop' for a, b in pairs))


def _freeze(cluster: Cluster, host: str, _argument: str) -> None:
    freezer.freeze(cluster.topology, host)


def _thaw(cluster: Cluster, host: str, _argument: str) -> None:
    freezer.thaw(cluster.topology, host)


def _loss(cluster: Cluster, host: str, argument: str) -> None:
    per_mille = round(_percent(argument) * 10)
    chance = f"numgen random mod 1000 < {per_mille} drop"
    _switch_filter(cluster, host, "loss", f'iifname "{host}*" {chance}', f'oifname "{host}*" {chance}')


def _percent(argument: str) -> float:
    try:
        value = float(argument)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:  # noqa: PLR2004 - a percentage
        raise LaboratoryError(f"{argument!r} is no percentage")
    return value


def _link_down(cluster: Cluster, host: str, _argument: str) -> None:
    cluster.topology.set_port(host, is_up=False)


def _link_up(cluster: Cluster, host: str, _argument: str) -> None:
    cluster.topology.set_port(host, is_up=True)


def _interface_down(cluster: Cluster, host: str, _argument: str) -> None:
    cluster.topology.set_interface(host, is_up=False)


def _interface_up(cluster: Cluster, host: str, _argument: str) -> None:
    cluster.topology.set_interface(host, is_up=True)


def _interface_gone(cluster: Cluster, host: str, _argument: str) -> None:
    cluster.topology.unplug(host)


def _interface_back(cluster: Cluster, host: str, _argument: str) -> None:
    cluster.topology.connect(host)


def _signal(number: signal.Signals, *, only_main: bool) -> Callable[[Cluster, str, str], None]:
    def act(cluster: Cluster, host: str, what: str) -> None:
        pids = [process.pid for process in find(cluster, host, what)]
        if not pids:
            raise LaboratoryError(f"there is no {what} on {host}")
        cluster.topology.send_signal(number, pids[:1] if only_main and what != "all" else pids)

    return act


def _cable(*fields: str) -> Callable[[Cluster, str, str], None]:
    def act(cluster: Cluster, host: str, argument: str) -> None:
        plan = _plan_path(cluster, host)
        now = json.loads(plan.read_text()) if plan.exists() else {}
        words = argument.split("~")
        now |= {name: float(word) for name, word in zip(fields, words, strict=False)}
        relay.write_plan(plan, **now)
        _splice(cluster, host)

    return act


def _clean_cable(*fields: str) -> Callable[[Cluster, str, str], None]:
    def act(cluster: Cluster, host: str, _argument: str) -> None:
        plan = _plan_path(cluster, host)
        if not plan.exists():
            return
        left = {name: value for name, value in json.loads(plan.read_text()).items() if name not in fields}
        relay.write_plan(plan, **left)
        if relay.read_plan(plan).is_clean:
            _unsplice(cluster, host)

    return act


def _plan_path(cluster: Cluster, host: str) -> Path:
    return cluster.directory / f"relay-{host}.json"


def _relays(cluster: Cluster, host: str) -> list[Process]:
    running = cluster.topology.processes(SWITCH)
    return [process for process in running if process.arguments[1:4] == ("-m", "netns.relay", host)]


def _splice(cluster: Cluster, host: str) -> None:
    if _relays(cluster, host):
        return
    ip = ("ip", "-n", cluster.topology.namespace(SWITCH), "link")
    must(*ip, "set", host, "nomaster", "promisc", "on")
    must(*ip, "add", f"{host}-in", "type", "veth", "peer", "name", f"{host}-out")
    must(*ip, "set", f"{host}-in", "up", "promisc", "on")
    must(*ip, "set", f"{host}-out", "master", BRIDGE, "up")
    cluster.helper(SWITCH, "netns.relay", host, f"{host}-in", str(_plan_path(cluster, host)), log=f"relay-{host}.log")
    eventually(lambda: _relays(cluster, host), 5.0, f"the relay of {host} runs")


def _unsplice(cluster: Cluster, host: str) -> None:
    for process in _relays(cluster, host):
        os.kill(process.pid, signal.SIGKILL)
    ip = ("ip", "-n", cluster.topology.namespace(SWITCH), "link")
    must(*ip, "delete", f"{host}-in")
    must(*ip, "set", host, "master", BRIDGE, "promisc", "off")


def _attack(cluster: Cluster, *arguments: str) -> None:
    must(
        *cluster.topology.inside_net(SWITCH, "env", f"PYTHONPATH={Path(__file__).parents[1]}"),
        *(sys.executable, "-m", "netns.inject", *arguments),
        timeout_s=_ATTACK_WITHIN_S,
    )


def _recorded(cluster: Cluster, host: str) -> tuple[str, str]:
    indexes = {name: index for index, name in ports(cluster.topology).items()}
    return str(cluster.directory / "switch.pcap"), str(indexes[host])


def _replay(cluster: Cluster, host: str, _argument: str) -> None:
    _attack(cluster, "replay", *_recorded(cluster, host))


def _forge(cluster: Cluster, host: str, kind: str, count: int, per_second: str) -> None:
    address = cluster.topology.hosts[host].address
    _attack(cluster, "forge", kind, address, VHID, str(count), per_second, *_recorded(cluster, host))


def _forged(cluster: Cluster, host: str, kind: str) -> None:
    if kind not in KINDS:
        raise LaboratoryError(f"forged takes one of {', '.join(KINDS)}, not {kind!r}")
    _forge(cluster, host, kind, _FORGERIES, "1000")


def _flood(cluster: Cluster, host: str, per_second: str) -> None:
    _forge(cluster, host, "claim", int(float(per_second) * _FLOOD_SECONDS), per_second)


def _clock_step(cluster: Cluster, _host: str, seconds: str) -> None:
    kept = cluster.directory / "clock"
    if not kept.exists():
        kept.write_text(str(realtime_offset_ns()))
    step_ns = round(float(seconds) * 1e9)
    time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME) + step_ns)


def _clock_back(cluster: Cluster, _host: str, _argument: str) -> None:
    kept = cluster.directory / "clock"
    if kept.exists():
        time.clock_settime_ns(time.CLOCK_REALTIME, boottime_ns() + int(kept.read_text()))
        kept.unlink()


def _own_clock(cluster: Cluster, host: str, seconds: str) -> None:
    own_clock.put_off(cluster.topology, host, round(float(seconds)))


def _common_clock(cluster: Cluster, host: str, _argument: str) -> None:
    own_clock.put_right(cluster.topology, host)


def _cpu_hog(cluster: Cluster, host: str, count: str) -> None:
    for _ in range(int(count) if count else 2 * (os.cpu_count() or 1)):
        cluster.helper(host, "netns.hog", log="hog.log")


def _no_hog(cluster: Cluster, host: str, _argument: str) -> None:
    hogs = [process.pid for process in cluster.topology.processes(host) if "netns.hog" in process.arguments]
    cluster.topology.send_signal(signal.SIGKILL, hogs)


def _disk_full(cluster: Cluster, host: str, _argument: str) -> None:
    data = cluster.moosefs.data_path(host)
    if str(data) not in mounts_below(cluster.directory):
        raise LaboratoryError("disk-full needs a cluster with small disks (lab up --small-disks)")
    with (data / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _disk_freed(cluster: Cluster, host: str, _argument: str) -> None:
    (cluster.moosefs.data_path(host) / "filler").unlink(missing_ok=True)


def _vip_removed(cluster: Cluster, host: str, _argument: str) -> None:
    cluster.topology.remove_address(host, VIP_CIDR)


_PROCESS: Final = "supervisor | heartbeat | worker | mfsmaster | mfsmetalogger | mfschunkserver | all"
_stop: Final = _signal(signal.SIGSTOP, only_main=False)
_continue: Final = _signal(signal.SIGCONT, only_main=False)
_kill: Final = _signal(signal.SIGKILL, only_main=True)
_delay: Final = ("delay_ms", "jitter_ms")
_twice: Final = "duplication_percent"
_order: Final = "reordering_percent"

_TABLE: Final = (
    Fault("crash", "no frame passes, SIGKILL to everything, port down; healed: booted", "", "", _crash, _restart_host),
    Fault("cut", "no frame passes the switch port, either way; carrier stays", "", "", _cut, _unfilter("cut")),
    Fault("cut-one-way", "frames pass one way only", "out | in", "out", _cut_one_way, _unfilter("cutoneway")),
    Fault(
        "partition",
        "the host and those named with it are cut off from all others",
        "HOST,...",
        "",
        _partition,
        _unfilter("partition"),
    ),
    Fault("link-down", "switch port down: the host loses its carrier", "", "", _link_down, _link_up),
    Fault("interface-down", "the host's own eth0 is set down", "", "", _interface_down, _interface_up),
    Fault("interface-gone", "eth0 is deleted; healed: made anew", "", "", _interface_gone, _interface_back),
    Fault("pause", "SIGSTOP to a process; healed: SIGCONT", _PROCESS, "all", _stop, _continue),
    Fault("freeze", "every process of the host stands still at once", "", "", _freeze, _thaw),
    Fault("kill", "SIGKILL to a process", _PROCESS, "supervisor", _kill, _nothing),
    Fault("loss", "frames are lost at random, both ways", "PERCENT", "20", _loss, _unfilter("loss")),
    Fault("delay", "frames are late", "MS or MS~JITTER_MS", "50~10", _cable(*_delay), _clean_cable(*_delay)),
    Fault("duplication", "frames come twice", "PERCENT", "20", _cable(_twice), _clean_cable(_twice)),
    Fault("reordering", "frames overtake others", "PERCENT", "20", _cable(_order), _clean_cable(_order)),
    Fault("replay", "every advert of the host captured so far is sent again", "", "", _replay, _nothing),
    Fault("forged", "200 adverts in the host's name, forged", " | ".join(KINDS), "claim", _forged, _nothing),
    Fault("flood", "ten seconds of forged adverts in its name", "PER_SECOND", "50000", _flood, _nothing),
    Fault("clock-step", "CLOCK_REALTIME jumps; healed: set back", "SECONDS", "3600", _clock_step, _clock_back),
    Fault("own-clock", "the next mfsmaster there is so far ahead", "SECONDS", "0", _own_clock, _common_clock),
    Fault("cpu-hog", "busy processes; they take the CPU from every host", "COUNT", "", _cpu_hog, _no_hog),
    Fault("disk-full", "DATA_PATH has no byte left", "", "", _disk_full, _disk_freed),
    Fault("vip-removed", "the VIP is taken off eth0 by hand", "", "", _vip_removed, _nothing),
)
FAULTS: Final = {fault.name: fault for fault in _TABLE}
