import threading
from dataclasses import replace
from pathlib import Path

from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.takeover.context import NS_PER_S, Context, Request, TakeoverSettings
from pycarpd.takeover.plans import build_plan
from pycarpd.takeover.promote import PROMOTE
from pycarpd.takeover.step import StepFault
from pycarpd.takeover.stonith import FENCE_STEP, fence_old_master

WITHOUT = TakeoverSettings(Path("/data"), Path("/etc/mfsmaster.cfg"), Path("/etc/ml.cfg"), 0, 0, ("192.0.2.100",))
WITH = replace(WITHOUT, fence_timeout_ns=30 * NS_PER_S)
REQUEST = Request("x", 3, 4)
ALIVE = StepFault("NOT_FENCED", "meta1 may live still")


def names(settings: TakeoverSettings) -> list[str]:
    return [step.spec.name for step in build_plan(PROMOTE, settings, REQUEST).steps]


def test_the_old_master_is_dead_before_anything_is_touched() -> None:
    assert names(WITH) == [FENCE_STEP, *names(WITHOUT)]


def test_the_step_is_as_long_as_the_command_may_take() -> None:
    step = build_plan(PROMOTE, WITH, REQUEST).steps[0]
    assert step.spec.timeout_ns > WITH.fence_timeout_ns


def test_what_the_command_says_is_the_steps_outcome() -> None:
    context = Context(
        WITH,
        REQUEST,
        Mfsmaster(WITH.master_config, WITH.data_path),
        Mfsmetalogger(WITH.metalogger_config, Path("/data")),
    )
    assert fence_old_master(context, threading.Event()) is None
    context.fence = lambda _cancel: ALIVE
    assert fence_old_master(context, threading.Event()) == ALIVE
