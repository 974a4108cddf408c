from pathlib import Path

import pytest

from pycarpd.takeover.context import Request, TakeoverSettings
from pycarpd.takeover.demote import DEMOTE
from pycarpd.takeover.plans import build_plan, parameters_of, rebuild, request_of
from pycarpd.takeover.promote import PROMOTE
from pycarpd.takeover.records import OpenPlan, PlanOpened
from pycarpd.takeover.step import OnFailure, UndoScope

SETTINGS = TakeoverSettings(Path("/data"), Path("/etc/mfsmaster.cfg"), Path("/etc/ml.cfg"), 0, 0, ("192.0.2.100",))
REQUESTS = [
    Request("x", 3, 4),
    Request("x", 3, 4, expected_metaid=0, minimum_version=7, is_address_held=True),
    Request("x", 3, 4, expected_metaid=1 << 63, has_successor=True, successor_version=99),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_survives_the_journal(request_: Request) -> None:
    assert request_of(parameters_of(request_)) == request_


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("name", [PROMOTE, DEMOTE])
def test_a_recovered_plan_is_the_same_plan(name: str, request_: Request) -> None:
    plan = build_plan(name, SETTINGS, request_)
    opened = PlanOpened(plan.plan_id, plan.name, plan.parameters)
    again, found = rebuild(OpenPlan(opened, (), did_commit=False), SETTINGS)
    assert again.spec == plan.spec
    assert found == request_


def test_the_order_of_a_promotion_is_the_designs() -> None:
    assert [step.spec.name for step in build_plan(PROMOTE, SETTINGS, REQUESTS[0]).steps] == [
        "preserve",
        "early-address",
        "stop-metalogger",
        "end-mfsmaster",
        "assemble",
        "install",
        "start-mfsmaster",
        "probe",
        "close-gate",
        "take-address",
        "admit-servers",
        "wake-servers",
        "await-chunkservers",
        "release-locks",
        "open-gate",
        "wake-clients",
        "start-metalogger",
        "start-companions",
        "prune",
    ]


def test_everybody_is_kept_out_before_mfsmaster_starts_and_let_in_after_the_commit() -> None:
    specs = {step.name: step for step in build_plan(PROMOTE, SETTINGS, REQUESTS[1]).spec.steps}
    names = list(specs)
    assert names.index("preserve") < names.index("early-address") < names.index("start-mfsmaster")
    assert names.index("take-address") < names.index("admit-servers") < names.index("open-gate")
    assert specs["early-address"].undo is UndoScope.ALWAYS


def test_nothing_after_the_commit_can_end_a_promotion_and_files_go_back_only_before_it() -> None:
    specs = build_plan(PROMOTE, SETTINGS, REQUESTS[0]).spec.steps
    commit = next(index for index, spec in enumerate(specs) if spec.commits)
    assert specs[commit].name == "take-address"
    assert all(spec.on_failure is OnFailure.REPORT for spec in specs[commit + 1 :])
    scopes = {spec.name: spec.undo for spec in specs}
    assert scopes["install"] is UndoScope.BEFORE_COMMIT
    assert scopes["start-mfsmaster"] is UndoScope.STOPS_SERVING
    assert scopes["close-gate"] is UndoScope.ALWAYS


def test_only_a_known_successor_makes_a_demotion_archive() -> None:
    without = {step.spec.name for step in build_plan(DEMOTE, SETTINGS, REQUESTS[0]).steps}
    with_one = {step.spec.name for step in build_plan(DEMOTE, SETTINGS, REQUESTS[2]).steps}
    assert with_one - without == {"stop-metalogger", "archive-files", "close-archive", "list-lost"}


def test_what_a_demotion_has_archived_is_not_taken_back_afterwards() -> None:
    specs = build_plan(DEMOTE, SETTINGS, REQUESTS[2]).spec.steps
    names = [spec.name for spec in specs]
    commit = next(index for index, spec in enumerate(specs) if spec.commits)
    assert names[commit - 1] == "archive-files"
    assert all(spec.on_failure is OnFailure.REPORT for spec in specs[commit + 1 :])
