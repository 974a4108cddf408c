"""The history file: bounded, durable, readable after a crash at any byte."""

from pathlib import Path

import pytest

from pycarpd.control.history import SLACK_LINES, History
from pycarpd.control.status import Transition


def transition(term: int) -> Transition:
    return Transition(
        time="2026-01-02T03:04:05Z",
        term=term,
        from_role="BACKUP",
        to_role="PROMOTING",
        cause="master-down interval ran out",
        phases={"assemble": 12, "start": 480},
    )


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    for term in range(5):
        history.append(transition(term))
    again = History(tmp_path / "history")
    assert again.entries == history.entries == tuple(transition(term) for term in range(5))
    assert again.damaged_lines == 0


def test_an_amended_transition_takes_the_place_of_its_first_version(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    for term in range(3):
        history.append(transition(term))
    amended = transition(1).model_copy(update={"operations_lost": 7})
    history.amend(amended)
    expected = (transition(0), amended, transition(2))
    assert history.entries == History(tmp_path / "history").entries == expected
    history.amend(transition(9))
    assert [each.term for each in History(tmp_path / "history").entries] == [0, 1, 2, 9]


def test_the_file_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    history = History(tmp_path / "history", kept_max=10)
    for term in range(500):
        history.append(transition(term))
        lines = (tmp_path / "history").read_bytes().count(b"\n")
        assert lines <= 10 + SLACK_LINES
    assert [each.term for each in history.entries] == list(range(490, 500))
    assert History(tmp_path / "history", kept_max=10).entries == history.entries
    assert [each.name for each in tmp_path.iterdir()] == ["history"]


def test_a_crash_at_any_byte_of_the_last_line_loses_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "history"
    whole = History(path)
    for term in range(3):
        whole.append(transition(term))
    content = path.read_bytes()
    second_end = content.index(b"\n", content.index(b"\n") + 1) + 1
    for cut in range(second_end, len(content)):
        path.write_bytes(content[:cut])
        torn = History(path)
        assert [each.term for each in torn.entries][:2] == [0, 1]
        torn.append(transition(9))
        assert [each.term for each in History(path).entries][-1] == 9
        assert [each.term for each in History(path).entries][:2] == [0, 1]


@pytest.mark.parametrize("damage", [b"\n\n", b"{}\n", b"\xff\xfe\n", b'{"time": 7}\n', b"[" * 5000 + b"\n"])
def test_damaged_lines_are_skipped_and_counted(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "history"
    History(path).append(transition(1))
    path.write_bytes(damage + path.read_bytes())
    history = History(path)
    assert [each.term for each in history.entries] == [1]
    assert history.damaged_lines == (1 if damage.strip() else 0)
