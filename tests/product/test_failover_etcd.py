"""An etcd decides: one master throughout, whoever dies, and whichever way the network falls apart.

Three etcd members run on hosts of their own. At no time do two hosts hold the VIP, and nothing is lost.
"""

from collections.abc import Iterator

import pytest

from netns.cluster import Cluster, Options
from netns.etcd import EtcdCluster, running
from netns.owner import Owner, reap
from netns.pycarpd import Settings
from netns.topology import SWITCH, VIP
from tests.product.stage import Stage, within

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(300)]

ETCD_HOSTS = ("u1", "u2", "u3")
LEASE_S = 5
"""The default: long enough for three members to elect another leader when theirs dies."""


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[tuple[Stage, EtcdCluster]]:
    reap()
    owner = Owner()
    try:
        urls = [f"http://192.0.2.{41 + index}:2379" for index in range(len(ETCD_HOSTS))]
        table = f"\n[etcd]\nendpoints = {urls!r}\nlease_s = {LEASE_S}".replace("'", '"')
        settings = Settings(arbiter="etcd", cluster_lines=(("", table),))
        cluster = Cluster.build(owner, Options(others=len(ETCD_HOSTS), settings=settings))
        etcd = EtcdCluster.on_hosts(cluster, ETCD_HOSTS)
        assert list(etcd.urls) == urls
        with running(etcd):
            cluster.start()
            yield Stage(owner, cluster, "etcd"), etcd
        owner.keep_files = request.session.testsfailed > 0
    finally:
        owner.release()


@pytest.fixture
def stage(lab: tuple[Stage, EtcdCluster]) -> Stage:
    return lab[0]


@pytest.fixture
def etcd(lab: tuple[Stage, EtcdCluster]) -> EtcdCluster:
    return lab[1]


def split(stage: Stage, *group: str) -> None:
    """Let the hosts of the group reach each other alone."""
    names = ", ".join(f'"{host}"' for host in group)
    rules = (
        f"iifname {{ {names} }} oifname != {{ {names} }} drop",
        f"iifname != {{ {names} }} oifname {{ {names} }} drop",
    )
    body = "\n".join(f"    {rule}" for rule in rules)
    chain = f"  chain forward {{\n    type filter hook forward priority 0; policy accept;\n{body}\n  }}"
    stage.cluster.topology.filter(SWITCH, "split", chain)


def mend(stage: Stage) -> None:
    stage.cluster.topology.unfilter(SWITCH, "split")


def test_a_crashed_master_is_followed(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        crashed = scene.master
        scene.inject("crash", crashed)
        successor = scene.await_master(not_on=crashed)
        scene.await_writes()
        scene.heal("crash", crashed)
    assert scene.successor == successor


def test_a_clean_stop_hands_over_before_the_lease_has_run_out(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        host = scene.master
        assert stage.cluster.daemons.stop(host) == 0
        scene.await_master(not_on=host)
        scene.await_writes()
        stage.cluster.daemons.start(host)
    scene.assert_no_overlap()


def test_the_death_of_an_etcd_member_disturbs_nobody(stage: Stage, etcd: EtcdCluster) -> None:
    with stage.scenario(gap_ms=3000) as scene:
        term = stage.status(scene.master)["term"]
        for server in etcd.servers:
            server.end()
            for _ in range(3):
                scene.await_writes()
            server.start(etcd.members)
            etcd.wait_healthy()
    assert scene.successor == scene.master
    assert stage.status(scene.master)["term"] == term
    assert not scene.vip_changes()


def test_a_partition_that_splits_hosts_and_etcd_leaves_one_master(stage: Stage) -> None:
    with stage.scenario(gap_ms=30_000) as scene:
        old = scene.master
        split(stage, old, "u1")
        try:
            successor = scene.await_master(not_on=old, within_s=60)
            assert VIP not in stage.cluster.topology.addresses(old)
            scene.await_writes()
        finally:
            mend(stage)
        within(lambda: stage.pid(old, "mfsmaster") == 0, 30, f"mfsmaster on {old} is ended")
    assert scene.successor == successor
    scene.assert_no_overlap()


def test_without_etcd_nobody_serves_and_with_it_the_same_mfsmaster_goes_on(stage: Stage, etcd: EtcdCluster) -> None:
    with stage.scenario(gap_ms=60_000) as scene:
        master = scene.master
        mfsmaster = stage.pid(master, "mfsmaster")
        for server in etcd.servers:
            server.end()
        within(lambda: stage.role(master) == "SUSPENDED", 20, "the master has no lease any more")
        assert not stage.cluster.topology.holders_of(VIP)
        for server in etcd.servers:
            server.start(etcd.members)
        scene.await_master()
        scene.await_writes()
    assert scene.successor == master
    assert stage.pid(master, "mfsmaster") == mfsmaster
