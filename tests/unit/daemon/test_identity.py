"""The epoch only grows, the terms are never forgotten silently, and no kill leaves half a file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycarpd.daemon import identity
from pycarpd.daemon.identity import (
    EPOCH_FILE,
    STANDING_FILE,
    STATE_FILE,
    VOTES_FILE,
    StateError,
    bring_over,
    new_identity,
    read_persistent,
)
from pycarpd.daemon.votes import SLOT_BYTES, SLOTS, VoteFile
from pycarpd.election.model import Lineage, Persistent
from pycarpd.linux.clock import realtime_ns

U64 = st.integers(min_value=0, max_value=2**64 - 1)
WRITER = """
import sys
from itertools import count
from pathlib import Path
from pycarpd.daemon.identity import VOTES_FILE
from pycarpd.daemon.votes import VoteFile
from pycarpd.election.model import Persistent
file = VoteFile(Path(sys.argv[1]) / VOTES_FILE)
for term in count(1):
    file.write(Persistent(term, term, term, 2**64 - term))
    print(term, flush=True)
"""


def test_the_epoch_grows_with_every_start_and_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    identities = [new_identity(tmp_path) for _ in range(5)]
    epochs = [each.epoch for each in identities]
    assert epochs == sorted(set(epochs))
    assert int((tmp_path / EPOCH_FILE).read_text()) == epochs[-1]
    assert len({each.nonce for each in identities}) == 5
    assert all(each.nonce for each in identities)


def test_the_epoch_grows_after_the_loss_of_its_file_too(tmp_path: Path) -> None:
    before = new_identity(tmp_path).epoch
    (tmp_path / EPOCH_FILE).unlink()
    time.sleep(1.1)
    assert new_identity(tmp_path).epoch > before


def test_the_epoch_grows_when_the_clock_went_back(tmp_path: Path) -> None:
    future = realtime_ns() // 1_000_000_000 + 10**6
    (tmp_path / EPOCH_FILE).write_text(f"{future}\n")
    assert new_identity(tmp_path).epoch == future + 1


@pytest.mark.parametrize(
    "content", [b"", b"x\n", b"12\n13\n", b"\xff\x00", b"-1\n", b"1.5\n", b"18446744073709551615\n"]
)
def test_a_damaged_epoch_is_refused_with_advice_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / EPOCH_FILE
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"epoch is damaged.*another node is MASTER"):
        new_identity(tmp_path)
    assert path.read_bytes() == content


@given(term=U64, served_term=U64, vote_term=U64, vote_for=U64)
def test_terms_and_votes_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, term: int, served_term: int, vote_term: int, vote_for: int
) -> None:
    directory = tmp_path_factory.mktemp("state")
    persistent = Persistent(term, served_term, vote_term, vote_for)
    VoteFile(directory / VOTES_FILE).write(persistent)
    assert read_persistent(directory) == persistent


def test_a_new_host_knows_no_term(tmp_path: Path) -> None:
    assert read_persistent(tmp_path) == Persistent()


WHOLE = b'{"term": 4, "served_term": 3, "vote_term": 4, "vote_for": 17}\n'
DAMAGED = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"4",
    WHOLE[:-8],
    WHOLE.replace(b"4", b"-4"),
    WHOLE.replace(b"17", b"18446744073709551616"),
    WHOLE.replace(b"17", b"1.5"),
    WHOLE.replace(b"17", b'"17"'),
    WHOLE.replace(b"17", b"true"),
    WHOLE.replace(b"17", b"null"),
    WHOLE.replace(b', "vote_for": 17', b""),
    WHOLE.replace(b"vote_for", b"voted_for"),
    WHOLE.replace(b"17", b'17, "more": 1'),
    b"\xff\xfe" + WHOLE,
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_state_is_refused_with_advice_rather_than_a_vote_forgotten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / STATE_FILE
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"election\.json is damaged.*another node is MASTER"):
        read_persistent(tmp_path)
    assert path.read_bytes() == content


STANDING = b'{"is_paused": 1, "term": 3, "metaid": 7, "version": 90, "branch_lineage": 2, "branch_version": 80}\n'
FORMER = Persistent(4, 3, 4, 17, True, Lineage(3, 7, 90, 2, 80))


def test_the_files_of_an_earlier_version_are_read_and_brought_over(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(WHOLE)
    assert read_persistent(tmp_path) == Persistent(4, 3, 4, 17)
    (tmp_path / STANDING_FILE).write_bytes(STANDING)
    assert read_persistent(tmp_path) == FORMER
    bring_over(tmp_path, FORMER)
    assert read_persistent(tmp_path) == FORMER
    assert sorted(each.name for each in tmp_path.iterdir()) == [STATE_FILE, VOTES_FILE]
    bring_over(tmp_path, FORMER)
    VoteFile(tmp_path / VOTES_FILE).write(Persistent(5, 3, 5, 18))
    assert read_persistent(tmp_path) == Persistent(5, 3, 5, 18)


def test_a_new_host_has_its_file_before_the_first_vote(tmp_path: Path) -> None:
    bring_over(tmp_path, read_persistent(tmp_path))
    assert (tmp_path / VOTES_FILE).stat().st_size == SLOTS * SLOT_BYTES
    assert read_persistent(tmp_path) == Persistent()


@pytest.mark.parametrize(("where", "step"), [(identity, "write_durably"), (Path, "unlink")])
def test_a_crash_while_they_are_brought_over_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, step: str
) -> None:
    (tmp_path / STATE_FILE).write_bytes(WHOLE)
    (tmp_path / STANDING_FILE).write_bytes(STANDING)

    def crash(*_: object, **__: object) -> None:
        raise OSError("here the power went")

    monkeypatch.setattr(where, step, crash)
    with pytest.raises(OSError, match="the power went"):
        bring_over(tmp_path, FORMER)
    assert read_persistent(tmp_path) == FORMER


def test_an_earlier_version_refuses_what_was_brought_over(tmp_path: Path) -> None:
    """Its reader took anything but an object of four numbers for damage."""
    bring_over(tmp_path, FORMER)
    assert not isinstance(json.loads((tmp_path / STATE_FILE).read_bytes()), dict)


def test_the_votes_of_both_count_where_an_earlier_version_has_run_meanwhile(tmp_path: Path) -> None:
    VoteFile(tmp_path / VOTES_FILE).write(Persistent(5, 2, 5, 21))
    (tmp_path / STATE_FILE).write_text('{"term": 9, "served_term": 1, "vote_term": 0, "vote_for": 0}')
    assert read_persistent(tmp_path) == Persistent(9, 2, 5, 21)
    (tmp_path / STATE_FILE).write_bytes(WHOLE)
    assert read_persistent(tmp_path) == Persistent(5, 3, 5, 21)


def test_votes_that_are_gone_are_missed(tmp_path: Path) -> None:
    bring_over(tmp_path, FORMER)
    (tmp_path / VOTES_FILE).unlink()
    with pytest.raises(StateError, match=r"election\.json is damaged"):
        read_persistent(tmp_path)


def test_a_damaged_file_of_votes_is_refused_with_advice_and_kept(tmp_path: Path) -> None:
    path = tmp_path / VOTES_FILE
    path.write_bytes(bytes(SLOTS * SLOT_BYTES))
    with pytest.raises(StateError, match=r"votes is damaged.*another node is MASTER"):
        read_persistent(tmp_path)
    assert path.read_bytes() == bytes(SLOTS * SLOT_BYTES)


def test_a_kill_at_any_moment_leaves_the_newest_or_the_one_before(tmp_path: Path) -> None:
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [int(writer.stdout.readline()) for _ in range(20)]
            os.kill(writer.pid, signal.SIGKILL)
            said += [int(line) for line in writer.stdout.read().splitlines()]
        found = read_persistent(tmp_path)
        assert found.term in (said[-1], said[-1] + 1)
        assert found == Persistent(found.term, found.term, found.term, 2**64 - found.term)
