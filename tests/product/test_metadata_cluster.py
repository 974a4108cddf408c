"""Whose metadata wins, on a real cluster under load: after power cuts, with a metalogger that died or fell behind.

What may be lost at a crash is what MooseFS had not streamed yet, and of that each operation is listed. When every host
loses power at once, or a metalogger dies with the master, what was in their buffers is in no file: there it is compared
what the files prove.
"""

import itertools
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netns.commands import boottime_ns
from netns.writer import Writer
from pycarpd.moosefs.chain import Chain, prove
from pycarpd.takeover.datafiles import Kept
from pycarpd.takeover.lost import LOST_FILE
from tests.product.accounts import archives, branches
from tests.product.stage import STOP_WITHIN_S, WRITERS, WRITES_WITHIN_S, Scene, Stage, within
from tests.product.test_switchover import metalogger_cut_off, move

ARBITER = "majority"
pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]

NAMES = (f"unverified{number}" for number in itertools.count())
BACK_WITHIN_S = 90.0
BEHIND_WITHIN_S = 60.0
START_EVERY_S = 1.0
"""So the last is there well within the time for which the first waits for reports, and the order is an order."""
FRESHEST_FIRST = ("freshest", "middle", "stalest")
CHAIN_WITHIN_S = 120.0
COMMAND_WITHIN_S = 60.0
LOST_FILES = 10


def versions(stage: Stage) -> dict[str, int]:
    """Return what the files of each host prove at this moment, 0 for nothing."""
    found: dict[str, int] = {}
    for host in stage.hosts:
        chain = prove(stage.cluster.moosefs.data_path(host), expected_metaid=None)
        found[host] = chain.version if isinstance(chain, Chain) else 0
    return found


def cut_power(stage: Stage, scene: Scene) -> dict[str, int]:
    """Kill every process of every metadata host, all before any is looked at, and return what the files prove."""
    pids = [process.pid for host in stage.hosts for process in stage.cluster.topology.processes(host)]
    stage.cluster.topology.send_signal(signal.SIGKILL, pids)
    for host in stage.hosts:
        scene.inject("crash", host)
    return versions(stage)


@contextmanager
def unverified(stage: Stage) -> Iterator[Scene]:
    """Let a client write two files at a time, and do not ask afterwards for what was in buffers."""
    client = stage.cluster.clients[0]
    writers = [Writer(stage.owner, stage.cluster.mounts[client], next(NAMES)) for _ in range(WRITERS)]
    try:
        for writer in writers:
            writer.wait_for(20, WRITES_WITHIN_S)
        yield Scene(stage, writers, stage.settle(), boottime_ns())
        stage.settle(BACK_WITHIN_S)
    finally:
        for writer in writers:
            writer.stop(STOP_WITHIN_S)


def lost_files(stage: Stage, host: str) -> list[Path]:
    archive = Kept(stage.cluster.moosefs.data_path(host)).archive
    return sorted(archive.glob(f"*/{LOST_FILE}"))


def why_not(stage: Stage, host: str) -> str:
    return str((stage.status(host).get("freshness") or {}).get("why_not") or "")


@pytest.mark.parametrize("order", list(itertools.permutations(FRESHEST_FIRST)), ids="-".join)
def test_after_a_power_cut_the_freshest_files_win_whoever_starts_first(stage: Stage, order: tuple[str, ...]) -> None:
    with unverified(stage) as scene:
        proved = cut_power(stage, scene)
        ranked = sorted(proved, key=lambda host: proved[host], reverse=True)
        hosts = dict(zip(FRESHEST_FIRST, ranked, strict=True))
        for role in order:
            scene.heal("crash", hosts[role])
            time.sleep(START_EVERY_S)
        winner = scene.await_master(within_s=BACK_WITHIN_S)
        assert proved[winner] == max(proved.values()), f"{winner} serves, the files prove {proved}"
        scene.await_writes(BACK_WITHIN_S)


def test_a_metalogger_that_dies_with_the_master_leaves_its_host_behind_the_other(stage: Stage) -> None:
    with unverified(stage) as scene:
        crashed = scene.master
        (hit, spared) = stage.others(crashed)
        stage.cluster.topology.send_signal(signal.SIGKILL, [stage.pid(hit, "mfsmetalogger")])
        scene.inject("crash", crashed)
        proved = versions(stage)
        successor = scene.await_master(not_on=crashed)
        assert successor == spared or proved[hit] >= proved[spared]
        scene.await_writes()
        scene.heal("crash", crashed)


