"""A whole host goes away and comes back: crashed, cut off, one after the other until one is left."""

import pytest

from netns.capture import Kind
from netns.topology import VIP
from tests.product.stage import NS_PER_S, Stage, within

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def test_a_crashed_master_is_followed_and_returns_as_a_standby(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        crashed = scene.master
        scene.inject("crash", crashed)
        successor = scene.await_master(not_on=crashed)
        scene.await_writes()
        scene.heal("crash", crashed)
    assert scene.successor == successor
    scene.assert_no_overlap(crashed)


def test_a_crashed_standby_disturbs_nobody(stage: Stage) -> None:
    with stage.scenario(gap_ms=6000) as scene:
        crashed = stage.others(scene.master)[-1]
        scene.inject("crash", crashed)
        for _ in range(3):
            scene.await_writes()
        scene.heal("crash", crashed)
    assert scene.successor == scene.master
    assert not scene.vip_changes()


def test_a_master_that_was_cut_off_yields_to_its_successor(stage: Stage) -> None:
    with stage.scenario(gap_ms=20_000) as scene:
        old = scene.master
        scene.inject("cut", old)
        successor = scene.await_master(not_on=old)
        scene.await_writes()
        healed_ns = scene.heal("cut", old)
        within(lambda: VIP not in stage.cluster.topology.addresses(old), 60, f"{old} gives the VIP up")
        within(lambda: stage.pid(old, "mfsmaster") == 0, 60, f"mfsmaster on {old} is ended")
    assert scene.successor == successor
    gone = [c for c in scene.vip_changes() if c.host == old]
    assert [c.what for c in gone] == ["address-removed"]
    assert gone[0].at_ns - healed_ns < 10 * NS_PER_S
    assert stage.cluster.capture is not None
    late = [s for s in stage.cluster.capture.sightings() if s.at_ns > healed_ns and s.host == old]
    assert not [s for s in late if s.kind is Kind.SYN_ACK and s.address == VIP], "a client was let in by the old master"
    assert not [s for s in late if s.kind is Kind.GARP and s.address == VIP], "the old master announced the VIP"


def test_a_split_is_healed_to_one_master(stage: Stage) -> None:
    # Without a majority that decides neither knows of the other while they are apart, and the newer term counts.
    with stage.scenario(may_fail=True) as scene:
        cut = stage.others(scene.master)[0]
        scene.inject("cut", cut)
        within(lambda: stage.role(cut) == "MASTER", 60, f"{cut}, which hears nobody, serves for itself")
        scene.await_writes()
        scene.heal("cut", cut)
    assert scene.successor in (scene.master, cut)


def test_two_crashes_leave_one_host_that_serves_and_all_return(stage: Stage) -> None:
    with stage.scenario() as scene:
        first = scene.master
        scene.inject("crash", first)
        second = scene.await_master(not_on=first)
        scene.await_writes()
        (third,) = set(stage.hosts) - {first, second}
        within(lambda: not stage.unrest((second, third))[1], 60, f"{third} could take over from {second}")
        scene.inject("crash", second)
        within(lambda: scene.await_master(not_on=second) == third, 60, f"{third} serves")
        scene.await_writes()
        scene.heal("crash", second)
        scene.heal("crash", first)
    assert scene.successor == third
    scene.assert_no_overlap(first, second)


def test_a_lone_survivor_that_is_restarted_serves_again(stage: Stage) -> None:
    with stage.scenario(gap_ms=80_000) as scene:
        survivor = scene.master
        away = stage.others(survivor)
        for host in away:
            scene.inject("crash", host)
        scene.await_writes()
        scene.inject("crash", survivor)
        scene.heal("crash", survivor)
        # It waits a while to hear from the others before it believes that its own files are the newest.
        assert scene.await_master(within_s=90) == survivor
        scene.await_writes()
        for host in away:
            scene.heal("crash", host)
    assert scene.successor == survivor
