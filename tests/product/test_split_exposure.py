"""Never two masters, seen in the kernel: at no instant do two hosts answer for the VIP, by ARP or on 9421.

The judge is a capture on the switch while a prober asks every host at its own port every five milliseconds. What each
scenario exposed is printed (pytest -s); `./netns/lab exposure --long` plays the long ones as well.
"""

import sys
from collections.abc import Iterator

import pytest
from rich.console import Console

from netns.exposure import ALONE, SCENARIOS, THREE, WITNESS, Group, Scenario, table
from netns.owner import Owner, reap
from netns.theatre import Outcome, Theatre

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(300)]

WAIT_MS_MAX = 60_000
UNDER_WAY_MAX = 5
LEAST_ANSWERS = 100


def of(group: Group) -> list[Scenario]:
    return [s for s in SCENARIOS if s.group == group and not s.is_long]


@pytest.fixture(scope="module")
def theatres() -> Iterator[dict[str, Theatre]]:
    """One cluster at a time, built when a scenario wants it."""
    held: dict[str, Theatre] = {}
    reap()
    yield held
    for theatre in held.values():
        theatre.owner.release()


def play(theatres: dict[str, Theatre], scenario: Scenario) -> Outcome:
    group = scenario.group
    if group.name not in theatres:
        while theatres:
            theatres.popitem()[1].owner.release()
        owner = Owner()
        try:
            theatres[group.name] = group.build(owner)
        except BaseException:
            owner.keep_files = True
            owner.release()
            raise
    try:
        outcome = theatres[group.name].play(scenario.name, scenario.act)
    except BaseException:
        theatre = theatres.pop(group.name)
        theatre.owner.keep_files = True
        for host in theatre.cluster.daemons.hosts:
            sys.stdout.write(theatre.cluster.last_words(host, 30) + "\n")
        theatre.owner.release()
        raise
    Console(width=140).print(table([outcome]))
    return outcome


@pytest.mark.parametrize("scenario", of(THREE) + of(WITNESS), ids=lambda s: s.name)
def test_no_two_hosts_answer(theatres: dict[str, Theatre], scenario: Scenario) -> None:
    seen = play(theatres, scenario)
    assert seen.answers > LEAST_ANSWERS
    assert seen.exposure_ms == 0, f"{seen.stretches}"
    assert scenario.may_return or not seen.has_returned, f"{seen.stretches}"
    assert seen.lost <= (UNDER_WAY_MAX if scenario.may_lose else 0)
    assert seen.gap_ms < WAIT_MS_MAX


def test_of_two_hosts_that_decide_alone_both_answer_and_say_so(theatres: dict[str, Theatre]) -> None:
    (scenario,) = of(ALONE)
    seen = play(theatres, scenario)
    cluster = theatres[ALONE.name].cluster
    assert seen.exposure_ms > 0
    assert seen.gap_ms < WAIT_MS_MAX
    assert all(cluster.daemons.look(host)["can_split"] for host in cluster.daemons.hosts)
