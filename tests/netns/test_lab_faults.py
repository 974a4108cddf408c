import json
import time
from pathlib import Path

import pytest

from netns import own_clock
from netns.cluster import Cluster, Options
from netns.commands import LaboratoryError, boottime_ns, eventually, must, realtime_offset_ns, run, spawn
from netns.faults import FAULTS, find, heal, inject
from netns.owner import Owner
from netns.topology import SWITCH, VIP_CIDR

pytestmark = pytest.mark.netns
LISTEN = """
import socket, sys
s = socket.socket(2, 2)
s.bind(("", 9999))
while True:
    print(s.recv(2000).decode(), flush=True)
"""


@pytest.fixture
def cluster(owner: Owner) -> Cluster:
    """Two metadata hosts and a client, with capture and netlink watch; no daemon runs."""
    return Cluster.build(owner, Options(hosts=2, chunkservers=0))


def round_trip_s(cluster: Cluster, host: str, address: str) -> float | None:
    """Time a refused connection: one SYN there, one RST back; None when nothing comes back."""
    script = (
        "import socket,sys,time\n"
        "s = socket.socket()\n"
        "s.settimeout(2)\n"
        "began = time.monotonic()\n"
        "try:\n s.connect((sys.argv[1], 9))\n"
        "except ConnectionRefusedError:\n print(time.monotonic() - began)\n"
        "except OSError:\n print('')\n"
    )
    told = must(*cluster.topology.inside(host, "python3", "-c", script, address)).strip()
    return float(told) if told else None


def reaches(cluster: Cluster, host: str, address: str) -> bool:
    return round_trip_s(cluster, host, address) is not None


@pytest.mark.parametrize("name", ["cut", "cut-one-way", "link-down", "interface-down", "interface-gone"])
def test_a_host_is_lost_and_found(cluster: Cluster, name: str) -> None:
    assert reaches(cluster, "c1", "192.0.2.11")
    inject(cluster, name, "m1")
    assert not reaches(cluster, "c1", "192.0.2.11")
    assert reaches(cluster, "c1", "192.0.2.12")
    heal(cluster, name, "m1")
    assert eventually(lambda: reaches(cluster, "c1", "192.0.2.11"), 30.0, "m1 is reached again")


def test_a_clock_of_its_own_is_ahead_on_that_host_alone(cluster: Cluster) -> None:
    inject(cluster, "own-clock", "m1", "7200")
    real = cluster.topology.host_directory("m1") / "real"
    real.write_text("#!/bin/sh\nexec date +%s\n")
    real.chmod(0o755)
    command = own_clock.commands(cluster.topology, "m1") / "mfsmaster"
    command.write_text(command.read_text().replace(str(own_clock.REAL), str(real)))
    ahead_s = int(must(str(command))) - time.time()
    assert abs(ahead_s - 7200) < 60
    heal(cluster, "own-clock", "m1")
    assert not command.exists()
    assert not (own_clock.commands(cluster.topology, "m2") / "mfsmaster").exists()


def test_a_cut_keeps_the_carrier_and_a_port_that_is_down_does_not(cluster: Cluster) -> None:
    ip = ("ip", "-n", cluster.topology.namespace("m1"), "-o", "link", "show", "eth0")
    inject(cluster, "cut", "m1")
    assert "LOWER_UP" in must(*ip)
    inject(cluster, "link-down", "m1")
    assert "NO-CARRIER" in must(*ip)


