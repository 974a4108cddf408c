"""The board's status is design's contract, field by field, and says what the newest news say."""

import json
from dataclasses import replace

import pytest

from pycarpd.control.reports import explanations
from pycarpd.control.status import Transition
from pycarpd.daemon.board import Board, plan_report, transition
from pycarpd.daemon.lateness import BUCKETS_US
from pycarpd.daemon.messages import TransitionNews
from pycarpd.election.model import Cause, Freshness, Member, Role
from tests.unit.daemon.values import VIP, daemon_settings, peer_news, status_news

CONTRACT = {
    "schema",
    "node",
    "role",
    "term",
    "master",
    "vip",
    "lease_remaining_ms",
    "quorum",
    "can_split",
    "paused",
    "freshness",
    "members",
    "last_transition",
}
FRESHNESS = {"metaid", "version", "proved_version", "drill_age_s", "promotable", "why_not"}
PROMOTED = TransitionNews(Role.PROMOTING, Role.MASTER, Cause.PROMOTION_READY, 4, "meta1")


def board(**changes: object) -> Board:
    return Board(daemon_settings(), news=status_news(**changes))


def shown(of: Board) -> dict[str, object]:
    found: dict[str, object] = json.loads(of.status().model_dump_json())
    return found


def test_the_status_has_every_field_of_the_contract_and_says_what_is_so() -> None:
    of = board()
    of.last_transition = transition(PROMOTED, {"assemble": 12})
    status = shown(of)
    assert set(status) >= CONTRACT
    assert {name: status[name] for name in ("schema", "node", "role", "term", "master", "can_split", "paused")} == {
        "schema": 1,
        "node": "meta1",
        "role": "MASTER",
        "term": 4,
        "master": "meta1",
        "can_split": True,
        "paused": False,
    }
    assert status["vip"] == {"addresses": [VIP], "held": True, "fence_open": True}
    assert status["lease_remaining_ms"] == 700
    assert status["quorum"] == {"has": True, "heard": 3, "needed": 2}


def test_freshness_is_told_with_a_metaid_that_survives_javascript() -> None:
    of = board(freshness=Freshness(2**63 + 1, 77, proved_version=70, drill_age_s=5, age_ms=9))
    freshness = shown(of)["freshness"]
    assert isinstance(freshness, dict)
    assert set(freshness) >= FRESHNESS
    assert freshness == {
        "metaid": "8000000000000001",
        "lineage": None,
        "version": 77,
        "proved_version": 70,
        "drill_age_s": 5,
        "age_ms": 9,
        "promotable": True,
        "why_not": None,
    }


@pytest.mark.parametrize("freshness", [None, Freshness(1, 2)])
def test_a_host_that_could_not_take_over_says_why(freshness: Freshness | None) -> None:
    status = board(freshness=freshness, why_not="its mfsmetalogger is not running").status()
    assert not status.freshness.promotable
    assert status.freshness.why_not == "its mfsmetalogger is not running"


def test_members_come_in_the_order_of_the_configuration_each_with_its_own_facts() -> None:
    peers = (
        peer_news("meta3", address="192.0.2.13", is_promotable=False, freshness=None, heard_ms=None, role=None),
        peer_news("meta2", demotion=240, heard_ms=10),
    )
    rows = board(peers=peers, role=Role.BACKUP, demotion=3).status().members
    assert [(row.name, row.address, row.state, row.role) for row in rows] == [
        ("meta1", "192.0.2.11", "self", "BACKUP"),
        ("meta2", "192.0.2.12", "heard", "BACKUP"),
        ("meta3", "192.0.2.13", "never heard", None),
    ]
    assert [row.last_heard_ms for row in rows] == [0, 10, None]
    assert [row.demotion for row in rows] == [3, 240, 0]
    assert [row.term for row in rows] == [4, 4, None]
    assert [row.freshness.promotable for row in rows] == [True, True, False]
    assert rows[2].freshness.why_not


def test_who_is_paused_is_told_of_each_member() -> None:
    rows = board(peers=(peer_news(is_paused=True), peer_news("meta3"))).status().members
    assert [row.paused for row in rows] == [False, True, False]
    assert [row.paused for row in board(peers=(peer_news(),), is_paused=True).status().members] == [True, False]


@pytest.mark.parametrize(
    ("heard_ms", "state"), [(0, "heard"), (1000, "heard"), (1001, "late"), (3000, "late"), (3001, "lost")]
)
def test_silence_has_words(heard_ms: int, state: str) -> None:
    rows = board(peers=(peer_news(heard_ms=heard_ms),)).status().members
    assert board(peers=(peer_news(heard_ms=heard_ms, patience_ms=heard_ms),)).status().members[1].state == "heard"
    assert [row.state for row in rows] == ["self", state]


