"""Whatever is cut, copied, split or glued from one true history: its exact version comes out, or a refusal."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pycarpd.moosefs.chain import LOADER_TRAP_MODULUS, Chain, ChainRefusal, RefusalCode, prove
from tests.unit.moosefs.files import METAID, fill, line, log, metadata

# The range holds a change of the number of digits; the trap of the loader has its own tests.
FIRST, LAST = 9_980, 10_020
assert not any(number % LOADER_TRAP_MODULUS == 0 for number in range(FIRST, LAST + 2) if number != 9_988)
SETTINGS = settings(derandomize=True, max_examples=400, deadline=None)


@dataclass(frozen=True)
class Part:
    """The lines first..last, of whose last line only *kept* bytes are there (None: all of it)."""

    first: int
    last: int
    kept: int | None

    @property
    def content(self) -> bytes:
        if self.kept is None:
            return log(self.first, self.last)
        return log(self.first, self.last - 1) + line(self.last)[: self.kept]

    @property
    def numbers(self) -> set[int]:
        return set(range(self.first, self.last + (self.kept is None)))


def part(*, torn: bool) -> st.SearchStrategy[Part]:
    kept = st.one_of(st.none(), st.integers(1, len(line(FIRST)) - 2)) if torn else st.none()
    ends = st.tuples(st.integers(FIRST, LAST), st.integers(FIRST, LAST), kept)
    return ends.map(lambda e: Part(min(e[0], e[1]), max(e[0], e[1]), e[2]))


versions = st.lists(st.integers(FIRST, LAST + 1).filter(lambda v: v != 9_988), min_size=1, max_size=3)
clean_files = st.lists(part(torn=True), max_size=4)
glued_files = st.lists(st.lists(part(torn=True), min_size=1, max_size=3), max_size=3)


def proved(contents: list[bytes], bases: list[int]) -> tuple[Chain | ChainRefusal, bytes]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        fill(directory, {f"changelog_ml.{index}.mfs": content for index, content in enumerate(contents)})
        fill(directory, {f"metadata_ml.mfs.back.{i}": metadata(version) for i, version in enumerate(bases)})
        found = prove(directory, expected_metaid=METAID)
        if isinstance(found, ChainRefusal):
            return found, b""
        return found, b"".join(p.path.read_bytes()[p.offset : p.end_offset] for p in found.tail)


def reachable(numbers: set[int], bases: list[int]) -> int:
    best = 0
    for base in bases:
        version = base
        while version in numbers:
            version += 1
        best = max(best, version)
    return best


@SETTINGS
@given(clean_files, versions)
def test_files_with_at_most_a_torn_tail_give_exactly_the_true_version(parts: list[Part], bases: list[int]) -> None:
    found, tail = proved([p.content for p in parts], bases)
    numbers = set().union(*(p.numbers for p in parts))
    version = reachable(numbers, bases)
    if any(number >= version for number in numbers):
        assert isinstance(found, ChainRefusal)
        assert found.code is RefusalCode.GAP
        assert found.missing_from == version
        assert found.missing_to == min(number for number in numbers if number >= version) - 1
    else:
        assert isinstance(found, Chain)
        assert found.version == version
        assert found.base_header.version == max(b for b in bases if reachable(numbers, [b]) == version)
        assert tail == log(found.base_header.version, version - 1)


@SETTINGS
@given(glued_files, versions)
def test_files_appended_to_behind_torn_lines_never_give_anything_but_the_truth(
    files: list[list[Part]], bases: list[int]
) -> None:
    found, tail = proved([b"".join(p.content for p in parts) for parts in files], bases)
    if isinstance(found, Chain):
        assert tail == log(found.base_header.version, found.version - 1)
        # A torn part swallows the first line of the one behind it; every other whole line is in some file.
        whole: set[int] = set()
        for parts in files:
            for index, present in enumerate(parts):
                swallowed = index > 0 and parts[index - 1].kept is not None
                whole |= present.numbers - ({present.first} if swallowed else set())
        assert found.version >= reachable(whole, bases)
        assert all(number < found.version for number in whole)


@SETTINGS
@given(part(torn=False), part(torn=False), st.integers(FIRST, LAST), versions)
def test_two_histories_are_never_mixed(one: Part, two: Part, fork: int, bases: list[int]) -> None:
    forked = log(two.first, min(two.last, fork - 1)) + log(max(two.first, fork), two.last, history="x")
    found, tail = proved([one.content, forked], bases)
    if any(number >= fork for number in one.numbers & two.numbers):
        assert isinstance(found, ChainRefusal)
        assert found.code is RefusalCode.DIVERGED
    elif isinstance(found, Chain):
        base = found.base_header.version
        ends = (base, found.version - 1)
        cut = max(base, min(fork, found.version))
        mixed = log(base, cut - 1) + log(cut, found.version - 1, history="x")
        assert tail in (log(*ends), mixed)


@SETTINGS
@given(st.binary(max_size=400), st.integers(0, 3000), versions)
def test_rubbish_anywhere_in_a_log_never_gives_a_wrong_change(rubbish: bytes, at: int, bases: list[int]) -> None:
    content = log(FIRST, LAST)
    spoilt = content[:at] + rubbish + content[at + len(rubbish) :]
    found, tail = proved([spoilt], bases)
    if isinstance(found, Chain):
        assert found.version == found.base_header.version + tail.count(b"\n")
        numbers = [int(entry.split(b":")[0]) for entry in tail.splitlines()]
        assert numbers == list(range(found.base_header.version, found.version))