def received(cluster: Cluster, owner: Owner, count: int) -> list[str]:
    """Send numbered datagrams from m1 to m2 and return what came, in order."""
    log = owner.directory / f"listen-{boottime_ns()}.log"
    owner.adopt(spawn(cluster.topology.inside("m2", "python3", "-c", LISTEN), log))
    # ARP is subject to the same faults, and is not what is asked here.
    neighbour = ("ip", "neigh", "replace", "192.0.2.12", "lladdr", "02:00:5e:10:00:0c", "dev", "eth0")
    must(*cluster.topology.inside("m1", *neighbour))
    listening = ("ss", "-lun", "sport", "=", ":9999")
    eventually(lambda: "9999" in must(*cluster.topology.inside("m2", *listening)), 30.0, "the listener is there")
    script = (
        "import socket,sys,time\n"
        "s = socket.socket(2, 2)\n"
        f"for number in range({count}):\n"
        " s.sendto(str(number).encode(), ('192.0.2.12', 9999))\n"
        " time.sleep(0.002)\n"
    )
    must(*cluster.topology.inside("m1", "python3", "-c", script))
    time.sleep(0.5)
    cluster.topology.kill_everything("m2")
    return log.read_text().split()


def test_a_cut_one_way_lets_the_other_way_through(cluster: Cluster, owner: Owner) -> None:
    inject(cluster, "cut-one-way", "m2", "out")
    assert received(cluster, owner, 10) == [str(number) for number in range(10)]


def test_loss_takes_some_and_not_all(cluster: Cluster, owner: Owner) -> None:
    inject(cluster, "loss", "m1", "50")
    assert 10 < len(received(cluster, owner, 200)) < 190


def test_a_delay_is_felt_both_ways_and_heals(cluster: Cluster) -> None:
    inject(cluster, "delay", "m1", "60")
    slow = [round_trip_s(cluster, "c1", "192.0.2.11") for _ in range(2)]
    assert all(took is not None and took > 0.115 for took in slow)
    heal(cluster, "delay", "m1")
    assert not [p for p in cluster.topology.processes(SWITCH) if "netns.relay" in p.arguments]
    assert eventually(lambda: reaches(cluster, "c1", "192.0.2.11"), 30.0, "m1 is reached again")


def test_duplication_doubles_and_reordering_overtakes(cluster: Cluster, owner: Owner) -> None:
    inject(cluster, "duplication", "m1", "50")
    doubled = received(cluster, owner, 200)
    assert len(set(doubled)) == 200
    assert 220 < len(doubled) < 380
    inject(cluster, "reordering", "m1", "20")
    heal(cluster, "duplication", "m1")
    time.sleep(0.3)
    overtaken = received(cluster, owner, 200)
    assert sorted(overtaken, key=int) == [str(number) for number in range(200)]
    assert overtaken != sorted(overtaken, key=int)


def test_the_bad_cable_passes_large_segments_sound(cluster: Cluster, owner: Owner) -> None:
    inject(cluster, "delay", "m1", "1")
    served = cluster.topology.host_directory("m1") / "served"
    served.mkdir()
    (served / "blob").write_bytes(bytes(range(256)) * 8192)
    argv = ("python3", "-m", "http.server", "8000", "--directory", str(served))
    owner.adopt(spawn(cluster.topology.inside("m1", *argv), owner.directory / "http.log"))
    script = (
        "import hashlib, urllib.request\n"
        "data = urllib.request.urlopen('http://192.0.2.11:8000/blob', timeout=5).read()\n"
        "print(len(data), data == bytes(range(256)) * 8192)\n"
    )

    def fetched() -> str:
        return run(*cluster.topology.inside("c1", "python3", "-c", script)).output.strip()

    assert eventually(fetched, 30.0, "the server answers") == "2097152 True"


def test_pause_and_kill_hit_the_process_that_is_named(cluster: Cluster, owner: Owner) -> None:
    log = owner.directory / "sleep.log"
    for seconds in ("1000", "2000"):
        owner.adopt(spawn(cluster.topology.inside("m1", "sleep", seconds), log))
    eventually(lambda: len(find(cluster, "m1", "sleep")) == 2, 30.0, "both sleep")
    first, second = find(cluster, "m1", "sleep")
    inject(cluster, "pause", "m1", "sleep")

    def states() -> list[str]:
        return [Path(f"/proc/{p.pid}/stat").read_text().split()[2] for p in (first, second)]

    assert eventually(lambda: states() == ["T", "T"], 30.0, "both are stopped")
    heal(cluster, "pause", "m1", "sleep")
    inject(cluster, "kill", "m1", "sleep")
    assert eventually(lambda: [p.pid for p in find(cluster, "m1", "sleep")] == [second.pid], 30.0, "one is left")
    with pytest.raises(LaboratoryError, match="there is no mfsmaster on m1"):
        inject(cluster, "kill", "m1", "mfsmaster")


