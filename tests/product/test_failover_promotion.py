"""The first winner cannot be promoted: the turn goes to the next, and what the first one had is put back."""

from pathlib import Path

import pytest

from netns.topology import VIP
from pycarpd.takeover.datafiles import Kept
from tests.product.stage import Stage, within

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(400)]
PREFERRED = 254


def prefer(stage: Stage, host: str) -> None:
    """Give a host the best priority, so that it is the first to be elected."""
    stage.cluster.with_settings(cluster_lines=((host, f"priority = {PREFERRED}"),))
    stage.cluster.daemons.stop(host)
    stage.cluster.daemons.start(host)
    stage.settle()


def claimants(stage: Stage, since_ns: int, dead: str) -> list[str]:
    """Return who else has claimed the VIP on the wire since a host died, in the order of their first claims."""
    capture = stage.cluster.capture
    assert capture is not None
    return list(
        dict.fromkeys(s.host for s in capture.sightings() if s.at_ns > since_ns and s.claims and s.host != dead)
    )


def files_of(data: Path, pattern: str = "*metadata*") -> set[int]:
    """Return the metadata files of a host by their inodes: a metalogger that downloads anew renames the older ones."""
    return {path.stat().st_ino for path in data.glob(pattern) if path.is_file()}


def needed_of(data: Path) -> set[int]:
    """Return those of them that must be back: a metalogger keeps three older downloads, and deletes a fourth itself."""
    return files_of(data) - files_of(data, "metadata_ml.mfs.back.*")


def damage(base: Path) -> bytes:
    """Spoil a metadata file behind its header and its sections' heads, and return what it was."""
    whole = base.read_bytes()
    at = whole.index(b"NODE") + 16 + 8
    base.write_bytes(whole[:at] + bytes(b ^ 0xFF for b in whole[at : at + 64]) + whole[at + 64 :])
    return whole


def test_damaged_metadata_on_the_first_winner_passes_the_turn_on(stage: Stage) -> None:
    master = stage.settle()
    first, second = stage.others(master)
    prefer(stage, first)
    base = stage.cluster.moosefs.data_path(first) / "metadata_ml.mfs.back"
    whole = base.read_bytes()
    try:
        with stage.scenario() as scene:
            damage(base)
            crashed_ns = scene.inject("crash", master)
            assert scene.await_master(not_on=master) == second
            tried = claimants(stage, crashed_ns, master)[:2]
            assert tried in ([first, second], [second]), "the first winner tries, unless it has found the damage"
            scene.await_writes()
            within(lambda: stage.role(first) == "BACKUP", 60, f"{first} has given up")
            assert VIP not in stage.cluster.topology.addresses(first)
            within(lambda: stage.cluster.moosefs.lock_holder(first, "mfsmetalogger"), 60, "its metalogger runs again")
            base.write_bytes(whole)
            scene.heal("crash", master)
        assert scene.successor == second
        scene.assert_no_overlap(master)
        assert not [c for c in scene.vip_changes() if c.host == first], "nothing damaged was ever reachable"
    finally:
        stage.cluster.with_settings(cluster_lines=())


def test_a_broken_configuration_on_the_first_winner_passes_the_turn_on(stage: Stage) -> None:
    master = stage.settle()
    first, second = stage.others(master)
    prefer(stage, first)
    config = stage.cluster.moosefs.etc(first) / "mfsmaster.cfg"
    whole = config.read_text()
    data = stage.cluster.moosefs.data_path(first)
    try:
        with stage.scenario() as scene:
            config.write_text(whole.replace("EXPORTS_FILENAME", "MATOCL_LISTEN_HOST = 203.0.113.1\nEXPORTS_FILENAME"))
            before = needed_of(data)
            crashed_ns = scene.inject("crash", master)
            assert scene.await_master(not_on=master) == second
            assert claimants(stage, crashed_ns, master)[:2] == [first, second], "the first winner tried, then the next"
            scene.await_writes()
            within(lambda: stage.role(first) == "BACKUP", 60, f"{first} has given up")
            assert before, "it had something"
            kept = files_of(data) | files_of(Kept(data).archive, "*/*metadata*")
            assert before <= kept, "what it had is back, if under a newer name; or archived, if the successor knew less"
            config.write_text(whole)
            scene.heal("crash", master)
        assert scene.successor == second
        scene.assert_no_overlap(master)
        assert not [c for c in scene.vip_changes() if c.host == first]
    finally:
        config.write_text(whole)
        stage.cluster.with_settings(cluster_lines=())
