"""What the fence costs and how late it closes: renewals as the heartbeat makes them, and a process that is stopped.

Two hosts in namespaces of the measurement's own. The first puts up the fence for a VIP and renews it; from the second a
datagram goes to the VIP every half millisecond with its own time in it, so that the last one to arrive says when the
fence closed. The process that renews has taken the right to make or become another process from itself (seccomp(2)),
which it shows by trying: what it measures afterwards is done without any.

``python -m benchmarks.fence cost COUNT`` and ``... renew BOARD`` are the first host's part.
"""

import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from netns.commands import LaboratoryError, bound_to_parent, eventually, must, spawn
from netns.owner import Owner
from netns.topology import INTERFACE, VIP, VIP_CIDR, Topology
from pycarpd.linux.fence import Fence

LEASE_MS: Final = 200
_RENEW_EVERY_S: Final = 0.02
_PORT: Final = 9421
_MS: Final = 1_000_000
_CLONE_NEWNET: Final = 0x40000000
_REPOSITORY: Final = Path(__file__).parents[1]
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_FILTER_MODE: Final = 2
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_PROCESS_CALLS: Final = {
    "x86_64": (56, 57, 58, 59, 322, 435),  # clone, fork, vfork, execve, execveat, clone3
    "aarch64": (220, 221, 281, 435),  # clone, execve, execveat, clone3
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What renewing costs, in microseconds, measured by a process that may make no other one."""

    renewals: int
    median_us: float
    p99_us: float
    worst_us: float


@dataclass(frozen=True, slots=True)
class Closing:
    """How long after the end of the last lease a datagram still passed; ``how`` is what was done to the process."""

    how: str
    late_ms: tuple[float, ...]


def measure_cost(owner: Owner, renewals: int) -> Cost:
    """Measure renewals, one each millisecond."""
    topology = _hosts(owner)
    said = must(
        *topology.inside_net("u1", "env", f"PYTHONPATH={_REPOSITORY}"),
        *(sys.executable, "-m", "benchmarks.fence", "cost", str(renewals)),
        timeout_s=30 + renewals / 100,
    )
    return Cost(**json.loads(said))


def measure_closing(owner: Owner, number: signal.Signals, rounds: int) -> Closing:
    """Stop or kill a process that renews, again and again."""
    topology = _hosts(owner)
    target = _socket_inside(topology, "u1")
    target.bind((VIP, _PORT))
    target.setblocking(False)
    source = _socket_inside(topology, "u2")
    mac = topology.hosts["u1"].mac
    must("ip", "-n", topology.namespace("u2"), "neigh", "replace", VIP, "lladdr", mac, "dev", INTERFACE)
    with target, source:
        late_ms = tuple(_late_ms(owner, topology, (source, target), number) for _ in range(rounds))
    return Closing(number.name, late_ms)


def _hosts(owner: Owner) -> Topology:
    if owner.record.hosts:
        return Topology(owner.prefix, owner.directory, owner.record.hosts)
    topology = Topology.build(owner, ("u1", "u2"))
    topology.add_address("u1", VIP_CIDR)
    return topology


def _socket_inside(topology: Topology, host: str) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{topology.namespace(host)}", os.O_RDONLY)
    try:
        if libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {host}")
        inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if libc.setns(home, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns back")
    finally:
        os.close(home)
        os.close(there)
    return inside


def _late_ms(
    owner: Owner, topology: Topology, ends: tuple[socket.socket, socket.socket], number: signal.Signals
) -> float:
    board_path = owner.directory / "board"
    board_path.write_bytes(bytes(8))
    with board_path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as board:

        def renewed_ns() -> int:
            return int(struct.unpack_from("=q", board)[0])

        argv = topology.inside_net("u1", sys.executable, "-m", "benchmarks.fence", "renew", str(board_path))
        renewer = spawn(bound_to_parent(argv), owner.directory / "renewer.log", cwd=_REPOSITORY)
        owner.adopt(renewer)
        try:
            eventually(renewed_ns, 30.0, "the fence is renewed")
            if not _stream(*ends, 2 * LEASE_MS / 1000):
                raise LaboratoryError("nothing passes an open fence")
            os.kill(renewer.pid, number)
            os.waitid(os.P_PID, renewer.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            passed_ns = _stream(*ends, 3 * LEASE_MS / 1000)
            return round((passed_ns - renewed_ns()) / _MS - LEASE_MS, 2)
        finally:
            renewer.kill()
            renewer.wait()


def _stream(source: socket.socket, target: socket.socket, seconds: float) -> int:
    """Send for so long and return when the last datagram that arrived was sent, 0 if none did."""
    last_ns = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        source.sendto(struct.pack("=q", time.monotonic_ns()), (VIP, _PORT))
        time.sleep(0.0005)
        while True:
            try:
                last_ns = struct.unpack("=q", target.recv(100))[0]
            except BlockingIOError:
                break
    return last_ns


def forbid_processes() -> bool:
    """Refuse this process every system call that makes or becomes another; False where their numbers are not known."""
    calls = _PROCESS_CALLS.get(platform.machine())
    if calls is None:
        return False
    load_number, jump_if_equal, give = 0x20, 0x15, 0x06
    program = [struct.pack("=HBBI", load_number, 0, 0, 0)]
    for index, call in enumerate(calls):
        program.append(struct.pack("=HBBI", jump_if_equal, len(calls) - index, 0, call))
    program += [struct.pack("=HBBI", give, 0, 0, _ALLOW), struct.pack("=HBBI", give, 0, 0, _REFUSE)]
    text = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, header, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
    return True


def _cost(renewals: int) -> Cost:
    fence = Fence(INTERFACE, (VIP,))
    _no_fault(fence.install())
    if forbid_processes():
        _expect_refusal(os.fork)
    costs_us = []
    for _ in range(renewals):
        began_ns = time.perf_counter_ns()
        fault = fence.renew(1000)
        costs_us.append((time.perf_counter_ns() - began_ns) / 1000)
        _no_fault(fault)
        time.sleep(0.001)
    costs_us.sort()
    p99_us = costs_us[len(costs_us) * 99 // 100]
    return Cost(renewals, round(statistics.median(costs_us), 1), round(p99_us, 1), round(costs_us[-1], 1))


def _expect_refusal(fork: Callable[[], int]) -> None:
    try:
        child = fork()
    except PermissionError:
        return
    if child == 0:
        os._exit(0)
    raise LaboratoryError("a process could be made although that was forbidden")


def _no_fault(fault: object) -> None:
    if fault is not None:
        raise LaboratoryError(f"the fence: {fault}")


def _renew(board_path: Path) -> None:
    fence = Fence(INTERFACE, (VIP,))
    _no_fault(fence.install())
    with board_path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as board:
        while True:
            struct.pack_into("=q", board, 0, time.monotonic_ns())
            _no_fault(fence.renew(LEASE_MS))
            time.sleep(_RENEW_EVERY_S)


if __name__ == "__main__":
    verb, argument = sys.argv[1:]
    if verb == "cost":
        print(json.dumps(asdict(_cost(int(argument)))))
    else:
        _renew(Path(argument))
