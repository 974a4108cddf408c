"""The epoch only grows, the terms are never forgotten silently, and no kill leaves half a file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycarpd.daemon.identity import (
    EPOCH_FILE,
    STATE_FILE,
    StateError,
    new_identity,
    read_persistent,
    write_persistent,
)
from pycarpd.election.model import Persistent
from pycarpd.linux.clock import realtime_ns

U64 = st.integers(min_value=0, max_value=2**64 - 1)
WRITER = """
import sys
from itertools import count
from pathlib import Path
from pycarpd.daemon.identity import write_persistent
from pycarpd.election.model import Persistent
for term in count(1):
    write_persistent(Path(sys.argv[1]), Persistent(term, term, term, 2**64 - term))
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
    write_persistent(directory, persistent)
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
