"""A status of a healthy cluster of three, to be varied by the tests."""

import pytest

from pycarpd.control.status import Status
from tests.unit.control.serving import healthy_status


@pytest.fixture
def healthy() -> Status:
    return healthy_status()
