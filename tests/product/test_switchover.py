"""The planned switchover under load: the role moves without an operation lost or refused, or it stays where it is."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from netns.capture import Kind
from netns.commands import must
from netns.topology import VIP
from tests.product.stage import Scene, Stage, within

ARBITER = "majority"
pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]

COMMAND_WITHIN_S = 60.0
GAP_MS = 10_000
ATTEMPTS_MAX = 5
"""On a busy machine a successor may not be level within the two seconds; then nothing has happened."""
PASSING = {"switchover-too-slow", "switchover-not-level", "switchover-aborted", "switchover-interrupted"}
TABLE = "cut_metalogger"


def switchover(stage: Stage, host: str, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Ask a host for a switchover; return the exit status, the first report's code and the whole answer."""
    status, output = stage.cluster.daemons.control(host, "switchover", "--json", *arguments, timeout_s=COMMAND_WITHIN_S)
    answer: dict[str, Any] = json.loads(output.splitlines()[0])
    return status, answer["reports"][0]["code"], answer


def move(stage: Stage, host: str, target: str) -> None:
    """Move the master to that host."""
    answer: dict[str, Any] = {}
    for _ in range(ATTEMPTS_MAX):
        status, code, answer = switchover(stage, host, "--to", target)
        if status == 0:
            assert code in ("switchover-done", "switchover-unfinished"), answer
            return
        assert code in PASSING, answer
        assert stage.settle() == host, "a switchover that is called off leaves the old master serving"
    pytest.fail(f"no switchover in {ATTEMPTS_MAX} attempts: {answer}")


@contextmanager
def metalogger_cut_off(stage: Stage, host: str) -> Iterator[None]:
    """Let no change reach the host's metalogger, and everything else."""
    rules = f"""table inet {TABLE} {{
  chain input {{ type filter hook input priority 0; policy accept; tcp sport 9419 drop; }}
}}"""
    must(*stage.cluster.topology.inside(host, "nft", rules))
    try:
        yield
    finally:
        must(*stage.cluster.topology.inside(host, "nft", f"delete table inet {TABLE}"))


def test_the_master_moves_there_and_back(stage: Stage) -> None:
    with stage.scenario(gap_ms=GAP_MS) as scene:
        first = scene.master
        second = stage.others(first)[0]
        move(stage, first, second)
        assert scene.await_master(not_on=first) == second
        scene.await_writes()
        assert stage.settle() == second
        move(stage, second, first)
        assert scene.await_master(not_on=second) == first
        scene.await_writes()
    assert scene.successor == first
    scene.assert_no_overlap()


def test_what_could_not_succeed_is_refused_and_nobody_waits(stage: Stage) -> None:
    with stage.scenario(gap_ms=GAP_MS) as scene:
        master = scene.master
        paused, other = stage.others(master)
        assert stage.cluster.daemons.control(paused, "pause", timeout_s=COMMAND_WITHIN_S)[0] == 0
        within(lambda: is_paused(stage, paused, seen_by=master), 20, f"{master} hears that {paused} is paused")
        assert switchover(stage, master, "--to", paused)[:2] == (1, "switchover-not-promotable")
        assert switchover(stage, master, "--to", "m9")[:2] == (1, "switchover-unknown-node")
        assert switchover(stage, other)[:2] == (1, "not-master")
        assert stage.cluster.daemons.control(paused, "resume", timeout_s=COMMAND_WITHIN_S)[0] == 0
    assert scene.successor == master
    assert not scene.vip_changes()


def is_paused(stage: Stage, host: str, seen_by: str) -> bool:
    members = stage.status(seen_by).get("members", [])
    return any(member["name"] == host and member["paused"] for member in members)


def test_a_successor_that_lacks_changes_gets_nothing_and_the_master_serves_on(stage: Stage) -> None:
    with stage.scenario(gap_ms=GAP_MS) as scene:
        master = scene.master
        target = stage.others(master)[0]
        with metalogger_cut_off(stage, target):
            scene.await_files(len(scene.files()) + 20)
            status, code, answer = switchover(stage, master, "--to", target)
            assert status == 1, answer
            assert code in PASSING | {"switchover-not-promotable"}, answer
            assert stage.role(master) == "MASTER"
            scene.await_writes()
        within(lambda: stage.pid(target, "mfsmetalogger"), 30, f"the metalogger of {target} runs again")
    assert scene.successor == master
    assert not scene.vip_changes()


@pytest.mark.parametrize("step", ["hold term", "demote term"], ids=["while-clients-are-held", "when-the-role-is-free"])
def test_a_successor_that_is_killed_in_the_middle_costs_nothing(stage: Stage, step: str) -> None:
    with stage.scenario(gap_ms=3 * GAP_MS) as scene:
        master = scene.master
        target = stage.others(master)[0]
        before = len(stage.log(master))
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(switchover, stage, master, "--to", target)
            within(lambda: f"plan={step}" in stage.log(master)[before:] or asked.done(), 30, f"{step} on {master}")
            for process in stage.cluster.daemons.processes(target).values():
                os.kill(process.pid, signal.SIGKILL)
            asked.result(COMMAND_WITHIN_S)
        scene.await_master()
        scene.await_writes()
        within(lambda: not stage.cluster.daemons.processes(target), 20, f"pycarpd on {target} is gone")
        stage.cluster.daemons.start(target)
    # Nobody is left there to take an early address away: its lifetime does, and until then the fence stands before it.
    scene.assert_no_overlap(target)
    assert not answers_beside_another(scene, target)


def answers_beside_another(scene: Scene, host: str) -> bool:
    """Tell whether a host announced the VIP or let somebody in there after another host had taken it."""
    assert scene.stage.cluster.capture is not None
    taken = [c.at_ns for c in scene.vip_changes() if c.host != host and c.what == "address-added"]
    seen = [s for s in scene.stage.cluster.capture.sightings() if s.host == host and s.address == VIP]
    return any(s.kind in (Kind.GARP, Kind.SYN_ACK) and taken and s.at_ns > min(taken) for s in seen)


def test_who_stops_hands_over_first(stage: Stage) -> None:
    with stage.scenario(gap_ms=GAP_MS) as scene:
        host = scene.master
        before = len(stage.log(host))
        assert stage.cluster.daemons.stop(host) == 0
        assert "plan=hold" in stage.log(host)[before:]
        scene.await_master(not_on=host)
        scene.await_writes()
        stage.cluster.daemons.start(host)
    scene.assert_no_overlap()
