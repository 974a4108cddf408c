import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from netns import inject, watch, writer
from netns.capture import Kind, Sighting, ports, read_adverts
from netns.cluster import Cluster, Options
from netns.commands import boottime_ns, eventually, spawn
from netns.faults import inject as bring_about
from netns.owner import Owner
from netns.timeline import takeover
from netns.topology import VIP, VIP_CIDR
from netns.watch import Change
from netns.writer import Acknowledged

pytestmark = pytest.mark.netns
MS = 1_000_000


@pytest.fixture
def cluster(owner: Owner) -> Cluster:
    """Two metadata hosts and a client, with capture and netlink watch; no daemon runs."""
    return Cluster.build(owner, Options(hosts=2, chunkservers=0))


def start_ucarp(cluster: Cluster, owner: Owner, host: str) -> None:
    address = cluster.topology.hosts[host].address
    script = owner.directory / "nothing"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    argv = [
        "ucarp",
        "-i",
        "eth0",
        "-s",
        address,
        "-v",
        "10",
        "-p",
        "secret",
        "-a",
        VIP,
        "-u",
        str(script),
        "-d",
        str(script),
    ]
    owner.adopt(spawn(cluster.topology.inside(host, *argv), owner.directory / f"ucarp-{host}.log"))


def adverts(cluster: Cluster, host: str) -> list[Sighting]:
    assert cluster.capture is not None
    return [s for s in cluster.capture.sightings() if s.kind is Kind.ADVERT and s.host == host]


def test_a_real_ucarp_is_seen_claiming_and_resigning_once_a_frame(cluster: Cluster, owner: Owner) -> None:
    start_ucarp(cluster, owner, "m1")
    eventually(lambda: len(adverts(cluster, "m1")) >= 2, 30.0, "ucarp advertises")
    first, second, *_ = adverts(cluster, "m1")
    assert first.address == "192.0.2.11"
    assert first.claims
    assert first.role == ""
    assert second.at_ns - first.at_ns > 500 * MS


def test_replay_sends_what_was_heard_and_forgeries_name_the_attacker(cluster: Cluster, owner: Owner) -> None:
    start_ucarp(cluster, owner, "m1")
    eventually(lambda: len(adverts(cluster, "m1")) >= 2, 30.0, "ucarp advertises")
    cluster.topology.kill_everything("m1")
    assert cluster.capture is not None
    index = next(index for index, name in ports(cluster.topology).items() if name == "m1")
    recorded = read_adverts(cluster.capture.path, index)
    assert len(recorded) == len(adverts(cluster, "m1"))
    heard = count_on(cluster, owner, "m2")
    bring_about(cluster, "replay", "m1")
    eventually(lambda: heard() == len(recorded), 30.0, "m2 hears every one of them again")
    for kind in inject.KINDS:
        bring_about(cluster, "forged", "m1", kind)
    eventually(lambda: heard() == len(recorded) + 200 * len(inject.KINDS), 30.0, "m2 hears every forgery")


def count_on(cluster: Cluster, owner: Owner, host: str) -> Callable[[], int]:
    """Count protocol 112 packets as a raw socket on a host gets them, checksums and all."""
    log = owner.directory / "heard.log"
    script = (
        "import socket\n"
        "s = socket.socket(2, 3, 112)\n"
        "s.setsockopt(0, 35, socket.inet_aton('224.0.0.18') + socket.inet_aton('192.0.2.12'))\n"
        "print('ready', flush=True)\n"
        "while True:\n s.recv(2000)\n print('x', flush=True)\n"
    )
    owner.adopt(spawn(cluster.topology.inside(host, "python3", "-c", script), log))
    eventually(lambda: log.exists() and "ready" in log.read_text(), 30.0, "the listener is there")
    return lambda: log.read_text().count("x")


def test_a_forged_advert_is_right_in_all_but_its_digest() -> None:
    advert = inject.forged_advert(10, 255, 255, random.Random(1))  # noqa: S311 - no secret
    assert len(advert) == 36
    assert inject.checksum(advert) == 0
    assert (advert[0], advert[1], advert[2], advert[5]) == (0x21, 10, 255, 255)
    assert inject.checksum(inject.ipv4("192.0.2.11", advert)[:20]) == 0


def test_netlink_tells_of_addresses_and_links_once_each(cluster: Cluster) -> None:
    began_ns = boottime_ns()
    for _ in range(2):
        cluster.topology.add_address("m2", VIP_CIDR)
    cluster.topology.remove_address("m2", VIP_CIDR)
    bring_about(cluster, "link-down", "m2")

    def is_down() -> bool:
        return any((c.what, c.host) == ("link-down", "m2") for c in cluster.changes())

    eventually(is_down, 30.0, "the lost carrier is written down")
    told = [(c.what, c.detail) for c in cluster.changes() if c.host == "m2" and c.at_ns > began_ns]
    assert told == [("address-added", VIP), ("address-removed", VIP), ("link-down", "eth0")]


