"""A majority decides: at no time do two hosts hold the VIP, whatever is cut, stopped or killed, and nothing is lost.

Unlike with ``arbiter = "none"`` no host is excused: the old master gives way before anybody else may serve.
"""

import os
import signal

import pytest

from netns.topology import VIP
from tests.product.stage import NS_PER_S, Stage, within

ARBITER = "majority"
pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def test_a_crashed_master_is_followed(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        crashed = scene.master
        scene.inject("crash", crashed)
        successor = scene.await_master(not_on=crashed)
        scene.await_writes()
        scene.heal("crash", crashed)
    assert scene.successor == successor


def test_a_master_in_the_minority_gives_way_before_another_serves(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        old = scene.master
        scene.inject("cut", old)
        successor = scene.await_master(not_on=old)
        assert VIP not in stage.cluster.topology.addresses(old)
        scene.await_writes()
        scene.heal("cut", old)
        within(lambda: stage.pid(old, "mfsmaster") == 0, 60, f"mfsmaster on {old} is ended")
    assert scene.successor == successor
    scene.assert_no_overlap()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_master_cut_off_one_way_gives_way_before_another_serves(stage: Stage, direction: str) -> None:
    with stage.scenario(gap_ms=30_000) as scene:
        old = scene.master
        scene.inject("cut-one-way", old, direction)
        scene.await_master(not_on=old)
        scene.await_writes()
        scene.heal("cut-one-way", old, direction)
    scene.assert_no_overlap()


def test_a_standby_in_the_minority_disturbs_nobody(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        cut = stage.others(scene.master)[0]
        term = stage.status(scene.master)["term"]
        scene.inject("cut", cut)
        for _ in range(3):
            scene.await_writes()
        assert stage.role(cut) == "BACKUP"
        scene.heal("cut", cut)
    assert scene.successor == scene.master
    assert stage.status(scene.master)["term"] == term
    assert not scene.vip_changes()


def test_a_lone_host_serves_nobody_until_a_majority_is_back(stage: Stage) -> None:
    with stage.scenario(gap_ms=60_000) as scene:
        master, crashed = scene.master, stage.others(scene.master)
        mfsmaster = stage.pid(master, "mfsmaster")
        for host in crashed:
            scene.inject("crash", host)
        within(lambda: stage.role(master) == "SUSPENDED", 60, f"{master} has lost its lease")
        assert not stage.cluster.topology.holders_of(VIP)
        scene.heal("crash", crashed[0])
        within(lambda: stage.role(master) == "MASTER", 60, f"{master} serves on")
        assert stage.pid(master, "mfsmaster") == mfsmaster
        scene.heal("crash", crashed[1])
    assert scene.successor == master


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_heartbeat_that_was_stopped_finds_the_fence_closed(stage: Stage, seconds: float) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        host = scene.master
        stopped_ns = scene.inject("pause", host, "heartbeat")
        within(lambda: scene.now() - stopped_ns > seconds * NS_PER_S, 60, f"{seconds} s have passed")
        scene.heal("pause", host, "heartbeat")
        scene.await_master()
        scene.await_writes()


def test_a_mfsmaster_left_without_pycarpd_is_reached_by_nobody(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        host = scene.master
        pids = [stage.pid(host, what) for what in ("supervisor", "heartbeat", "worker")]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        successor = scene.await_master(not_on=host)
        assert stage.pid(host, "mfsmaster")
        scene.await_writes()
        stage.cluster.daemons.start(host)
        within(lambda: stage.pid(host, "mfsmaster") == 0, 60, f"the mfsmaster left on {host} is ended")
    assert scene.successor == successor


def test_a_restart_that_keeps_serving_disturbs_nobody(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        host = scene.master
        mfsmaster, term = stage.pid(host, "mfsmaster"), stage.status(host)["term"]
        os.kill(stage.pid(host, "supervisor"), signal.SIGUSR2)
        within(lambda: not stage.cluster.daemons.processes(host), 60, f"pycarpd on {host} has ended")
        stage.cluster.daemons.start(host)
        within(lambda: stage.role(host) == "MASTER", 60, f"{host} is MASTER again")
    assert scene.successor == host
    assert (stage.pid(host, "mfsmaster"), stage.status(host)["term"]) == (mfsmaster, term)
    assert not scene.vip_changes()


def test_a_clean_stop_hands_over(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        host = scene.master
        assert stage.cluster.daemons.stop(host) == 0
        scene.await_master(not_on=host)
        scene.await_writes()
        stage.cluster.daemons.start(host)
    scene.assert_no_overlap()


def test_a_metalogger_that_dies_is_started_again(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        standby = stage.others(scene.master)[0]
        died = stage.pid(standby, "mfsmetalogger")
        scene.inject("kill", standby, "mfsmetalogger")
        within(lambda: stage.pid(standby, "mfsmetalogger") not in (0, died), 60, f"a metalogger runs on {standby}")
        within(lambda: stage.status(standby)["freshness"]["promotable"], 60, f"{standby} could take over again")
    assert scene.successor == scene.master
