"""The step that makes sure that the old master is dead before this host takes its place: the site's own fence command.

It comes first, before anything on this host is touched. Whether there is somebody to be fenced, the daemon knows; how,
the site. A plan has this step only where a fence command is configured.
"""

import threading

from pycarpd.takeover.actions import QUICK_TIMEOUT_NS, ContextStep
from pycarpd.takeover.context import Context, TakeoverSettings
from pycarpd.takeover.step import StepFault, StepSpec

FENCE_STEP = "fence-old-master"


def fence_old_master(context: Context, cancel: threading.Event) -> StepFault | None:
    """Have the old master fenced; a fault unless it is known to be dead afterwards."""
    return None if context.fence is None else context.fence(cancel)


def fence_steps(settings: TakeoverSettings) -> tuple[ContextStep, ...]:
    """Return the step, or nothing where the site has no fence command."""
    if not settings.fence_timeout_ns:
        return ()
    # The command gives up by itself first, so that its own words are what the operator reads.
    return (ContextStep(StepSpec(FENCE_STEP, settings.fence_timeout_ns + QUICK_TIMEOUT_NS), fence_old_master),)