def test_a_crash_leaves_no_process_and_no_carrier(cluster: Cluster, owner: Owner) -> None:
    owner.adopt(spawn(cluster.topology.inside("m1", "sleep", "1000"), owner.directory / "sleep.log"))
    cluster.topology.add_address("m1", VIP_CIDR)
    inject(cluster, "crash", "m1")
    assert cluster.topology.processes("m1") == []
    assert not reaches(cluster, "c1", "192.0.2.11")


def test_a_hog_takes_the_cpu_until_healed(cluster: Cluster) -> None:
    inject(cluster, "cpu-hog", "m1", "1")
    assert eventually(lambda: len(cluster.topology.processes("m1")) == 1, 30.0, "the hog runs")
    heal(cluster, "cpu-hog", "m1")
    assert eventually(lambda: not cluster.topology.processes("m1"), 30.0, "the hog is gone")


def test_a_clock_step_is_taken_back_exactly(cluster: Cluster) -> None:
    before_ns = realtime_offset_ns()
    inject(cluster, "clock-step", "m1", "0.5")
    stepped_ns = realtime_offset_ns() - before_ns
    heal(cluster, "clock-step", "m1")
    assert 490_000_000 < stepped_ns < 510_000_000
    assert abs(realtime_offset_ns() - before_ns) < 5_000_000


def test_a_full_disk_takes_no_byte_until_healed(owner: Owner) -> None:
    cluster = Cluster.build(owner, Options(hosts=1, chunkservers=0, clients=0, small_disk_mb=4))
    inject(cluster, "disk-full", "m1")
    with pytest.raises(OSError, match="No space left"):
        (cluster.moosefs.data_path("m1") / "one").write_bytes(bytes(4096))
    heal(cluster, "disk-full", "m1")
    assert (cluster.moosefs.data_path("m1") / "one").write_bytes(bytes(4096)) == 4096


def test_disk_full_is_refused_where_it_would_fill_the_machine(cluster: Cluster) -> None:
    with pytest.raises(LaboratoryError, match="small disks"):
        inject(cluster, "disk-full", "m1")


def test_unknown_faults_hosts_and_arguments_are_named(cluster: Cluster) -> None:
    with pytest.raises(LaboratoryError, match="there is no fault 'flod'"):
        inject(cluster, "flod", "m1")
    with pytest.raises(LaboratoryError, match="there is no host 'm7'"):
        inject(cluster, "cut", "m7")
    with pytest.raises(LaboratoryError, match="'lots' is no percentage"):
        inject(cluster, "loss", "m1", "lots")
    with pytest.raises(LaboratoryError, match="`out` or `in`"):
        inject(cluster, "cut-one-way", "m1", "sideways")


def test_every_fault_that_was_brought_about_is_written_down_in_order(cluster: Cluster) -> None:
    events = [inject(cluster, "cut", "m1"), heal(cluster, "cut", "m1"), heal(cluster, "cut", "m1")]
    lines = [json.loads(line) for line in (cluster.directory / "faults.jsonl").read_text().splitlines()]
    assert [line["at_ns"] for line in lines] == [event.at_ns for event in events]
    assert [line["verb"] for line in lines] == ["inject", "heal", "heal"]


def test_healing_what_is_whole_is_no_fault(cluster: Cluster) -> None:
    for name in (
        "cut",
        "cut-one-way",
        "loss",
        "delay",
        "duplication",
        "reordering",
        "clock-step",
        "disk-full",
        "cpu-hog",
    ):
        heal(cluster, name, "m1")
    assert reaches(cluster, "c1", "192.0.2.11")
    assert set(FAULTS) >= {"crash", "cut", "pause", "kill", "loss", "replay", "forged", "flood"}
