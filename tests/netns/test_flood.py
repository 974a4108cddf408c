"""A flood of 50 000 forged, recorded and cut adverts a second moves nothing and hides nothing.

The attacker is a host of the group's network: it has heard every advert, spoofs the members' addresses and sends to
one host at a time, since here all hosts share the processors that each has for itself elsewhere. A takeover by mistake
is possible: the backup has files to promote from, and is shown to do so in the end.
"""

import json
import random
import re
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from netns.capture import ports, read_adverts
from netns.cluster import Cluster, Options
from netns.commands import end, eventually, must, spawn
from netns.faults import heal, inject
from netns.flood import write_frames
from netns.inject import forged_advert, ipv4
from netns.owner import Owner
from netns.topology import INTERFACE, SWITCH, VIP
from pycarpd.control.client import ControlClient, Reply

pytestmark = [pytest.mark.netns, pytest.mark.product]

VHID = 10
PER_SECOND = 50_000
OFFERED_AT_LEAST = 40_000
FLOOD_S = 10.0
LEASE_S = 0.75
"""Three intervals: a master that says nothing for so long has lost its right to serve."""
STALL_LOOK_S = 0.01
STALL_S_MAX = 0.25
"""A third of the lease: on a machine that stops everybody for longer, a master falls silent without any flood."""
ATTEMPTS = 3
RESIDENT_GROWTH_MAX = 4 << 20
IPV4_BYTES = 20
MAC_BYTES = 32
ROLE_AT, TERM_AT = 36 + 6, 36 + 40
MASTER_ROLE = 3
OF_EACH_KIND = 512
ATTACKER = "u1"
OTHER = {"m1": "m2", "m2": "m1"}