def test_before_any_news_the_status_promises_nothing() -> None:
    status = Board(daemon_settings()).status()
    assert (status.role, status.term, status.master, status.vip.held) == ("INIT", 0, None, False)
    assert not status.quorum.has
    assert not status.freshness.promotable
    assert status.freshness.why_not
    assert status.can_split
    assert not status.serves
    assert Board(daemon_settings()).metrics().adverts_sent == 0


def test_a_lease_that_ran_out_is_none_and_no_master_is_none() -> None:
    status = board(lease_remaining_ms=0, master="").status()
    assert status.lease_remaining_ms is None
    assert status.master is None


@pytest.mark.parametrize(
    ("live", "members", "has", "needed"), [(1, 3, False, 2), (2, 3, True, 2), (2, 5, False, 3), (1, 1, True, 1)]
)
def test_a_quorum_is_a_majority_of_all_members(live: int, members: int, has: bool, needed: int) -> None:
    settings = daemon_settings()
    all_members = tuple(Member(n, f"meta{n}", bytes((192, 0, 2, n))) for n in range(1, members + 1))
    of = Board(replace(settings, election=replace(settings.election, members=all_members)))
    of.news = status_news(live_members=live)
    quorum = of.status().quorum
    assert (quorum.has, quorum.heard, quorum.needed) == (has, live, needed)


def test_what_is_wrong_is_reported_by_known_codes_and_nothing_is_when_all_is_well() -> None:
    assert board().status().reports == ()
    peers = (peer_news(has_same_config=False), peer_news("meta3", hears_me=False))
    of = board(
        peers=peers,
        faults=("the interface is down",),
        degradations=(("no-realtime", "adverts are sent at nice -20", "grant CAP_SYS_NICE"),),
    )
    of.plan_faults = (plan_report("plan-failed", "promote failed at probe: gone", "mend it"),)
    reports = of.status().reports
    assert [each.code for each in reports] == ["no-realtime", "fault", "config-mismatch", "one-way", "plan-failed"]
    assert all(each.code in explanations() for each in reports)
    assert all(each.hint for each in reports)


def test_a_silent_member_is_not_called_one_way() -> None:
    for heard_ms in (None, 5000):
        assert board(peers=(peer_news(hears_me=False, heard_ms=heard_ms),)).status().reports == ()


def test_a_transition_says_time_from_to_cause_and_phases() -> None:
    entry = transition(PROMOTED, {"assemble": 12, "start-mfsmaster": 340})
    shown_entry = json.loads(entry.model_dump_json())
    assert {name: shown_entry[name] for name in ("term", "from", "to", "cause", "phases", "operations_lost")} == {
        "term": 4,
        "from": "PROMOTING",
        "to": "MASTER",
        "cause": "mfsmaster serves the expected version",
        "phases": {"assemble": 12, "start-mfsmaster": 340},
        "operations_lost": None,
    }
    assert shown_entry["time"].endswith("Z")
    assert Transition.model_validate_json(entry.model_dump_json()) == entry


def test_every_role_and_cause_can_be_told() -> None:
    for role in Role:
        for cause in Cause:
            assert transition(TransitionNews(role, role, cause, 0, ""), {}).to_role == role.name
        assert board(role=role).status().role == role.name


def test_metrics_tell_accepted_from_rejected_and_keep_the_histogram() -> None:
    of = board()
    of.promotions, of.promotions_failed = 2, 1
    metrics = of.metrics()
    assert metrics.adverts_sent == 40
    assert metrics.adverts_received == 12
    assert metrics.adverts_rejected == {"bad_digest": 3}
    assert (metrics.receive_overflows, metrics.send_failures, metrics.lateness_sum_us) == (1, 4, 700)
    assert (metrics.promotions, metrics.promotions_failed) == (2, 1)
    assert metrics.lateness_us[0] == (BUCKETS_US[0], 9)
    assert metrics.lateness_us[-1] == (None, 1)


def test_lateness_is_told_by_the_bounds_of_its_buckets() -> None:
    lateness = board().status().lateness
    assert lateness is not None
    assert lateness.wakes == 10
    assert lateness.p50_us == BUCKETS_US[0]
    assert lateness.p99_us > BUCKETS_US[-1]
    quiet = board(lateness_us=(0,) * (len(BUCKETS_US) + 1)).status().lateness
    assert quiet is not None
    assert (quiet.wakes, quiet.max_us) == (0, 0)
