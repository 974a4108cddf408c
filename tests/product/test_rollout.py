"""A roll-out beside a file system in use, then an upgrade of each host: nobody waits, mfsmaster is never restarted.

The longest write is printed (pytest -s). The bound is for a busy test machine; on a quiet one it is below a second.
"""

import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import pytest

from netns.cluster import FIRST, Cluster, Options
from netns.commands import LaboratoryError
from netns.faults import find
from netns.owner import Owner, reap
from netns.pycarpd import Settings
from netns.topology import VIP
from netns.writer import Writer, read_log
from tests.product.stage import within

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(300)]

LONGEST_S = 3.0
WITHIN_S = 60.0
FILES = 20
UPGRADE = {"MASTER": signal.SIGUSR2, "BACKUP": signal.SIGTERM}
"""How a host's pycarpd is ended for its upgrade, by its role: a master's so that mfsmaster serves on."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three hosts with a MooseFS that was put up by hand: mfsmaster and VIP on m1, no pycarpd anywhere."""
    reap()
    with Owner() as owner:
        built = Cluster.build(owner, Options(settings=Settings(arbiter="majority")))
        built.start_manual()
        yield built


def role(cluster: Cluster, host: str) -> str:
    return str(cluster.daemons.look(host).get("role", ""))


def is_up(cluster: Cluster, host: str) -> bool:
    return role(cluster, host) not in ("", "FAULT")


def has_ended(cluster: Cluster, host: str) -> bool:
    return not cluster.daemons.processes(host)


def is_ready(cluster: Cluster, host: str) -> bool:
    status = cluster.daemons.look(host)
    return status.get("role") == "MASTER" or (status.get("role") == "BACKUP" and status["freshness"]["promotable"])


def await_ready(cluster: Cluster, host: str) -> None:
    try:
        within(partial(is_ready, cluster, host), WITHIN_S, f"{host} is ready")
    except LaboratoryError:
        pytest.fail(f"{host}: {cluster.daemons.look(host).get('freshness')}\n{cluster.last_words(host, 40)}")


def await_files(writer: Writer, count: int = FILES) -> None:
    so_far = len(read_log(writer.log)[0])
    within(lambda: len(read_log(writer.log)[0]) >= so_far + count, WITHIN_S, f"{count} more files written")


def roll_out(cluster: Cluster, writer: Writer) -> None:
    """Start pycarpd on one host after the other, the one that serves among them."""
    for host in cluster.daemons.hosts:
        cluster.daemons.start(host)
        within(partial(is_up, cluster, host), WITHIN_S, f"pycarpd on {host} answers")
        assert cluster.topology.holders_of(VIP) == [FIRST]
        await_files(writer)
    within(lambda: role(cluster, FIRST) == "MASTER", WITHIN_S, f"{FIRST} is MASTER")
    for host in cluster.daemons.hosts:
        await_ready(cluster, host)


def upgrade(cluster: Cluster, writer: Writer) -> None:
    """End and start pycarpd on each host in turn, as for a new version."""
    for host in cluster.daemons.hosts:
        supervisor = find(cluster, host, "supervisor")[0].pid
        os.kill(supervisor, UPGRADE[role(cluster, host)])
        within(partial(has_ended, cluster, host), WITHIN_S, f"pycarpd on {host} has ended")
        cluster.daemons.start(host)
        await_ready(cluster, host)
        await_files(writer)


def test_neither_roll_out_nor_upgrade_is_noticed(cluster: Cluster) -> None:
    client = cluster.clients[0]
    mfsmaster = find(cluster, FIRST, "mfsmaster")[0].pid
    writer = Writer(cluster.owner or pytest.fail("the cluster is owned"), cluster.mounts[client])
    await_files(writer)
    roll_out(cluster, writer)
    upgrade(cluster, writer)
    files, errors = read_log(writer.log)
    report = writer.stop()
    assert find(cluster, FIRST, "mfsmaster")[0].pid == mfsmaster
    assert cluster.topology.holders_of(VIP) == [FIRST]
    assert role(cluster, FIRST) == "MASTER"
    assert not errors
    longest_s = max(file.done_ns - file.began_ns for file in files) / 1e9
    gap_s = max(b.done_ns - a.done_ns for a, b in pairwise(files)) / 1e9
    sys.stdout.write(f"\n{len(files)} files, the longest write {longest_s:.3f} s, the longest wait {gap_s:.3f} s\n")
    assert max(longest_s, gap_s) < LONGEST_S
    verdict = writer.verify(cluster.moosefs.mount(client, "verify"))
    assert verdict.is_good
    assert verdict.checked == report.acknowledged
    assert all(c.detail != VIP or c.host == FIRST for c in cluster.changes() if c.what == "address-added")
