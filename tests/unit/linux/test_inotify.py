import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycarpd.linux.inotify import DirectoryWatch

LONG_S = 60.0


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[DirectoryWatch]:
    made = DirectoryWatch(tmp_path)
    yield made
    made.close()


def waited_s(watch: DirectoryWatch, at_least_s: float, at_most_s: float) -> float:
    began = time.monotonic()
    watch.wait(at_least_s, at_most_s)
    return time.monotonic() - began


def test_each_kind_of_change_ends_the_wait(watch: DirectoryWatch, tmp_path: Path) -> None:
    assert watch.is_watching
    file = tmp_path / "changelog_ml.0.mfs"
    changes = (
        file.touch,
        lambda: file.write_bytes(b"1: 17|ACCESS(1)\n"),
        lambda: file.rename(tmp_path / "changelog_ml.1.mfs"),
        (tmp_path / "changelog_ml.1.mfs").unlink,
    )
    for change in changes:
        change()
        assert waited_s(watch, 0, LONG_S) < LONG_S / 2
    assert waited_s(watch, 0, 0.05) >= 0.05, "nothing is left over from the changes before"


def test_a_change_in_the_midst_of_the_wait_ends_it(watch: DirectoryWatch, tmp_path: Path) -> None:
    threading.Timer(0.1, (tmp_path / "new").touch).start()
    assert 0.05 < waited_s(watch, 0, LONG_S) < LONG_S / 2


def test_changes_are_not_followed_faster_than_asked_for(watch: DirectoryWatch, tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    assert 0.2 <= waited_s(watch, 0.2, LONG_S) < LONG_S / 2


def test_a_wake_up_ends_any_wait_at_once(watch: DirectoryWatch) -> None:
    watch.wake()
    assert waited_s(watch, LONG_S, LONG_S) < LONG_S / 2
    threading.Timer(0.1, watch.wake).start()
    assert waited_s(watch, LONG_S, LONG_S) < LONG_S / 2


def test_without_a_directory_every_wait_lasts_its_longest(tmp_path: Path) -> None:
    watch = DirectoryWatch(tmp_path / "absent")
    try:
        assert not watch.is_watching
        assert waited_s(watch, 0, 0.1) >= 0.1
        watch.wake()
        assert waited_s(watch, 0, LONG_S) < LONG_S / 2
    finally:
        watch.close()
