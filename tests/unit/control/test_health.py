"""What is well and what is not: for a node, for a standby, for the cluster."""

from typing import Any

import pytest

from pycarpd.control.health import (
    ClusterHealth,
    cluster_health,
    findings,
    has_successor,
    is_node_healthy,
    is_promotable_backup,
)
from pycarpd.control.reports import report
from pycarpd.control.status import FreshnessStatus, Status, VipStatus


def altered(status: Status, **changes: Any) -> Status:
    return status.model_copy(update=changes)


def with_member(status: Status, index: int, **changes: Any) -> Status:
    members = list(status.members)
    members[index] = members[index].model_copy(update=changes)
    return altered(status, members=tuple(members))


HELD = VipStatus(addresses=("192.0.2.100/24",), held=True, fence_open=True)
NOT_FRESH = FreshnessStatus(promotable=False, why_not="no base yet")


def test_a_healthy_cluster(healthy: Status) -> None:
    assert findings(healthy) == ()
    assert cluster_health(healthy) is ClusterHealth.HEALTHY
    assert is_node_healthy(healthy)
    assert is_promotable_backup(healthy)
    assert not healthy.serves


def test_a_paused_peer_is_told_by_name_and_is_no_successor(healthy: Status) -> None:
    paused = tuple(each.model_copy(update={"paused": True}) for each in healthy.members)
    status = altered(healthy, members=paused)
    assert [(each.code, each.key) for each in findings(status)] == [("paused", "meta1"), ("paused", "meta3")]
    assert has_successor(healthy)
    assert not has_successor(status)


@pytest.mark.parametrize(
    "changes",
    [{"state": "late"}, {"state": "lost"}, {"role": "FAULT"}, {"freshness": FreshnessStatus(why_not="no files")}],
)
def test_one_who_is_silent_ill_or_without_files_is_no_successor(healthy: Status, changes: dict[str, Any]) -> None:
    members = tuple(each.model_copy(update=changes if each.state != "self" else {}) for each in healthy.members)
    assert not has_successor(altered(healthy, members=members))


def test_no_master_outweighs_everything(healthy: Status) -> None:
    assert cluster_health(altered(healthy, master=None, paused=True)) is ClusterHealth.NO_MASTER


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"paused": True}, "paused"),
        ({"reports": (report("plan-degraded", "mfscgiserv"),)}, "plan-degraded"),
        ({"reports": (report("fault", "gone"),)}, "fault"),
    ],
)
def test_what_degrades_a_cluster(healthy: Status, changes: dict[str, Any], code: str) -> None:
    status = altered(healthy, **changes)
    assert [each.code for each in findings(status)] == [code]
    assert cluster_health(status) is ClusterHealth.DEGRADED


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": "lost"}, "member-lost"),
        ({"state": "never heard", "last_heard_ms": None}, "member-silent"),
        ({"freshness": NOT_FRESH}, "member-not-promotable"),
    ],
)
def test_a_member_that_cannot_be_counted_on_degrades(healthy: Status, changes: dict[str, Any], code: str) -> None:
    status = with_member(healthy, 2, **changes)
    assert [(each.code, each.key) for each in findings(status)] == [(code, "meta3")]
    assert cluster_health(status) is ClusterHealth.DEGRADED


def test_a_witness_need_not_be_promotable(healthy: Status) -> None:
    status = with_member(healthy, 2, is_witness=True, freshness=NOT_FRESH)
    assert findings(status) == ()
    own = with_member(altered(healthy, freshness=NOT_FRESH), 1, is_witness=True, freshness=NOT_FRESH)
    assert is_node_healthy(own)
    assert not is_promotable_backup(own)


def test_that_it_can_split_is_said_but_does_not_degrade(healthy: Status) -> None:
    status = altered(healthy, can_split=True)
    assert [each.code for each in findings(status)] == ["can-split"]
    assert cluster_health(status) is ClusterHealth.HEALTHY


def test_what_the_daemon_reports_itself_is_not_told_twice(healthy: Status) -> None:
    status = altered(healthy, can_split=True, reports=(report("can-split", "said by the daemon"),))
    assert [each.message for each in findings(status)] == ["said by the daemon"]


@pytest.mark.parametrize(
    ("role", "vip", "serves"),
    [
        ("MASTER", HELD, True),
        ("MASTER", HELD.model_copy(update={"fence_open": None}), True),
        ("MASTER", HELD.model_copy(update={"fence_open": False}), False),
        ("MASTER", HELD.model_copy(update={"held": False}), False),
        ("PROMOTING", HELD, False),
        ("SUSPENDED", HELD, False),
    ],
)
def test_serving_needs_role_vip_and_an_open_fence(healthy: Status, role: str, vip: VipStatus, serves: bool) -> None:
    status = altered(healthy, role=role, vip=vip)
    assert status.serves is serves
    assert is_node_healthy(status) is serves


def test_an_error_makes_the_node_ill_and_a_warning_does_not(healthy: Status) -> None:
    assert not is_node_healthy(altered(healthy, reports=(report("fault", "gone"),)))
    assert is_node_healthy(altered(healthy, reports=(report("no-realtime", "refused"),)))
    assert not is_node_healthy(altered(healthy, freshness=NOT_FRESH))


def test_the_json_names_are_those_that_scripts_rely_on(healthy: Status) -> None:
    document = healthy.model_dump(by_alias=True, mode="json")
    assert {
        "schema", "node", "role", "term", "master", "vip", "lease_remaining_ms", "quorum", "can_split", "paused",
        "freshness", "members", "last_transition", "reports",
    } <= set(document)  # fmt: skip
    assert document["schema"] == 1
    assert {"held", "fence_open"} <= set(document["vip"])
    assert {"metaid", "version", "proved_version", "drill_age_s", "promotable", "why_not"} <= set(document["freshness"])
    assert {"time", "from", "to", "cause", "phases", "operations_lost"} <= set(document["last_transition"])
    assert Status.model_validate_json(healthy.model_dump_json(by_alias=True)) == healthy
