"""The rehearsed plans are the real ones: the same steps, in the same order, with the same consequences of failure."""

from dataclasses import replace
from pathlib import Path

import pytest

from pycarpd.sim import plans
from pycarpd.sim.host import Host
from pycarpd.sim.plans import Operation
from pycarpd.takeover.context import Request, TakeoverSettings
from pycarpd.takeover.plans import build_plan
from pycarpd.takeover.step import StepSpec

SETTINGS = TakeoverSettings(
    data_path=Path("/nonexistent"),
    master_config=Path("/nonexistent/mfsmaster.cfg"),
    metalogger_config=Path("/nonexistent/mfsmetalogger.cfg"),
    uid=0,
    gid=0,
    virtual_addresses=("192.0.2.100",),
)


def without_times(steps: tuple[StepSpec, ...]) -> list[StepSpec]:
    return [replace(step, timeout_ns=0, undo_timeout_ns=0) for step in steps]


@pytest.mark.parametrize(
    ("name", "has_successor"),
    [("promote", False), ("demote", False), ("demote", True), ("hold", False), ("level", False)],
)
def test_the_rehearsed_plan_is_the_real_one(name: str, has_successor: bool) -> None:
    request = Request("label", 1, 0, has_successor=has_successor)
    real = build_plan(name, SETTINGS, request).spec
    rehearsed = plans.spec_of(Operation(Host(), name, "label", 1, has_successor))
    assert without_times(rehearsed.steps) == without_times(real.steps)


def test_the_rehearsed_plan_begun_on_suspicion_is_the_real_one() -> None:
    real = build_plan("promote", SETTINGS, Request("label", 1, 0, is_speculative=True)).spec
    rehearsed = plans.spec_of(Operation(Host(), "promote", "label", 1, has_successor=False, is_speculative=True))
    assert without_times(rehearsed.steps) == without_times(real.steps)


def test_every_effect_belongs_to_a_step() -> None:
    names = {
        step.name
        for name, has_successor in (("promote", False), ("demote", True), ("hold", False), ("level", False))
        for step in plans.spec_of(Operation(Host(), name, "label", 1, has_successor)).steps
    }
    assert plans.WORK.keys() <= names
