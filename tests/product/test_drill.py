"""Drills with the real mfsmaster: what they prove, that damage raises the alarm, and that they touch nothing else."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pycarpd.linux.process import lock_holder
from pycarpd.moosefs.chain import Chain, prove
from pycarpd.moosefs.config import MfsConfig, read_mfs_config
from pycarpd.moosefs.metadata import MetadataWalk, walk
from pycarpd.takeover import drill
from pycarpd.takeover.context import TakeoverSettings
from pycarpd.takeover.datafiles import Kept
from pycarpd.takeover.drill import Drilled, Rehearsal, Skipped
from pycarpd.takeover.plans import settings_of
from pycarpd.takeover.step import StepFault
from tests.product import test_takeover_plans as lone
from tests.product.test_takeover_plans import DIRECTORIES, Host, wait_until

pytestmark = [pytest.mark.product, pytest.mark.netns]

namespace, lost_master, host = lone.namespace, lone.lost_master, lone.host
ROOT_INODE = 1


def settings(host: Host) -> TakeoverSettings:
    master = read_mfs_config(host.root / "etc" / "mfsmaster.cfg")
    assert isinstance(master, MfsConfig)
    return settings_of(master, host.root / "etc" / "mfsmetalogger.cfg", (), (0, 0))


def rehearse(host: Host, tell: Callable[[str], None] = lambda _: None) -> Drilled | Skipped | StepFault:
    return Rehearsal(settings(host), None, threading.Event(), tell).run()


def failed(result: Drilled | Skipped | StepFault) -> str:
    assert isinstance(result, StepFault), result
    return result.code


def test_a_drill_restores_what_the_files_prove_and_leaves_them_alone(host: Host) -> None:
    before = host.files()
    phases: list[str] = []
    result = rehearse(host, phases.append)
    chain = prove(host.data, expected_metaid=None)
    assert isinstance(result, Drilled), result
    assert isinstance(chain, Chain)
    assert (result.version, result.metaid) == (chain.version, chain.metaid)
    assert result.inode_count == DIRECTORIES + ROOT_INODE
    assert phases == ["prove", "restore", "check"] == [name for name, _ in result.phases_ms]
    assert result.memory_bytes > 1 << 20
    assert host.files() == before
    assert not Kept(host.data).drill.exists()


def test_damage_that_only_loading_finds_fails_the_drill(host: Host) -> None:
    """Every section is in its place and the chain is whole, but an edge leads to an inode that is not there."""
    base = host.data / "metadata_ml.mfs.back"
    found = walk(base)
    assert isinstance(found, MetadataWalk)
    section = next(each for each in found.sections if each.name.startswith("EDGE"))
    data = bytearray(base.read_bytes())
    data[section.offset : section.offset + section.length] = b"\xff" * section.length
    base.write_bytes(data)
    for other in host.data.glob("metadata_ml.mfs.back.*"):
        other.unlink()
    assert isinstance(prove(host.data, expected_metaid=None), Chain)
    before = host.files()
    assert failed(rehearse(host)) in ("DRILL_FAILED", "DRILL_DAMAGED", "DRILL_DIFFERS")
    assert host.files() == before


def test_a_gap_fails_the_drill_before_anything_is_restored(host: Host) -> None:
    log = host.data / "changelog_ml.0.mfs"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:10] + lines[12:]))
    for other in host.data.glob("changelog_ml_back*"):
        other.unlink()
    assert failed(rehearse(host)) == "gap"


def test_a_drill_never_touches_the_mfsmaster_that_runs(host: Host) -> None:
    report = host.plan("promote")
    assert report["ok"], report
    pid = host.mfsmaster.lock_holder()
    wait_until((host.data / "metadata_ml.mfs.back").exists, "its own metalogger has downloaded")
    result = rehearse(host)
    assert isinstance(result, Drilled), result
    assert host.mfsmaster.lock_holder() == pid
    assert host.count_directories() == DIRECTORIES


def test_a_scratch_directory_that_is_not_apart_is_refused(host: Host, tmp_path: Path) -> None:
    scratch = Kept(host.data).drill
    scratch.parent.mkdir(parents=True)
    scratch.symlink_to(host.data)
    before = host.files()
    assert failed(rehearse(host)) == "DRILL_FAILED"
    assert host.files() == before
    assert not drill.is_apart(host.data, host.data)
    (host.data / ".mfsmaster.lock").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert drill.is_apart(elsewhere, host.data)
    os.link(host.data / ".mfsmaster.lock", elsewhere / ".mfsmaster.lock")
    assert not drill.is_apart(elsewhere, host.data)


def test_a_cancelled_drill_leaves_nothing_behind(host: Host) -> None:
    cancel = threading.Event()
    scratch = Kept(host.data).drill
    sleeper = host.root / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 600\n")
    sleeper.chmod(0o755)

    def tell(phase: str) -> None:
        if phase == "restore":
            threading.Timer(0.2, cancel.set).start()

    result = Rehearsal(settings(host), None, cancel, tell, binary=str(sleeper)).run()
    assert failed(result) == "DRILL_CANCELLED"
    assert lock_holder(scratch / drill.LOCK) is None
    assert not scratch.exists()


def test_a_host_without_the_memory_for_it_skips_the_drill(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "_BARE_MEMORY_BYTES", 1 << 60)
    result = rehearse(host)
    assert isinstance(result, Skipped)
    assert "of memory" in result.reason


def test_another_file_system_than_the_expected_fails(host: Host) -> None:
    result = Rehearsal(settings(host), 1, threading.Event(), lambda _: None).run()
    assert failed(result) == "metaid-unexpected"
