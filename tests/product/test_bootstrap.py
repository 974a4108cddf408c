"""A new, empty file system with the real mfsmaster: made once, where there is nothing, and promotable afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycarpd.moosefs.chain import Chain, prove
from pycarpd.takeover.bootstrap import NEW, NewFileSystem, make_file_system
from pycarpd.takeover.datafiles import Kept
from pycarpd.takeover.step import StepFault
from tests.own_network import own_network
from tests.product import test_takeover_plans as lone
from tests.product.test_drill import settings
from tests.product.test_takeover_plans import Host

pytestmark = [pytest.mark.product, pytest.mark.netns]

namespace = lone.namespace


@pytest.fixture
def bare(tmp_path: Path, namespace: str) -> Iterator[Host]:
    made = Host(tmp_path, namespace)
    made.configure()
    try:
        yield made
    finally:
        made.end()


def test_a_new_file_system_has_an_identity_and_can_be_promoted(bare: Host) -> None:
    (bare.data / "metadata.mfs").write_bytes(NEW)
    with own_network():
        made = make_file_system(settings(bare))
    assert isinstance(made, NewFileSystem), made
    assert made.metaid
    chain = prove(bare.data, expected_metaid=None)
    assert isinstance(chain, Chain)
    assert (chain.metaid, chain.version) == (made.metaid, made.version)
    assert not Kept(bare.data).bootstrap.exists()
    report = bare.plan("promote")
    assert report["ok"], report
    assert bare.count_directories() == 0


def test_files_of_any_file_system_are_left_alone(bare: Host) -> None:
    (bare.data / "changelog_ml.3.mfs").write_bytes(b"1: 1|A()\n")
    before = bare.files()
    made = make_file_system(settings(bare))
    assert isinstance(made, StepFault)
    assert made.code == "NOT_EMPTY"
    assert bare.files() == before