def test_a_half_written_line_is_left_for_the_next_time(tmp_path: Path) -> None:
    log = tmp_path / "netlink.jsonl"
    line = json.dumps(asdict(Change(1, "m1", "link-up", "eth0")))
    log.write_text(f"{line}\n{line[:10]}")
    assert watch.read_changes(log) == [Change(1, "m1", "link-up", "eth0")]
    assert watch.read_changes(tmp_path / "none") == []


@pytest.mark.parametrize("data", [b"", b"\0" * 16, b"\xff" * 64, bytes([20, 0, 0, 0, 20, 0]) + b"\0" * 14])
def test_nonsense_from_netlink_is_no_change(data: bytes) -> None:
    assert list(watch.parse(data)) == []


def acknowledged(name: str, began_ms: int, done_ms: int) -> Acknowledged:
    return Acknowledged(name, 1, "", began_ms * MS, done_ms * MS)


def test_a_takeover_is_put_together_from_its_witnesses() -> None:
    sightings = [
        Sighting(50 * MS, "m1", Kind.ADVERT, "192.0.2.11", "MASTER", 1),
        Sighting(900 * MS, "m3", Kind.ADVERT, "192.0.2.13", "BACKUP", 1),
        Sighting(950 * MS, "m2", Kind.ADVERT, "192.0.2.12", "PROMOTING", 2),
        Sighting(1500 * MS, "m2", Kind.GARP, VIP),
        Sighting(1550 * MS, "m2", Kind.SYN_ACK, VIP, port=9420),
        Sighting(1600 * MS, "m2", Kind.SYN_ACK, "192.0.2.12", port=9421),
        Sighting(1700 * MS, "m2", Kind.SYN_ACK, VIP, port=9421),
    ]
    changes = [Change(1 * MS, "m1", "address-added", VIP), Change(1450 * MS, "m2", "address-added", VIP)]
    files = [acknowledged("a", 90, 103), acknowledged("b", 104, 1800)]
    found = takeover(100 * MS, sightings, changes, files)
    assert found.new_owner == "m2"
    assert list(found.phases_ms.values()) == [850.0, 1350.0, 1400.0, 1450.0, 1600.0, 1700.0]


def test_a_candidate_that_had_the_address_and_gave_way_is_not_the_new_owner() -> None:
    sightings = [
        Sighting(950 * MS, "m2", Kind.ADVERT, "192.0.2.12", "PROMOTING", 2),
        Sighting(960 * MS, "m2", Kind.GARP, VIP),
        Sighting(1200 * MS, "m3", Kind.ADVERT, "192.0.2.13", "PROMOTING", 3),
        Sighting(1210 * MS, "m3", Kind.GARP, VIP),
        Sighting(1300 * MS, "m2", Kind.SYN_ACK, VIP, port=9420),
        Sighting(1700 * MS, "m3", Kind.SYN_ACK, VIP, port=9421),
    ]
    changes = [Change(at * MS, host, "address-added", VIP) for at, host in ((955, "m2"), (1205, "m3"))]
    found = takeover(100 * MS, sightings, changes, [acknowledged("a", 104, 1800)])
    assert found.new_owner == "m3"
    assert list(found.phases_ms.values()) == [1100.0, 1105.0, 1110.0, None, 1600.0, 1700.0]


def test_a_takeover_that_did_not_happen_has_no_owner() -> None:
    found = takeover(100 * MS, [], [Change(1, "m1", "address-added", VIP)], [acknowledged("a", 200, 300)])
    assert found.new_owner is None
    assert set(found.phases_ms.values()) == {None}


def write_log(log: Path, files: list[Acknowledged], error: str = "") -> None:
    lines = [json.dumps(asdict(file)) for file in files]
    if error:
        lines.append(json.dumps({"name": "x", "error": error, "at_ns": 1}))
    log.write_text("\n".join(lines) + "\n")


def test_the_longest_gap_is_between_completed_files_or_lasts_until_now(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write_log(log, [acknowledged("a", 0, 10), acknowledged("b", 11, 2010), acknowledged("c", 2011, 2020)], "EIO")
    told = writer.report(log)
    assert (told.acknowledged, told.longest_gap_ms, told.errors) == (3, 2000.0, ("EIO",))
    assert writer.report(log, until_ns=9020 * MS).longest_gap_ms == 7000.0
    assert writer.report(tmp_path / "none").acknowledged == 0


def test_the_verifier_tells_lost_short_and_wrong_apart(owner: Owner, tmp_path: Path) -> None:
    busy = writer.Writer(owner, tmp_path)
    busy.wait_for(10, 10.0)
    told = busy.stop()
    assert told.acknowledged >= 10
    assert told.errors == ()
    assert busy.verify(tmp_path).is_good
    names = sorted((tmp_path / "writer").iterdir())
    names[0].unlink()
    names[1].write_bytes(names[1].read_bytes()[:-1])
    names[2].write_bytes(hashlib.sha256(b"").digest() * 1000)
    verdict = busy.verify(tmp_path)
    assert (verdict.lost, verdict.short, verdict.wrong) == (1, 1, 1)
    assert verdict.checked == told.acknowledged
    assert not verdict.is_good
