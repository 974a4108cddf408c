"""A process dies on the master's host, or stops: who serves then, and how soon."""

import os
import signal
import time

import pytest

from netns.faults import find
from netns.topology import VIP
from tests.product.stage import NS_PER_S, Stage, within

UNWRITTEN_S = 2.5
"""Longer than a standby's metalogger keeps changes in its buffer."""

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def test_mfsmaster_killed_alone_is_restarted_in_place(stage: Stage) -> None:
    stage.fresh_master()
    with stage.scenario() as scene:
        host = scene.master
        before = stage.pid(host, "mfsmaster")
        scene.inject("kill", host, "mfsmaster")
        within(lambda: stage.pid(host, "mfsmaster") not in (0, before), 60, "mfsmaster runs again")
        scene.await_writes()
        assert scene.await_master() == host
    assert scene.successor == host
    assert not [c for c in scene.vip_changes() if c.host != host]


def test_mfsmaster_that_hangs_is_replaced(stage: Stage) -> None:
    stage.fresh_master()
    with stage.scenario() as scene:
        host = scene.master
        before = stage.pid(host, "mfsmaster")
        stopped_ns = scene.inject("pause", host, "mfsmaster")
        within(lambda: stage.pid(host, "mfsmaster") not in (0, before), 60, "another mfsmaster runs")
        scene.await_writes()
    assert scene.successor == host
    assert scene.gap_ms_around(stopped_ns) < 20_000
    scene.assert_no_overlap()


def test_what_a_killed_mfsmaster_had_not_written_is_served_by_a_standby_that_has_it(stage: Stage) -> None:
    """With its writer and the metalogger beside it stopped, only the standbys get what changes from then on."""
    stage.fresh_master()
    with stage.scenario() as scene:
        host = scene.master
        master, *writers = find(stage.cluster, host, "mfsmaster")
        beside = find(stage.cluster, host, "mfsmetalogger")
        assert writers
        assert beside
        for each in (*writers, *beside):
            os.kill(each.pid, signal.SIGSTOP)
        time.sleep(UNWRITTEN_S)
        for each in (master, *writers, *beside):
            os.kill(each.pid, signal.SIGKILL)
        assert scene.await_master(not_on=host) != host
        scene.await_writes()
    assert scene.successor != host
    scene.assert_no_overlap()


def test_mfsmaster_dying_again_and_again_is_given_to_another_host(stage: Stage) -> None:
    stage.fresh_master()
    with stage.scenario() as scene:
        host = scene.master
        before = stage.pid(host, "mfsmaster")
        scene.inject("kill", host, "mfsmaster")
        within(lambda: stage.pid(host, "mfsmaster") not in (0, before), 60, "mfsmaster runs again")
        scene.await_writes()
        scene.inject("kill", host, "mfsmaster")
        assert scene.await_master(not_on=host) != host
        scene.await_writes()
    assert scene.successor != host
    scene.assert_no_overlap()


@pytest.mark.parametrize("victim", ["heartbeat", "worker", "supervisor"])
def test_a_process_of_pycarpd_killed_hands_over(stage: Stage, victim: str) -> None:
    stage.fresh_master()
    with stage.scenario() as scene:
        host = scene.master
        was = {name: stage.pid(host, name) for name in ("supervisor", "heartbeat", "worker")}
        said = len(stage.log(host))
        scene.inject("kill", host, victim)
        successor = scene.await_master(not_on=host)
        assert VIP not in stage.cluster.topology.addresses(host)
        scene.await_writes()
        within(lambda: stage.pid(host, "mfsmaster") == 0, 60, f"no mfsmaster is left on {host}")
        if victim == "supervisor":
            within(lambda: not stage.cluster.daemons.processes(host), 60, "heartbeat and worker have ended")
            assert stage.log(host)[said:].count("the supervisor is gone") == 1
            stage.cluster.daemons.start(host)
        else:
            assert stage.pid(host, "supervisor") == was["supervisor"]
            within(lambda: stage.pid(host, "heartbeat") not in (0, was["heartbeat"]), 60, "a new heartbeat runs")
            within(lambda: stage.pid(host, "worker") not in (0, was["worker"]), 60, "a new worker runs")
    assert scene.successor == successor
    scene.assert_no_overlap()


def test_a_stopped_heartbeat_loses_the_address_by_itself(stage: Stage) -> None:
    # Until its address is gone a master without a lease still serves, and what it was told then is lost.
    with stage.scenario(may_fail=True) as scene:
        host = scene.master
        stopped_ns = scene.inject("pause", host, "heartbeat")
        within(lambda: VIP not in stage.cluster.topology.addresses(host), 60, "the kernel takes the VIP away")
        successor = scene.await_master(not_on=host)
        scene.await_writes()
        scene.heal("pause", host, "heartbeat")
        within(lambda: stage.pid(host, "mfsmaster") == 0, 60, f"mfsmaster on {host} is ended")
    assert scene.successor == successor
    gone = [c for c in scene.vip_changes() if c.host == host]
    assert [c.what for c in gone] == ["address-removed"]
    assert gone[0].at_ns - stopped_ns < 15 * NS_PER_S


def test_a_standby_whose_worker_dies_stays_a_standby(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        host = stage.others(scene.master)[0]
        worker = stage.pid(host, "worker")
        scene.inject("kill", host, "worker")
        within(lambda: stage.pid(host, "worker") not in (0, worker), 60, "a new worker runs")
        assert find(stage.cluster, scene.master, "mfsmaster")
    assert scene.successor == scene.master
    assert not scene.vip_changes()
