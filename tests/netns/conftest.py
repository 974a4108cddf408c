"""Laboratories for the tests of this folder: made for one test, gone after it whatever happened."""

from collections.abc import Iterator

import pytest

from netns.owner import Owner
from netns.topology import Topology


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner() as held:
        yield held


@pytest.fixture
def topology(owner: Owner) -> Topology:
    """Two metadata hosts, a client and the switch."""
    return Topology.build(owner, ("m1", "m2", "c1"))
