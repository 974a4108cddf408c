"""Two whole nodes with the real mfsmaster and nothing else: one serves, and any process of it may be killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netns.cluster import Cluster, Options
from netns.commands import eventually
from netns.owner import Owner

pytestmark = [pytest.mark.netns, pytest.mark.product]

READY_S = 60.0
GONE_S = 20.0
COUNTED_S = 3.0
PROCESSES = ("heartbeat", "worker", "supervisor")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Owner() as owner:
        made = Cluster.build(owner, Options(hosts=2, chunkservers=0, clients=0))
        made.start()
        yield made


@contextmanager
def never_two(cluster: Cluster) -> Iterator[None]:
    """Watch all the while that no two hosts have both the address and a mfsmaster."""
    found: list[list[str]] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            both = [h for h in cluster.topology.holders_of() if cluster.moosefs.lock_holder(h, "mfsmaster")]
            if len(both) > 1:
                found.append(both)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
    assert found == []


def master_of(cluster: Cluster) -> str:
    """Wait until one host serves and the other could; what the status says is what the kernel says."""
    master = cluster.wait_ready(READY_S)
    assert cluster.topology.holders_of() == [master]
    assert cluster.moosefs.serving_hosts() == [master]
    return master


def test_two_nodes_elect_one_master_and_both_say_so(cluster: Cluster) -> None:
    master = master_of(cluster)
    statuses = {host: status.fields for host, status in cluster.statuses().items()}
    assert {fields["master"] for fields in statuses.values()} == {master}
    assert {fields["term"] for fields in statuses.values()} == {statuses[master]["term"]}
    assert sorted(fields["role"] for fields in statuses.values()) == ["BACKUP", "MASTER"]
    assert all(fields["can_split"] for fields in statuses.values()), "two nodes without a witness say that they can"
    assert all(not fields["reports"] for fields in statuses.values()), statuses


def test_a_standby_that_always_hears_its_master_in_time_counts_wake_ups_too(cluster: Cluster) -> None:
    """Adverts put its deadlines off again and again; that it would wake in time is known all the same."""
    master = master_of(cluster)
    (standby,) = (host for host in cluster.daemons.hosts if host != master)

    def wakes() -> int:
        return int(cluster.daemons.status(standby).fields["lateness"]["wakes"])

    before = wakes()
    time.sleep(COUNTED_S)
    assert wakes() - before >= COUNTED_S


@pytest.mark.parametrize("name", PROCESSES)
def test_any_process_of_the_master_may_be_killed(cluster: Cluster, name: str) -> None:
    master = master_of(cluster)
    processes = cluster.daemons.processes(master)
    served_by = cluster.moosefs.lock_holder(master, "mfsmaster")
    terms = [status.fields["term"] for status in cluster.statuses().values()]
    with never_two(cluster):
        cluster.topology.send_signal(signal.SIGKILL, [processes[name].pid])
        eventually(lambda: not is_alive(served_by) or None, GONE_S, "the old mfsmaster is gone")
        if name == "supervisor":
            eventually(lambda: not cluster.daemons.processes(master) or None, GONE_S, "the pair has ended")
            cluster.daemons.start(master)
        master_of(cluster)
    assert min(s.fields["term"] for s in cluster.statuses().values()) > max(terms)
    assert cluster.daemons.processes(master)["heartbeat"].pid != processes["heartbeat"].pid


@pytest.mark.parametrize("name", PROCESSES)
def test_any_process_of_the_standby_may_be_killed_and_the_master_is_not_disturbed(cluster: Cluster, name: str) -> None:
    master = master_of(cluster)
    (standby,) = (host for host in cluster.daemons.hosts if host != master)
    served_by = cluster.moosefs.lock_holder(master, "mfsmaster")
    term = cluster.daemons.status(master).fields["term"]
    processes = cluster.daemons.processes(standby)
    with never_two(cluster):
        cluster.topology.send_signal(signal.SIGKILL, [processes[name].pid])
        if name == "supervisor":
            eventually(lambda: not cluster.daemons.processes(standby) or None, GONE_S, "the pair has ended")
            cluster.daemons.start(standby)
        else:
            eventually(lambda: is_another(cluster, standby, processes[name].pid), GONE_S, f"a new {name}")
        assert master_of(cluster) == master
    assert cluster.moosefs.lock_holder(master, "mfsmaster") == served_by
    assert cluster.daemons.status(master).fields["term"] == term


def test_a_restart_that_keeps_serving_disturbs_nothing(cluster: Cluster) -> None:
    master = master_of(cluster)
    served_by = cluster.moosefs.lock_holder(master, "mfsmaster")
    supervisor = cluster.daemons.processes(master)["supervisor"].pid
    with never_two(cluster):
        os.kill(supervisor, signal.SIGUSR2)
        eventually(lambda: not cluster.daemons.processes(master) or None, GONE_S, "pycarpd has ended")
        assert cluster.moosefs.lock_holder(master, "mfsmaster") == served_by
        cluster.daemons.start(master)
        assert master_of(cluster) == master
    assert cluster.moosefs.lock_holder(master, "mfsmaster") == served_by


def test_a_stopped_heartbeat_loses_the_address_to_the_kernel_and_the_other_node_serves(cluster: Cluster) -> None:
    master = master_of(cluster)
    heartbeat = cluster.daemons.processes(master)["heartbeat"].pid
    os.kill(heartbeat, signal.SIGSTOP)
    try:
        eventually(lambda: master not in cluster.topology.holders_of() or None, 30.0, "the address has run out")
    finally:
        os.kill(heartbeat, signal.SIGCONT)
    master_of(cluster)


def test_no_key_material_is_seen_outside_of_the_key_file(cluster: Cluster) -> None:
    master = master_of(cluster)
    for host in cluster.daemons.hosts:
        key = (cluster.topology.host_directory(host) / "key").read_text().strip()
        secrets = (key.encode(), bytes.fromhex(key))
        processes = cluster.daemons.processes(host)
        assert set(processes) == set(PROCESSES)
        pids = {process.pid for process in cluster.topology.processes(host)}
        assert pids >= {process.pid for process in processes.values()}
        for pid in pids:
            for name in ("cmdline", "environ"):
                content = Path(f"/proc/{pid}/{name}").read_bytes()
                assert not any(secret in content for secret in secrets), (host, pid, name)
        kept = [p for p in cluster.topology.host_directory(host).rglob("*") if p.is_file() and p.name != "key"]
        assert cluster.daemons.log(host) in kept
        for path in kept:
            assert not any(secret in path.read_bytes() for secret in secrets), path
    assert cluster.daemons.status(master).fields["role"] == "MASTER"


def test_a_serving_heartbeat_stays_below_60_mb_and_does_not_grow(cluster: Cluster) -> None:
    master = master_of(cluster)
    heartbeat = cluster.daemons.processes(master)["heartbeat"].pid
    before_kb = rss_kb(heartbeat)
    time.sleep(6)
    assert before_kb < 60_000
    assert rss_kb(heartbeat) - before_kb < 300, "twelve renewals of the address, 24 adverts"


def test_sigterm_hands_over_and_ends_with_0(cluster: Cluster) -> None:
    master = master_of(cluster)
    served_by = cluster.moosefs.lock_holder(master, "mfsmaster")
    with never_two(cluster):
        assert cluster.daemons.stop(master) == 0, cluster.last_words(master)
        eventually(lambda: not is_alive(served_by) or None, 30.0, "its mfsmaster is gone")
        cluster.daemons.start(master)
        assert master_of(cluster) != master


def is_alive(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}").exists()


def is_another(cluster: Cluster, host: str, pid: int) -> bool:
    return all(p.pid != pid for p in cluster.daemons.processes(host).values()) and bool(cluster.daemons.processes(host))


def rss_kb(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])