def test_a_standby_that_fell_behind_says_so_and_the_other_takes_over(stage: Stage) -> None:
    with stage.scenario(gap_ms=30_000) as scene:
        crashed = scene.master
        behind, ahead = stage.others(crashed)
        scene.inject("pause", behind, "mfsmetalogger")
        within(
            lambda: "behind the master" in why_not(stage, behind), BEHIND_WITHIN_S, f"{behind} says that it is behind"
        )
        scene.inject("crash", crashed)
        assert scene.await_master(not_on=crashed) == ahead
        assert "behind the master" in why_not(stage, behind) or stage.pid(behind, "mfsmetalogger")
        scene.heal("pause", behind, "mfsmetalogger")
        scene.await_writes()
        scene.heal("crash", crashed)
    assert scene.successor == ahead


def test_failovers_one_after_the_other_list_what_each_has_lost(stage: Stage) -> None:
    with stage.scenario(gap_ms=30_000) as scene:
        master = scene.master
        for _ in range(3):
            crashed, listed = master, len(lost_files(stage, master))
            scene.inject("crash", crashed)
            master = scene.await_master(not_on=crashed)
            scene.await_writes()
            scene.heal("crash", crashed)
            within(lambda: not stage.unrest()[1], BACK_WITHIN_S, "both standbys could take over")
            lost = (stage.status(crashed).get("last_transition") or {}).get("operations_lost")
            lists = lost_files(stage, crashed)[listed:]
            assert lost is not None, f"{crashed} does not say what was lost"
            assert lost == sum(len(path.read_bytes().splitlines()) for path in lists)


@contextmanager
def paused(stage: Stage, host: str) -> Iterator[None]:
    """Let a host vote and not promote itself."""
    assert stage.cluster.daemons.control(host, "pause", timeout_s=COMMAND_WITHIN_S)[0] == 0
    try:
        yield
    finally:
        assert stage.cluster.daemons.control(host, "resume", timeout_s=COMMAND_WITHIN_S)[0] == 0


def test_a_chain_of_failovers_leads_through_every_host_and_back_to_the_first(stage: Stage) -> None:
    older = archives(stage.cluster)
    with stage.scenario() as scene:
        order = [scene.master, *stage.others(scene.master), scene.master]
        began_s = time.monotonic()
        for crashed, successor in itertools.pairwise(order):
            (kept_out,) = set(stage.hosts) - {crashed, successor}
            with paused(stage, kept_out):
                with metalogger_cut_off(stage, kept_out):  # who has fresher files votes for nobody else
                    scene.inject("crash", crashed)
                assert scene.await_master(not_on=crashed) == successor
                scene.await_writes()
            elapsed_s = time.monotonic() - began_s
            scene.heal("crash", crashed)
            within(lambda: not stage.unrest()[1], BACK_WITHIN_S, "both standbys could take over")
    assert elapsed_s < CHAIN_WITHIN_S
    assert scene.successor == order[-1]
    left = [each for each in branches(stage.cluster, scene.successor, older) if each.place in archives(stage.cluster)]
    assert len(left) >= len(order) - 1, "every former master has put its own files away"
    assert all((branch.listed() or ()) == branch.lost for branch in left), left


def test_who_was_away_for_two_masterships_lists_what_was_lost_at_the_first(stage: Stage) -> None:
    older = archives(stage.cluster)
    with stage.scenario() as scene:
        crashed = scene.master
        first, second = stage.others(crashed)
        with paused(stage, second):
            # The paused one first: with fresher files than the other's it would rightly refuse to vote for that.
            with metalogger_cut_off(stage, second), metalogger_cut_off(stage, first):
                scene.await_files(len(scene.files()) + LOST_FILES)
                scene.inject("crash", crashed)
            assert scene.await_master(not_on=crashed) == first
        scene.await_writes()
        stage.settle(hosts=(first, second))
        move(stage, first, second)
        scene.await_files(len(scene.files()) + 2 * LOST_FILES)
        scene.heal("crash", crashed)
    assert scene.successor == second
    (own,) = [
        each
        for each in branches(stage.cluster, second, older)
        if each.lost and each.place.is_relative_to(stage.cluster.moosefs.data_path(crashed))
    ]
    assert len(own.lost) >= LOST_FILES
    assert own.listed() == own.lost
    assert stage.status(crashed)["last_transition"]["operations_lost"] == len(own.lost)
