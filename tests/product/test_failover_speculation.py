"""A standby loads mfsmaster while the lease still runs: it serves what it has loaded, or takes it back unseen."""

import os
import signal
import time

import pytest

from tests.product.stage import Stage, within

ARBITER = "majority"
CLUSTER_LINES = ("speculate = true",)
CRASHES_MAX = 4
AWAIT_TERM = "step=await-term verb=run"
TAKEN_BACK = "what was loaded on suspicion is taken back undone=True"
PAUSED_S = 0.4
"""Longer than the suspicion needs (375 ms), and 250 ms after an advert still shorter than the lease (750 ms)."""

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]


def said_since(stage: Stage, said: dict[str, int]) -> dict[str, str]:
    """Return what each host's pycarpd has said since it had said so many characters."""
    return {host: stage.log(host)[said[host] :] for host in stage.hosts}


def crash(stage: Stage) -> str:
    """Crash the master's host and return what its successor has said since."""
    stage.fresh_master()
    with stage.scenario() as scene:
        said = {host: len(stage.log(host)) for host in stage.hosts}
        dead = scene.master
        scene.inject("crash", dead)
        successor = scene.await_master(not_on=dead)
        scene.await_writes()
        words = said_since(stage, said)[successor]
        scene.heal("crash", dead)
    assert scene.successor == successor
    scene.assert_no_overlap(dead)
    return words


def test_a_crashed_master_is_succeeded_by_what_was_loaded_on_suspicion(stage: Stage) -> None:
    for _ in range(CRASHES_MAX):
        words = crash(stage)
        assert words.count("step=start-mfsmaster verb=run ms=") == 1
        if AWAIT_TERM in words:  # else the other standby had received more of the last changes, and was elected for it
            assert words.index(AWAIT_TERM) < words.index("step=take-address verb=run")
            return
    pytest.fail(f"of {CRASHES_MAX} crashes none was succeeded by who had loaded beforehand")


def test_a_master_that_was_only_late_goes_on_and_what_was_loaded_is_taken_back(stage: Stage) -> None:
    master = stage.fresh_master()
    before = stage.pid(master, "mfsmaster")
    with stage.scenario(is_planned=True) as scene:
        said = {host: len(stage.log(host)) for host in stage.hosts}
        heartbeat = stage.pid(master, "heartbeat")
        os.kill(heartbeat, signal.SIGSTOP)
        time.sleep(PAUSED_S)
        os.kill(heartbeat, signal.SIGCONT)
        within(lambda: any(TAKEN_BACK in t for t in said_since(stage, said).values()), 60, "it is taken back")
        within(lambda: stage.cluster.moosefs.serving_hosts() == [master], 60, "one mfsmaster is left")
        scene.await_writes()
    assert scene.successor == master
    assert stage.pid(master, "mfsmaster") == before
    assert {change.host for change in scene.vip_changes()} <= {master}  # a machine that stands still costs a lease
