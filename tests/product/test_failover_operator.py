"""What an operator does: stops, restarts, upgrades, reloads, puts pycarpd beside a file system that serves already."""

import os
import signal

import pytest

from netns.topology import VIP, VIP_CIDR
from tests.product.stage import Stage, within

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def signal_pycarpd(stage: Stage, host: str, number: signal.Signals) -> None:
    os.kill(stage.pid(host, "supervisor"), number)


def test_a_clean_stop_hands_over_and_a_start_makes_a_standby(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        host = scene.master
        stopped_ns = scene.now()
        assert stage.cluster.daemons.stop(host) == 0
        assert VIP not in stage.cluster.topology.addresses(host)
        assert not stage.pid(host, "mfsmaster")
        successor = scene.await_master(not_on=host)
        scene.await_writes()
        stage.cluster.daemons.start(host)
    assert scene.successor == successor
    scene.assert_no_overlap()
    added = [c for c in scene.vip_changes() if c.what == "address-added"]
    assert [c.host for c in added] == [successor]
    assert added[0].at_ns - stopped_ns < 15_000_000_000


def test_a_restart_that_keeps_serving_disturbs_nobody(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        host = scene.master
        mfsmaster, term = stage.pid(host, "mfsmaster"), stage.status(host)["term"]
        signal_pycarpd(stage, host, signal.SIGUSR2)
        within(lambda: not stage.cluster.daemons.processes(host), 60, f"pycarpd on {host} has ended")
        assert stage.pid(host, "mfsmaster") == mfsmaster
        assert VIP in stage.cluster.topology.addresses(host)
        stage.cluster.daemons.start(host)
        within(lambda: stage.role(host) == "MASTER", 60, f"{host} is MASTER again")
    assert scene.successor == host
    assert stage.pid(host, "mfsmaster") == mfsmaster
    assert stage.status(host)["term"] == term
    assert not scene.vip_changes()


def test_a_restart_that_does_not_come_back_is_followed(stage: Stage) -> None:
    with stage.scenario(gap_ms=45_000) as scene:
        host = scene.master
        signal_pycarpd(stage, host, signal.SIGUSR2)
        successor = scene.await_master(not_on=host, within_s=90)
        scene.await_writes()
        stage.cluster.daemons.start(host)
        within(lambda: stage.pid(host, "mfsmaster") == 0, 60, f"the mfsmaster left on {host} is ended")
    assert scene.successor == successor


def test_a_running_file_system_is_adopted(stage: Stage) -> None:
    cluster = stage.cluster
    host = stage.settle()
    for each in [*stage.others(host), host]:
        assert cluster.daemons.stop(each) == 0
    cluster.topology.add_address(host, VIP_CIDR)
    mfsmaster = cluster.moosefs.start_master(host, restore=True)
    for each in stage.hosts:
        cluster.daemons.start(each)
    assert stage.settle() == host
    with stage.scenario(gap_ms=6000) as scene:
        scene.await_writes()
    assert scene.successor == host
    assert stage.pid(host, "mfsmaster") == mfsmaster


def test_a_reload_takes_what_it_can_and_refuses_the_rest(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        host = scene.master
        daemons = stage.cluster.daemons
        whole = daemons.config(host).read_text()
        try:
            daemons.config(host).write_text(whole.replace("[moosefs]", "priority = 42\n\n[moosefs]"))
            signal_pycarpd(stage, host, signal.SIGHUP)
            within(lambda: "reloaded applied=" in stage.log(host), 60, "the reload is told")
            other = stage.others(host)[0]
            within(lambda: stage.priority_of(host, seen_by=other) == 42, 60, f"{other} hears of the new priority")
            daemons.config(host).write_text(whole.replace("vhid = 10", "vhid = 11"))
            said = len(stage.log(host))
            signal_pycarpd(stage, host, signal.SIGHUP)
            within(lambda: "vhid" in stage.log(host)[said:], 60, "the refusal is told")
            assert stage.priority_of(host, seen_by=other) == 42
        finally:
            daemons.config(host).write_text(whole)
            signal_pycarpd(stage, host, signal.SIGHUP)
    assert scene.successor == scene.master
    assert not scene.vip_changes()


def test_a_configuration_that_cannot_be_read_changes_nothing(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        host = scene.master
        config = stage.cluster.daemons.config(host)
        whole = config.read_text()
        try:
            said = len(stage.log(host))
            config.write_text("this is no TOML")
            signal_pycarpd(stage, host, signal.SIGHUP)
            within(lambda: "error" in stage.log(host)[said:], 60, "the fault is told")
        finally:
            config.write_text(whole)
    assert scene.successor == scene.master
    assert not scene.vip_changes()
