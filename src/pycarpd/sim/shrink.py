"""From a failing rehearsal to the smallest one that fails alike: fewer faults, and none after the one that matters."""

from dataclasses import replace

from pycarpd.election.model import Arbiter
from pycarpd.sim.rehearsal import Result, Scenario, draw, perform
from pycarpd.sim.schedule import Moment

ATTEMPTS_MAX = 150
"""A rehearsal takes some fifty milliseconds; whoever waits for a smaller one waits for seconds."""


def shrink(seed: int, arbiter: Arbiter | None) -> tuple[Scenario, Result]:
    """Return the smallest scenario found that breaks the rule which the seed breaks, and what comes of it."""
    scenario = draw(seed, arbiter)
    result = perform(scenario)
    if not result.violation:
        return scenario, result
    return _without_chunks(scenario, result)


def _without_chunks(scenario: Scenario, result: Result) -> tuple[Scenario, Result]:
    """Leave out halves of the faults, then quarters, down to single ones, as long as the same rule is broken."""
    attempts, size = 0, max(1, len(scenario.moments) // 2)
    while size and attempts < ATTEMPTS_MAX:
        start = 0
        while start < len(scenario.moments) and attempts < ATTEMPTS_MAX:
            attempts += 1
            fewer = scenario.moments[:start] + scenario.moments[start + size :]
            candidate = replace(scenario, moments=fewer)
            found = perform(candidate)
            if found.rule == result.rule:
                scenario, result = candidate, found
            else:
                start += size
        size //= 2
    return scenario, result


def describe(moments: tuple[Moment, ...]) -> list[str]:
    """Return the faults as lines to be read."""
    return [f"{moment.at_ns / 1e9:8.3f} s  {moment.node}  {moment.fault}" for moment in moments]
