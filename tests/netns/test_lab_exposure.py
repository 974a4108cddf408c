"""The judge of split brain sees what there is to see: two hosts that answer, one that does not, and for how long."""

import time
from pathlib import Path

import pytest

from netns.answers import Stretch, answers, exposure_ns, last_answer_ns, stretches
from netns.capture import Capture, Kind, Sighting
from netns.cluster import Cluster, Options
from netns.commands import boottime_ns, eventually, spawn
from netns.faults import heal, inject
from netns.owner import Owner
from netns.topology import SWITCH, VIP, VIP_CIDR
from tests.netns.test_lab_faults import reaches

pytestmark = pytest.mark.netns

MS = 1_000_000
LISTEN = f"""
import socket, time
s = socket.create_server(("{VIP}", 9421))
time.sleep(1000)
"""
COUNT = "import sys, time\nfor n in range(10**9):\n print(n, flush=True)\n time.sleep(0.01)\n"


def said(host: str, *at_ms: int, kind: Kind = Kind.ARP) -> list[Sighting]:
    return [Sighting(at * MS, host, kind, VIP, port=9421) for at in at_ms]


def exposure_ms(*each: list[Sighting]) -> float:
    return exposure_ns(stretches(s for one in each for s in one)) / MS


@pytest.mark.parametrize(("one", "other", "wanted"), [
    ((0, 50, 100), (101, 150), 0),
    ((0, 50, 100), (100, 150), pytest.approx(0, abs=1)),
    ((0, 50, 100), (60, 150), 40),
    ((0, 90, 180), (10, 20), 10),
    ((0, 500), (100, 200), 0),
    ((0, 50, 100), (50,), 1 / MS),
    ((), (50,), 0),
])  # fmt: skip
def test_exposure_is_where_the_stretches_of_two_hosts_meet(
    one: tuple[int, ...], other: tuple[int, ...], wanted: float
) -> None:
    assert exposure_ms(said("m1", *one), said("m2", *other)) == wanted


def test_a_stretch_ends_where_a_host_is_silent_for_long() -> None:
    found = stretches([*said("m1", 0, 50, 400, 450), *said("m2", 60)])
    assert found == [
        Stretch("m1", 0, 50 * MS), Stretch("m2", 60 * MS, 60 * MS), Stretch("m1", 400 * MS, 450 * MS)
    ]  # fmt: skip


def test_only_what_speaks_for_the_vip_is_an_answer() -> None:
    seen = [
        *said("m1", 10), *said("m1", 20, kind=Kind.GARP), *said("m1", 30, kind=Kind.SYN_ACK),
        *said("m1", 40, kind=Kind.SYN), Sighting(50 * MS, "m1", Kind.ARP, "192.0.2.11"),
        Sighting(60 * MS, "m1", Kind.SYN_ACK, VIP, port=9420),
    ]  # fmt: skip
    assert [s.at_ns // MS for s in answers(seen, 15 * MS)] == [20, 30]
    assert last_answer_ns(answers(seen, 0), "m1") == 30 * MS
    assert last_answer_ns([], "m1") is None


@pytest.fixture
def cluster(owner: Owner) -> Cluster:
    """Two metadata hosts and a client that is probed; no daemon runs."""
    cluster = Cluster.build(owner, Options(hosts=2, chunkservers=0))
    ports = [f"{host}={cluster.topology.hosts[host].mac}" for host in ("m1", "m2")]
    cluster.helper(SWITCH, "netns.prober", VIP, *ports, log="prober.log")
    return cluster


def capture_of(cluster: Cluster) -> Capture:
    assert cluster.capture is not None
    return cluster.capture


def hosts_that_answer(cluster: Cluster, kind: Kind, since_ns: int) -> set[str]:
    return {s.host for s in answers(capture_of(cluster).sightings(), since_ns) if s.kind is kind}


def serve(cluster: Cluster, owner: Owner, host: str) -> None:
    cluster.topology.add_address(host, VIP_CIDR)
    owner.adopt(spawn(cluster.topology.inside(host, "python3", "-c", LISTEN), owner.directory / f"{host}-listen.log"))


def test_two_hosts_that_answer_are_seen_and_one_alone_is_no_exposure(cluster: Cluster, owner: Owner) -> None:
    began_ns = boottime_ns()
    serve(cluster, owner, "m1")
    eventually(lambda: hosts_that_answer(cluster, Kind.ARP, began_ns) == {"m1"}, 30, "m1 answers by ARP")
    eventually(lambda: hosts_that_answer(cluster, Kind.SYN_ACK, began_ns) == {"m1"}, 30, "m1 answers on 9421")
    assert exposure_ns(stretches(answers(capture_of(cluster).sightings(), began_ns))) == 0
    # A cut between the hosts does not keep the prober from either.
    inject(cluster, "cut", "m2")
    serve(cluster, owner, "m2")
    eventually(lambda: "m2" in hosts_that_answer(cluster, Kind.SYN_ACK, began_ns), 30, "m2 answers as well")
    time.sleep(0.5)
    assert exposure_ns(stretches(answers(capture_of(cluster).sightings(), began_ns))) > 100 * MS


def test_a_partition_has_two_sides(cluster: Cluster) -> None:
    inject(cluster, "partition", "m1", "c1")
    assert reaches(cluster, "m1", cluster.topology.hosts["c1"].address)
    assert not reaches(cluster, "m1", cluster.topology.hosts["m2"].address)
    assert not reaches(cluster, "m2", cluster.topology.hosts["c1"].address)
    heal(cluster, "partition", "m1")
    assert eventually(lambda: reaches(cluster, "m2", cluster.topology.hosts["c1"].address), 30, "c1 is reached again")


def test_a_frozen_host_stands_still_until_it_is_thawed(cluster: Cluster, owner: Owner) -> None:
    log = owner.directory / "count.log"
    owner.adopt(spawn(cluster.topology.inside("m1", "python3", "-c", COUNT), log))

    def grows(path: Path = log) -> bool:
        before = path.stat().st_size
        time.sleep(0.3)
        return path.stat().st_size > before

    eventually(grows, 10, "it counts")
    inject(cluster, "freeze", "m1")
    assert not grows()
    heal(cluster, "freeze", "m1")
    eventually(grows, 10, "it goes on counting")
    heal(cluster, "freeze", "m1")
    assert grows()
