"""After a crash at any byte of a write the state before or the new one is there; a torn slot is passed over."""

import errno
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycarpd.daemon.votes import RECORD_BYTES, SLOT_BYTES, SLOTS, VoteFile, VotesDamagedError, encode, read_votes
from pycarpd.election.model import OLDER_MAX, Branch, Lineage, Persistent

U64 = st.integers(min_value=0, max_value=2**64 - 1)
OLDER = st.lists(st.builds(Branch, U64, U64), max_size=OLDER_MAX).map(tuple)
STATES = st.builds(Persistent, U64, U64, U64, U64, st.booleans(), st.builds(Lineage, U64, U64, U64, U64, U64, OLDER))


def state(number: int) -> Persistent:
    return Persistent(number, number, number, 2**64 - 1 - number, number % 2 == 0, Lineage(number, 7, number, 1, 2))


def written(path: Path, count: int) -> bytes:
    """Write *count* states one after the other; return the file then."""
    file = VoteFile(path)
    for number in range(1, count + 1):
        file.write(state(number))
    return path.read_bytes()


def torn(before: bytes, after: bytes, upto: int) -> bytes:
    """Return the file of which the crashed write has reached so many bytes of its slot."""
    begin = next(at for at in range(len(before)) if before[at] != after[at]) // SLOT_BYTES * SLOT_BYTES
    return before[:begin] + after[begin : begin + upto] + before[begin + upto :]


@given(states=st.lists(STATES, min_size=1, max_size=5))
def test_the_last_state_written_is_read(tmp_path_factory: pytest.TempPathFactory, states: list[Persistent]) -> None:
    path = tmp_path_factory.mktemp("state") / "votes"
    for each in states:
        with closing(VoteFile(path)) as file:
            file.write(each)
        assert read_votes(path) == each
    assert path.stat().st_size == SLOTS * SLOT_BYTES
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_put_in_place_of_the_one_written_is_read_first(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    file = VoteFile(path)
    for number in range(1, 4):
        file.write(state(number))
    other = tmp_path / "other"
    written(other, 8)
    other.replace(path)
    file.write(state(9))
    assert read_votes(path) == state(9)


def test_what_stands_behind_a_record_is_forgotten_alone(tmp_path: Path) -> None:
    """Torn, or passed over by a version that knows the record only."""
    path = tmp_path / "votes"
    kept = replace(state(1), lineage=replace(state(1).lineage, older=(Branch(3, 40), Branch(2, 30))))
    VoteFile(path).write(kept)
    assert read_votes(path) == kept
    whole = path.read_bytes()
    for at in (RECORD_BYTES, RECORD_BYTES + 5, RECORD_BYTES + 40):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert read_votes(path) == state(1)
    path.write_bytes(whole[:RECORD_BYTES] + bytes(SLOTS * SLOT_BYTES - RECORD_BYTES))
    assert read_votes(path) == state(1)
    VoteFile(path).write(state(3))
    VoteFile(path).write(state(5))
    assert read_votes(path) == state(5)


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert read_votes(tmp_path / "votes") is None


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_crash_at_every_byte_of_a_write_leaves_the_old_state_or_the_new(tmp_path: Path, count: int) -> None:
    before, after = written(tmp_path / "before", count), written(tmp_path / "after", count + 1)
    path = tmp_path / "votes"
    found = []
    for upto in range(RECORD_BYTES + 1):
        path.write_bytes(torn(before, after, upto))
        found.append(read_votes(path))
    assert set(found) == {state(count), state(count + 1)}
    assert found == sorted(found, key=lambda each: each.term if each else 0)
    assert found[0] == state(count)
    assert found[-1] == state(count + 1)


@given(
    count=st.integers(1, 4), reached=st.sets(st.integers(0, RECORD_BYTES - 1)), filler=st.binary(max_size=RECORD_BYTES)
)
def test_whatever_part_of_the_slot_was_reached_the_other_counts(
    tmp_path_factory: pytest.TempPathFactory, count: int, reached: set[int], filler: bytes
) -> None:
    """A disk writes sectors in any order, and may leave anything in one that lost its power."""
    directory = tmp_path_factory.mktemp("state")
    before, after = written(directory / "before", count), written(directory / "after", count + 1)
    begin = (count % SLOTS) * SLOT_BYTES
    content = bytearray(before)
    content[begin : begin + len(filler)] = filler
    for at in reached:
        content[begin + at] = after[begin + at]
    (directory / "votes").write_bytes(content)
    assert read_votes(directory / "votes") in (state(count), state(count + 1))


@pytest.mark.parametrize("upto", [1, 40, RECORD_BYTES - 40])
def test_after_a_crash_the_torn_slot_is_the_next_to_be_written(tmp_path: Path, upto: int) -> None:
    """Otherwise a second crash could leave neither state."""
    path = tmp_path / "votes"
    before, after = written(tmp_path / "before", 3), written(tmp_path / "after", 4)
    path.write_bytes(torn(before, after, upto))
    assert read_votes(path) == state(3)
    VoteFile(path).write(state(9))
    whole = path.read_bytes()
    assert read_votes(path) == state(9)
    crashed = torn(before, after, upto)
    for again in range(0, RECORD_BYTES, 7):
        path.write_bytes(torn(crashed, whole, again))
        assert read_votes(path) in (state(3), state(9))


def test_a_record_that_was_not_synced_is_tried_again_in_its_own_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page cache may show it, though the disk has never got it: the other slot is the only one to count on."""
    path = tmp_path / "votes"
    before = written(path, 2)
    file = VoteFile(path)

    pwrite = os.pwrite

    def refuse(descriptor: int, record: bytes, offset: int) -> None:
        pwrite(descriptor, record, offset)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output"):
                file.write(state(3))
            kept = slice(SLOT_BYTES, SLOT_BYTES + RECORD_BYTES)
            assert path.read_bytes()[kept] == before[kept]
    file.write(state(4))
    assert read_votes(path) == state(4)
    assert path.read_bytes()[SLOT_BYTES : SLOT_BYTES + RECORD_BYTES] == before[SLOT_BYTES : SLOT_BYTES + RECORD_BYTES]


def test_a_file_that_cannot_be_read_is_not_written_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written with a sequence that is not the newest, a record would be on disk and not count."""
    path = tmp_path / "votes"
    before = written(path, 4)
    file = VoteFile(path)

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output"):
                file.write(state(5))
    assert path.read_bytes() == before
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    file.write(state(5))
    assert read_votes(path) == state(5)


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "votes"
    before = written(path, 2)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(OSError, match="not written whole"):
        VoteFile(path).write(state(3))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(SLOTS * SLOT_BYTES),
        b"x" * (SLOTS * SLOT_BYTES),
        encode(2, state(2))[:-1],
        encode(1, state(1)).ljust(SLOT_BYTES, b"\0"),  # an odd sequence in the even slot
    ],
)
def test_a_file_without_a_whole_record_is_damaged_to_a_reader(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "votes"
    path.write_bytes(content)
    with pytest.raises(VotesDamagedError):
        read_votes(path)
    assert path.read_bytes() == content
    VoteFile(path).write(state(5))  # who knows the state makes the file anew
    assert read_votes(path) == state(5)


@pytest.mark.parametrize("bit", range(0, RECORD_BYTES * 8, 5))
def test_every_bit_of_a_record_is_checked(tmp_path: Path, bit: int) -> None:
    path = tmp_path / "votes"
    content = bytearray(written(path, 3))
    begin = (2 % SLOTS) * SLOT_BYTES
    content[begin + bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    assert read_votes(path) == state(2)
