"""A master that crashes within its hourly save: the changelogs are rotated, and of the new base there is a part.

mfsmaster saves on the full hour, in a process that it forks. Here the hour comes when it is wanted, since mfsmaster has
a clock of its own, and that process is stopped as soon as it has written something.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.drill import grow
from netns.faults import inject
from pycarpd.linux.inotify import DirectoryWatch
from pycarpd.moosefs.metadata import MetadataFault, walk
from tests.product.accounts import LIST, archives
from tests.product.stage import Scene, Stage, within
from tests.product.test_switchover import move

ARBITER = "majority"
pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]

BASE = "metadata.mfs.back"
HALF = "metadata.mfs.back.tmp"
LOGS = ("changelog.0.mfs", "changelog.1.mfs")
INODES = 60_000
"""Some megabytes of metadata, which mfsmaster writes in several pieces."""
HOUR_S = 3600
LEAD_S = 3
ATTEMPTS_MAX = 3
SAVE_WITHIN_S = 20.0
ROTATED_WITHIN_S = 10.0
PRIORITY = 10


@contextmanager
def on_its_processor(pid: int) -> Iterator[None]:
    """Run on one processor with that process and its children to come, and before them."""
    before = os.sched_getaffinity(0)
    (processor, *_) = sorted(before)
    os.sched_setaffinity(pid, {processor})
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, before)


def children(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_begun(half: Path) -> bool:
    return half.exists() and half.stat().st_size > 0


def stopped_within_the_save(stage: Stage, host: str, hours: int) -> bool:
    """Let the full hour come that is so many hours away, and stop who saves then; False if it was too quick."""
    mfsmaster, data = stage.pid(host, "mfsmaster"), stage.cluster.moosefs.data_path(host)
    helpers = children(mfsmaster)
    watch = DirectoryWatch(data)
    assert watch.is_watching
    inject(stage.cluster, "own-clock", host, str(hours * HOUR_S - int(time.time()) % HOUR_S - LEAD_S))
    deadline_s = time.monotonic() + SAVE_WITHIN_S
    with on_its_processor(mfsmaster):
        while not is_begun(data / HALF) and time.monotonic() < deadline_s:
            watch.wait(0.0, 1.0)
        savers = children(mfsmaster) - helpers
        stage.cluster.topology.send_signal(signal.SIGSTOP, list(savers))
    watch.close()
    if savers and isinstance(walk(data / HALF), MetadataFault):
        return True
    stage.cluster.topology.send_signal(signal.SIGCONT, list(savers))
    return False


def inode(path: Path) -> int:
    """Return who the file of that name is, 0 while there is none: a changelog is renamed by a process of its own."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def crash_within_the_save(scene: Scene, host: str) -> tuple[int, int]:
    """Crash a host whose mfsmaster saves; return the inodes of what were its newest changelog and its base before."""
    data = scene.stage.cluster.moosefs.data_path(host)
    for hours in range(1, ATTEMPTS_MAX + 1):
        log, base = inode(data / LOGS[0]), inode(data / BASE)
        if stopped_within_the_save(scene.stage, host, hours):
            break
    else:
        pytest.fail(f"mfsmaster was too quick {ATTEMPTS_MAX} times")
    within(lambda: inode(data / LOGS[1]) == log, ROTATED_WITHIN_S, "the changelogs are rotated")
    scene.inject("crash", host)
    return log, base


def test_a_master_that_crashes_within_its_hourly_save_is_replaced_and_comes_home(stage: Stage) -> None:
    first = stage.settle()
    host = stage.others(first)[0]
    data, older = stage.cluster.moosefs.data_path(host), archives(stage.cluster)
    stage.is_used_up = True
    inject(stage.cluster, "own-clock", host, "0")
    grow(stage.cluster, stage.cluster.clients[0], INODES)
    move(stage, first, host)
    with stage.scenario() as scene:
        assert scene.master == host
        log, base = crash_within_the_save(scene, host)
        assert (inode(data / LOGS[1]), inode(data / BASE)) == (log, base)
        scene.await_master(not_on=host)
        scene.await_writes()
        scene.heal("own-clock", host)
        scene.heal("crash", host)
    assert scene.successor != host
    assert not (data / HALF).exists()
    (kept,) = {path.parent for path in (data / "pycarpd" / "archive").glob(f"*/{HALF}")} - older
    assert isinstance(walk(kept / HALF), MetadataFault)
    listed = (kept / LIST).read_text().splitlines() if (kept / LIST).exists() else []
    assert stage.status(host)["last_transition"]["operations_lost"] == len(listed)
    move(stage, scene.successor, host)
    assert stage.settle() == host
