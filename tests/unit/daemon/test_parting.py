"""Where a successor's history left a former master's lineage, with other masterships in between."""

import pytest

from pycarpd.daemon.news import parting
from pycarpd.election.model import Branch

HISTORY = (Branch(7, 300), Branch(5, 200), Branch(2, 100))
"""Lineage 7 was left at 300 for the one that serves, 5 at 200 for 7, 2 at 100 for 5."""


@pytest.mark.parametrize(
    ("lineage", "version"),
    [
        (7, 300),
        (5, 200),
        (2, 100),
        (6, 200),  # one that nobody has followed
        (1, 100),  # before all that is told of
        (0, 300),  # unknown
    ],
)
def test_it_is_where_that_very_lineage_was_left(lineage: int, version: int) -> None:
    assert parting(HISTORY, lineage) == version


def test_a_master_that_tells_nothing_leaves_it_open() -> None:
    assert parting((), 5) is None
