"""A new master can be replaced at once: what it was started from is a complete set for other metaloggers too.

A mfsmaster that was restored has no ``metadata.mfs.back`` of its own before its next hourly save, and without it no
metalogger that begins anew has a base: the cluster could not fail over for up to an hour.
"""

import os
import signal

import pytest

from pycarpd.moosefs.chain import Chain, prove
from pycarpd.moosefs.metadata import MetadataHeader, read_header
from pycarpd.takeover.datafiles import names_in_the_way
from tests.product.stage import Stage, within

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]
PROMOTABLE_WITHIN_S = 60.0


def forget_everything(stage: Stage, host: str) -> None:
    """Take all metadata from a standby, as from one that was just put there; its metalogger starts again."""
    data = stage.cluster.moosefs.data_path(host)
    # It may be between two metaloggers: its files have just made room for those of a new master.
    metalogger = within(lambda: stage.pid(host, "mfsmetalogger"), 60, f"{host} has a metalogger")
    # Stopped first: nobody starts another one while it holds its lock, and it writes nothing behind our back.
    os.kill(metalogger, signal.SIGSTOP)
    for name in names_in_the_way(data):
        (data / name).unlink()
    os.kill(metalogger, signal.SIGKILL)
    within(lambda: stage.pid(host, "mfsmetalogger") not in (0, metalogger), 60, f"{host} has a metalogger again")


def base_version(stage: Stage, host: str, name: str) -> int:
    header = read_header(stage.cluster.moosefs.data_path(host) / name)
    return header.version if isinstance(header, MetadataHeader) else 0


def is_ready(stage: Stage, host: str) -> bool:
    """Tell whether the host's files prove a version by now, and it says so: what it says may be a moment old."""
    chain = prove(stage.cluster.moosefs.data_path(host), expected_metaid=None)
    freshness = stage.status(host).get("freshness", {})
    return isinstance(chain, Chain) and bool(freshness.get("promotable")) and freshness["version"] >= chain.version


def test_a_standby_that_begins_with_nothing_takes_over_from_a_new_master(stage: Stage) -> None:
    first = stage.settle()
    with stage.scenario() as scene:
        scene.inject("crash", first)
        second = scene.await_master(not_on=first)
        (third,) = (host for host in stage.hosts if host not in (first, second))
        served_from = base_version(stage, second, "metadata.mfs.back")
        forget_everything(stage, third)
        within(lambda: is_ready(stage, third), PROMOTABLE_WITHIN_S, f"{third} could take over")
        downloaded = base_version(stage, third, "metadata_ml.mfs.back")
        # A later one if the hour has just struck, and the new master has saved for the first time.
        assert downloaded in (served_from, base_version(stage, second, "metadata.mfs.back"))
        scene.await_writes()
        scene.inject("crash", second)
        assert scene.await_master(not_on=second) == third
        scene.await_writes()
        scene.heal("crash", first)
        scene.heal("crash", second)
    assert scene.successor == third
