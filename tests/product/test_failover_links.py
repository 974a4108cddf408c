"""The master's interface goes down, comes back, is made anew; its address is taken away by hand."""

import pytest

from netns.topology import VIP
from tests.product.stage import Stage, within

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def has_vip(stage: Stage, host: str) -> bool:
    return VIP in stage.cluster.topology.addresses(host)


def test_a_short_loss_of_the_link_restarts_nothing(stage: Stage) -> None:
    with stage.scenario() as scene:
        host = scene.master
        mfsmaster = stage.pid(host, "mfsmaster")
        scene.inject("interface-down", host)
        within(lambda: not has_vip(stage, host), 60, f"{host} takes the VIP away")
        scene.heal("interface-down", host)
        within(lambda: has_vip(stage, scene.await_master()), 60, "the VIP is back")
        scene.await_writes()
        scene.assert_no_overlap()
    if scene.successor == host:
        assert stage.pid(host, "mfsmaster") == mfsmaster, "it served on without a restart"


@pytest.mark.parametrize("fault", ["interface-down", "link-down", "interface-gone"])
def test_a_long_loss_of_the_link_hands_over(stage: Stage, fault: str) -> None:
    with stage.scenario() as scene:
        host = scene.master
        scene.inject(fault, host)
        successor = scene.await_master(not_on=host)
        assert not has_vip(stage, host)
        scene.await_writes()
        scene.heal(fault, host)
        within(lambda: stage.pid(host, "mfsmaster") == 0, 60, f"mfsmaster on {host} is ended")
    assert scene.successor == successor
    scene.assert_no_overlap()


def test_an_interface_made_anew_at_once_is_taken_up(stage: Stage) -> None:
    with stage.scenario() as scene:
        host = scene.master
        scene.inject("interface-gone", host)
        scene.heal("interface-gone", host)
        scene.await_master()
        scene.await_writes()
    scene.assert_no_overlap()


def test_a_standby_whose_interface_is_made_anew_stays_a_standby(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        host = stage.others(scene.master)[0]
        scene.inject("interface-gone", host)
        within(lambda: stage.role(host) == "FAULT", 60, f"{host} knows that it hears nothing")
        scene.heal("interface-gone", host)
        within(lambda: stage.role(host) == "BACKUP", 60, f"{host} is back")
    assert scene.successor == scene.master
    assert not scene.vip_changes()


def test_a_vip_removed_by_hand_is_put_back(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        host = scene.master
        mfsmaster = stage.pid(host, "mfsmaster")
        removed_ns = scene.inject("vip-removed", host)
        within(lambda: len(scene.vip_changes()) >= 2, 60, "the VIP went and came")
        scene.await_writes()
    assert scene.successor == host
    assert stage.pid(host, "mfsmaster") == mfsmaster
    went, came = scene.vip_changes()
    assert [(went.host, went.what), (came.host, came.what)] == [(host, "address-removed"), (host, "address-added")]
    assert came.at_ns - removed_ns < 10_000_000_000
