"""A metalogger is kept away from a master that is older than its host's files, and follows any other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycarpd.moosefs.chain import Chain, prove
from tests.product import test_takeover_plans as lone
from tests.product.test_takeover_plans import ADDRESS, Host, wait_until

pytestmark = [pytest.mark.product, pytest.mark.netns]

namespace, lost_master, host = lone.namespace, lone.lost_master, lone.host


def version(data: Path) -> int:
    chain = prove(data, expected_metaid=None)
    assert isinstance(chain, Chain), chain
    return chain.version


@pytest.fixture
def elder(tmp_path_factory: pytest.TempPathFactory, namespace: str, host: Host) -> Iterator[Host]:
    """A master of the same file system that knows less than the standby's files: its base alone."""
    made = Host(tmp_path_factory.mktemp("elder"), namespace)
    made.configure()
    (made.data / "metadata.mfs").write_bytes((host.data / "metadata_ml.mfs.back").read_bytes())
    try:
        made.inside("mfsmaster", "-c", str(made.root / "etc" / "mfsmaster.cfg"), "start")
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("has_successor", [False, True])
def test_it_is_kept_away_from_an_older_master_and_its_files_survive(
    host: Host, elder: Host, has_successor: bool
) -> None:
    assert elder.mfsmaster.is_running()
    before = host.files()
    request = {"has_successor": has_successor, "master_version": version(host.data) - 1 if has_successor else None}
    report = host.plan("demote", vips=[ADDRESS], request=request)
    assert report["ok"], report
    (degraded,) = [each for each in report["degraded"] if each[0] == "start-metalogger"]
    assert degraded[1]["code"] == "OLDER_MASTER"
    assert not host.metalogger.is_running()
    assert host.files() == before


def test_it_follows_a_master_that_is_not_older(host: Host, elder: Host) -> None:
    newest = version(host.data)
    (host.data / "changelog_ml.0.mfs").unlink()
    assert version(host.data) < newest
    elder.make_directories("more", 60)
    report = host.plan("demote", vips=[ADDRESS])
    assert report["ok"], report
    assert report["degraded"] == []
    assert host.metalogger.is_running()
    wait_until((host.data / "metadata_ml.mfs.back").exists, "it has downloaded")


def test_where_nobody_serves_there_is_nothing_to_follow(host: Host) -> None:
    before = host.files()
    report = host.plan("demote", vips=[ADDRESS])
    assert report["ok"], report
    assert report["degraded"] == []
    assert not host.metalogger.is_running()
    assert host.files() == before
