"""What an operator is told of a plan's end: a failure to mend, or that nothing is broken."""

import logging

import pytest

from pycarpd.daemon.jobs import Job, Kind, faults_of
from pycarpd.takeover.events import ABORTED, Outcome
from pycarpd.takeover.step import StepFault

PROMOTE = Job(Kind.PROMOTE, 7)
FOR_ANOTHER = StepFault(ABORTED, "another node is to serve")


def ended(fault: StepFault, *, is_undone: bool = True, undo_faults: tuple[tuple[str, StepFault], ...] = ()) -> Outcome:
    return Outcome("1", "promote", False, "preserve", fault, undone=is_undone, undo_faults=undo_faults)


def test_a_promotion_that_was_called_off_is_nothing_to_mend(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert faults_of(PROMOTE, ended(FOR_ANOTHER)) == []
    assert "promote was called off step=preserve why='another node is to serve'" in caplog.text


@pytest.mark.parametrize(
    "outcome",
    [
        ended(StepFault("WRONG_VERSION", "version 4 is served, expected 5")),
        ended(FOR_ANOTHER, is_undone=False),
        ended(FOR_ANOTHER, undo_faults=(("install", StepFault("NO_SPACE", "the disk is full")),)),
    ],
)
def test_a_promotion_that_failed_or_is_not_taken_back_whole_is(outcome: Outcome) -> None:
    assert [each.code for each in faults_of(PROMOTE, outcome)] == ["plan-failed"]