def make_master(cluster: Cluster) -> None:
    """See that m1 serves and m2 could take over."""
    if cluster.wait_ready(60.0) != "m1":
        cluster.daemons.control("m2", "resign")
        cluster.wait_role("m1", "MASTER", 60.0)
        cluster.wait_standby("m2", 60.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two hosts, m1 the master, and the attacker; the capture has ended, since a flood would fill the disk with it."""
    with Owner() as owner:
        built = Cluster.build(owner, Options(hosts=2, chunkservers=0, clients=0, others=1))
        built.start()
        make_master(built)
        assert built.capture is not None
        eventually(lambda: min(len(recorded(built, host)) for host in OTHER) >= 20, 30.0, "adverts are recorded")
        captures = [process for process in built.topology.processes(SWITCH) if process.command == "tcpdump"]
        assert [p.pid for p in captures]
        must("kill", *(str(process.pid) for process in captures))
        yield built


def recorded(cluster: Cluster, host: str) -> list[bytes]:
    """Return the IP packets of the adverts that a host has sent so far."""
    assert cluster.capture is not None
    indexes = {name: index for index, name in ports(cluster.topology).items()}
    return [packet for _mac, packet in read_adverts(cluster.capture.path, indexes[host])]


def hostile_packets(genuine: list[bytes], source: str, chance: random.Random) -> Iterator[bytes]:
    """Yield recorded adverts as they are, forged into claims of a newer term, cut anywhere, and plain CARP."""
    for number in range(OF_EACH_KIND):
        packet = genuine[-1 - number % len(genuine)]
        payload = packet[IPV4_BYTES:]
        claim = bytearray(payload)
        claim[ROLE_AT] = MASTER_ROLE
        claim[TERM_AT : TERM_AT + 8] = struct.pack("!Q", chance.randrange(1 << 20))
        yield packet
        yield ipv4(source, bytes(claim[:-MAC_BYTES]) + chance.randbytes(MAC_BYTES))
        yield ipv4(source, payload[: chance.randrange(len(payload))])
        yield ipv4(source, forged_advert(VHID, *chance.choice(((0, 0), (255, 255))), chance))


def frames_against(cluster: Cluster, target: str) -> Path:
    """Write a file of frames to one host, in the name of the other."""
    source = cluster.topology.hosts[OTHER[target]].address
    head = bytes.fromhex(cluster.topology.hosts[target].mac.replace(":", "")) + bytes.fromhex("02005e1000ee0800")
    packets = hostile_packets(recorded(cluster, OTHER[target]), source, random.Random(target))  # noqa: S311 - no secret
    path = cluster.directory / f"flood-{target}.frames"
    write_frames(path, (head + packet for packet in packets))
    return path


def received_by(cluster: Cluster, host: str) -> int:
    """Return how many frames a host's interface has received."""
    told = must("ip", "-n", cluster.topology.namespace(host), "-s", "-j", "link", "show", "dev", INTERFACE)
    return int(json.loads(told)[0]["stats64"]["rx"]["packets"])


def resident_bytes(cluster: Cluster, host: str) -> int:
    pid = cluster.daemons.processes(host)["heartbeat"].pid
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def ask(cluster: Cluster, host: str, target: str) -> str:
    """Ask pycarpd on its control socket; an answer within seconds is part of what is tested."""
    reply = ControlClient(cluster.topology.host_directory(host) / "run" / "control.sock").get(target, 5.0)
    assert isinstance(reply, Reply), reply
    return reply.text


def junk_judged(cluster: Cluster, host: str) -> int:
    """Return how many datagrams the heartbeat has refused."""
    told = re.findall(r"^pycarpd_adverts_rejected_total\{.*\} (\S+)$", ask(cluster, host, "/metrics"), re.MULTILINE)
    return round(sum(map(float, told)))


@dataclass(frozen=True, slots=True)
class Position:
    """Where a node stands: nothing of it may change in a flood."""

    role: str
    term: int
    master: str
    since: str
    log_bytes: int

    @classmethod
    def of(cls, cluster: Cluster, host: str) -> "Position":
        fields = json.loads(ask(cluster, host, "/status"))
        log_bytes = cluster.daemons.log(host).stat().st_size
        return cls(fields["role"], fields["term"], fields["master"], fields["last_transition"]["time"], log_bytes)


class Listening:
    """Writes down when the master's adverts leave its port of the switch, past all that others send."""

    def __init__(self, cluster: Cluster, host: str) -> None:
        self.log = cluster.directory / f"adverts-{host}.log"
        self.log.unlink(missing_ok=True)
        what = f"ip proto 112 and ether src {cluster.topology.hosts[host].mac}"
        argv = ("tcpdump", "-i", host, "-n", "-l", "--immediate-mode", "-tt", what)
        self.process = spawn(cluster.topology.inside_net(SWITCH, *argv), self.log)
        eventually(lambda: "listening on" in self.log.read_text(), 30.0, "tcpdump listens")

    def longest_silence_s(self) -> float:
        end(self.process, gently_s=2.0)
        times = [float(t) for t in re.findall(r"^(\d+\.\d+) IP ", self.log.read_text(), re.MULTILINE)]
        assert len(times) > FLOOD_S
        return max(later - earlier for earlier, later in pairwise(times))


class Stalls:
    """A thread that only sleeps, and how long it was kept from that: what this machine does to everybody."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(STALL_LOOK_S):
            now = time.monotonic()
            self.longest_s, before = max(self.longest_s, now - before - STALL_LOOK_S), now

    def end(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.longest_s


def start_flood(cluster: Cluster, target: str, seconds: float) -> Path:
    """Start the attacker; return the file that it will say its sum in."""
    outcome = cluster.directory / f"flood-{target}.json"
    outcome.unlink(missing_ok=True)
    frames = frames_against(cluster, target)
    argv = ("netns.flood", INTERFACE, str(frames), str(PER_SECOND), str(seconds))
    cluster.helper(ATTACKER, *argv, log=outcome.name)
    return outcome


@dataclass(frozen=True, slots=True)
class Played:
    """One flood: what was seen each second, and whether this machine let the attacker and everybody else run."""

    seen: list[tuple[dict[str, Position], list[str]]]
    offered_per_s: float
    stalled_s: float
    silent_s: float

    @property
    def is_starved(self) -> bool:
        """Tell whether the machine stood still, or had no processor for such a flood."""
        return self.stalled_s > STALL_S_MAX or self.offered_per_s < OFFERED_AT_LEAST


def play(cluster: Cluster, target: str) -> Played:
    """Flood a host for a while, and look each second."""
    received, listening, stalls = received_by(cluster, target), Listening(cluster, "m1"), Stalls()
    outcome = start_flood(cluster, target, FLOOD_S)
    seen = []
    for _ in range(int(FLOOD_S) + 1):
        time.sleep(1.0)
        seen.append(({host: Position.of(cluster, host) for host in OTHER}, cluster.topology.holders_of(VIP)))
    told = json.loads(eventually(outcome.read_text, 30.0, "the attacker has ended"))
    offered = (received_by(cluster, target) - received) / told["seconds"]
    return Played(seen, offered, stalls.end(), listening.longest_silence_s())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", ["m2", "m1"], ids=["the backup", "the master"])
def test_a_flood_moves_nothing(cluster: Cluster, target: str) -> None:
    for _ in range(ATTEMPTS):
        make_master(cluster)
        before = {host: Position.of(cluster, host) for host in OTHER}
        assert (before["m1"].role, before["m2"].role) == ("MASTER", "BACKUP")
        resident, judged = resident_bytes(cluster, target), junk_judged(cluster, target)
        addresses = len(cluster.changes())
        played = play(cluster, target)

        assert resident_bytes(cluster, target) - resident < RESIDENT_GROWTH_MAX
        if played.is_starved:  # a master without a processor falls silent without any flood
            continue
        assert all(each == (before, ["m1"]) for each in played.seen), played.seen
        assert played.silent_s < LEASE_S
        assert junk_judged(cluster, target) - judged > OFFERED_AT_LEAST
        assert {host: Position.of(cluster, host) for host in OTHER} == before
        assert len(cluster.changes()) == addresses
        assert cluster.moosefs.serving_hosts() == ["m1"]
        break
    # However starved: both live, and one of them serves in the end.
    make_master(cluster)


def test_a_flood_does_not_prevent_a_takeover(cluster: Cluster) -> None:
    make_master(cluster)
    term = Position.of(cluster, "m2").term
    start_flood(cluster, "m2", 3 * FLOOD_S)
    time.sleep(1.0)
    inject(cluster, "crash", "m1")
    cluster.wait_role("m2", "MASTER", 3 * FLOOD_S + 60.0)
    assert Position.of(cluster, "m2").term > term
    eventually(lambda: cluster.topology.holders_of(VIP) == ["m2"], 30.0, "the VIP is on m2 alone")
    heal(cluster, "crash", "m1")
    cluster.wait_standby("m1", 60.0)
