"""The screen: golden at 80 columns, and within 24 lines when much is wrong."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from pycarpd.cli.render import REPORTS_SHOWN_MAX, age_text, history_table, report_lines, status_screen, takeover_text
from pycarpd.control.reports import report
from pycarpd.control.status import FreshnessStatus, Status, Transition, VipStatus
from tests.unit.control.serving import healthy_status

GOLDEN = Path(__file__).parent


def screen(status: Status, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(status_screen(status))
    return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())


def troubled() -> Status:
    """The worst that one screen must hold: a lost master, a stale standby, a slow takeover, a pause."""
    status = healthy_status()
    lost, own, stale = status.members
    phases = {
        "preserve": 4, "stop metalogger": 9, "end mfsmaster": 0, "assemble": 22, "install": 6, "start mfsmaster": 481,
        "probe": 12, "close gate": 3, "take address": 5, "tickle servers": 1, "await chunkservers": 300,
    }  # fmt: skip
    last = Transition(
        time="2026-01-02T03:00:00Z",
        term=8,
        from_role="PROMOTING",
        to_role="MASTER",
        cause="mfsmaster serves the expected version",
        phases=phases,
        operations_lost=3,
    )
    gap = FreshnessStatus(version=4000, age_ms=65_000, why_not="the chain has a gap from 4000 to 4010")
    return status.model_copy(
        update={
            "role": "MASTER",
            "term": 8,
            "master": "meta2",
            "vip": VipStatus(addresses=("192.0.2.100/24",), held=True, fence_open=True),
            "lease_remaining_ms": 613,
            "can_split": True,
            "paused": True,
            "members": (
                lost.model_copy(update={"role": "FAULT", "state": "lost", "last_heard_ms": 734_000}),
                own.model_copy(update={"role": "MASTER", "term": 8}),
                stale.model_copy(update={"freshness": gap}),
            ),
            "last_transition": last,
            "reports": (report("plan-degraded", "mfscgiserv did not start: exit status 1"),),
        }
    )


@pytest.mark.parametrize(("name", "status"), [("healthy", healthy_status()), ("troubled", troubled())])
def test_the_screen_is_the_golden_one(name: str, status: Status) -> None:
    assert screen(status) == (GOLDEN / f"golden_{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("status", [healthy_status(), troubled()])
def test_a_cluster_of_three_fits_80_by_24(status: Status) -> None:
    lines = screen(status).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_nothing_but_the_reason_is_cut_at_80_columns() -> None:
    text = screen(troubled())
    for words in ("meta1", "192.0.2.13", "MASTER", "4713", "12m", "713", "1m"):
        assert words in text
    assert "the chain has a gap from 4000 to 4010" in text


def test_reports_are_bounded_and_the_rest_is_counted() -> None:
    many = tuple(report("paused", f"number {index}") for index in range(REPORTS_SHOWN_MAX + 3))
    lines = report_lines((report("can-split", "note"), *many))
    assert len(lines) == REPORTS_SHOWN_MAX + 1
    assert "4 more" in lines[-1].plain


def test_history_is_a_table_with_the_failed_step() -> None:
    last = troubled().last_transition
    assert last is not None
    failed = last.model_copy(update={"failed_step": "probe", "phases": {}})
    stream = io.StringIO()
    Console(file=stream, width=100).print(history_table((last, failed)))
    assert "843" in stream.getvalue()
    assert "(probe)" in stream.getvalue()


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "-"),
        (0, "0ms"),
        (999, "999ms"),
        (1000, "1.0s"),
        (59_900, "59.9s"),
        (60_000, "1m"),
        (7_200_000, "2h"),
        (172_800_000, "2d"),
    ],
)
def test_ages(milliseconds: int | None, text: str) -> None:
    assert age_text(milliseconds) == text
    assert len(age_text(milliseconds)) <= 5


def test_history_has_one_line_a_change_at_80_columns() -> None:
    last = troubled().last_transition
    assert last is not None
    stream = io.StringIO()
    Console(file=stream, width=80).print(history_table((last.model_copy(update={"operations_lost": 0}),) * 3))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert all(line.rstrip().endswith("mfsmaster serves the expected version") for line in lines[2:])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"role": "MASTER"}, "serves"),
        ({}, "yes"),
        ({"demotion": 2}, "yes, demoted"),
        ({"paused": True}, "no: paused"),
        ({"role": "SUSPENDED"}, "no: SUSPENDED"),
        ({"role": "MASTER", "state": "lost"}, "no: not heard"),
        ({"state": "never heard", "role": None}, "no: not heard"),
        ({"freshness": FreshnessStatus(why_not="no base")}, "no: no base"),
        ({"is_witness": True}, "witness"),
    ],
)
def test_each_member_says_whether_it_could_take_over_now(changes: dict[str, object], words: str) -> None:
    standby = healthy_status().members[2]
    assert takeover_text(standby.model_copy(update=changes)).plain == words


def test_a_silent_masters_role_is_the_last_one_heard_of() -> None:
    status = healthy_status()
    lost = status.members[0].model_copy(update={"state": "lost", "last_heard_ms": 6700})
    assert "(MASTER)" in screen(status.model_copy(update={"members": (lost, *status.members[1:])}))


def test_a_promotion_says_why_it_began() -> None:
    last = troubled().last_transition
    assert last is not None
    began = last.model_copy(update={"opened_by": "the master resigned"})
    assert "because: the master resigned; mfsmaster serves" in screen(
        troubled().model_copy(update={"last_transition": began})
    )
