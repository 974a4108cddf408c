"""Any split, overlap, cut, copy and interleaving of a real file system's changelog: the same version and the same tree.

Or a refusal, never anything else. Every example is proved and laid out, and what is laid out must be the real history
byte for byte; of some a real mfsmaster restores the file tree, which must be the one that the undamaged history gives.
"""

import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pycarpd.moosefs.chain import LOADER_TRAP_MODULUS, Chain, ChainRefusal, RefusalCode, prove, write_layout
from tests.corpus.history import BASES, History, recorded
from tests.corpus.mfs import restore, tree_of

NAMES = ("changelog_ml.{}.mfs", "changelog_ml_back.{}.mfs", "changelog.{}.mfs")
LAST = recorded().last
LINES = st.integers(1, LAST)
USABLE = [version for version in BASES if version % LOADER_TRAP_MODULUS]
STORIES = (RefusalCode.GAP, RefusalCode.CHANGELOG_DAMAGED)


@dataclass(frozen=True)
class Stretch:
    """The changes first..last, of the last of which only *kept* bytes are there (None: all)."""

    first: int
    last: int
    kept: int | None = None

    def content(self, history: History) -> bytes:
        if self.kept is None:
            return history.log(self.first, self.last)
        return history.log(self.first, self.last - 1) + history.line(self.last)[: self.kept]

    def whole(self) -> set[int]:
        return set(range(self.first, self.last + (self.kept is None)))


@st.composite
def stretches(draw: st.DrawFn) -> Stretch:
    one, two = draw(LINES), draw(LINES)
    kept = draw(st.none() | st.integers(0, len(recorded().line(max(one, two))) - 1))
    return Stretch(min(one, two), max(one, two), kept)


@st.composite
def splits(draw: st.DrawFn) -> list[Stretch]:
    """Cut the newest part into pieces that lie over each other, the last one torn."""
    first = draw(st.integers(1, min(USABLE)))
    cuts = sorted(draw(st.sets(st.integers(first, LAST), max_size=8)) | {first, LAST + 1})
    pieces = [Stretch(max(1, start - draw(st.integers(0, 400))), end - 1) for start, end in pairwise(cuts)]
    torn = draw(st.none() | st.integers(0, len(recorded().line(LAST)) - 1))
    return [*pieces[:-1], Stretch(pieces[-1].first, LAST, torn)]


def lay(directory: Path, files: list[list[Stretch]], bases: set[int], order: int) -> None:
    history = recorded()
    for index, parts in enumerate(files):
        name = NAMES[(index + order) % 3].format((index * 7 + order) % 50 + index)
        (directory / name).write_bytes(b"".join(part.content(history) for part in parts))
    for version in bases:
        (directory / f"metadata_ml.mfs.back.{version}").write_bytes(history.bases[version])


def check(files: list[list[Stretch]], bases: set[int], order: int) -> Chain | ChainRefusal:
    """Prove; if that gives a version, the layout must hold exactly the history from a real base to that version."""
    history = recorded()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "data").mkdir()
        lay(directory / "data", files, bases, order)
        found = prove(directory / "data", expected_metaid=history.metaid)
        if isinstance(found, Chain):
            write_layout(found, directory / "laid-out")
            base = found.base_header.version
            assert (directory / "laid-out/metadata.mfs.back").read_bytes() == history.bases[base]
            tail = directory / "laid-out/changelog.0.mfs"
            assert (tail.read_bytes() if tail.exists() else b"") == history.log(base, found.version - 1)
        return found


def reachable(numbers: set[int], bases: set[int]) -> int:
    best = 0
    for version in bases:
        while version in numbers:
            version += 1  # noqa: PLW2901 - counted on from the base
        best = max(best, version)
    return best


some_bases = st.sets(st.sampled_from(USABLE), min_size=1)
orders = st.integers(0, 100)
FEW = settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(splits(), some_bases, orders)
def test_however_it_is_split_and_torn_the_complete_version_comes_out(
    pieces: list[Stretch], bases: set[int], order: int
) -> None:
    found = check([[piece] for piece in pieces], bases, order)
    assert isinstance(found, Chain), found
    assert found.version == LAST + (pieces[-1].kept is None)


@FEW
@given(st.lists(stretches(), max_size=6), some_bases, orders)
def test_stretches_give_what_is_reachable_or_name_the_gap(parts: list[Stretch], bases: set[int], order: int) -> None:
    found = check([[part] for part in parts], bases, order)
    numbers = set().union(*(part.whole() for part in parts)) if parts else set()
    best = reachable(numbers, bases)
    if any(number >= best for number in numbers):
        assert isinstance(found, ChainRefusal)
        assert (found.code, found.missing_from) == (RefusalCode.GAP, best)
    else:
        assert isinstance(found, Chain)
        assert found.version == best


@FEW
@given(st.lists(st.lists(stretches(), min_size=1, max_size=3), max_size=3), some_bases, orders)
def test_stretches_written_behind_each_other_give_the_truth_or_a_refusal(
    files: list[list[Stretch]], bases: set[int], order: int
) -> None:
    found = check(files, bases, order)
    if isinstance(found, ChainRefusal):
        assert found.code in STORIES
        assert found.missing_from is not None


@cache
def true_tree(version: int) -> list[str]:
    """Return the tree that mfsmaster makes of the oldest base and one undamaged changelog."""
    history = recorded()
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        data.mkdir()
        (data / "metadata.mfs.back").write_bytes(history.bases[BASES[0]])
        (data / "changelog.0.mfs").write_bytes(history.log(BASES[0], version - 1))
        assert restore(data)
        return tree_of(data / "metadata.mfs")


@pytest.mark.product
@settings(derandomize=True, max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(splits(), some_bases, orders)
@example([Stretch(1, LAST)], set(USABLE), 0)
def test_a_real_mfsmaster_restores_the_same_file_tree(pieces: list[Stretch], bases: set[int], order: int) -> None:
    history = recorded()
    directory = Path(tempfile.mkdtemp())
    try:
        (directory / "data").mkdir()
        lay(directory / "data", [[piece] for piece in pieces], bases, order)
        found = prove(directory / "data", expected_metaid=history.metaid)
        assert isinstance(found, Chain), found
        write_layout(found, directory / "laid-out")
        assert restore(directory / "laid-out")
        assert tree_of(directory / "laid-out/metadata.mfs") == true_tree(found.version)
    finally:
        shutil.rmtree(directory)
