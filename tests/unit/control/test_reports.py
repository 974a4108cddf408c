"""The registry of codes: complete, usable, and the only source of codes in the source."""

import re
from pathlib import Path

import pytest

import pycarpd
from pycarpd.control.reports import Severity, closest, degradation, explanations, report, worst
from pycarpd.invariant import InvariantError

SOURCE = Path(pycarpd.__file__).parent


def test_every_code_is_explained_at_length() -> None:
    for code, each in explanations().items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert len(code) <= 34
        assert len(each.summary) >= 10
        assert len(each.text) >= 40
        assert len(each.hint) >= 10
        assert not each.summary.endswith(".")
        assert not each.hint.endswith(".")


def test_every_code_used_in_the_source_is_registered() -> None:
    used = {
        code
        for path in SOURCE.rglob("*.py")
        for code in re.findall(r"\breport\(\s*\"([a-z0-9-]+)\"", path.read_text(encoding="utf-8"))
    }
    assert len(used) > 50
    assert used <= set(explanations())


def test_every_registered_code_is_used() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    assert [code for code in explanations() if f'"{code}"' not in source] == []


def test_a_report_takes_severity_and_hint_from_the_registry() -> None:
    each = report("config-two-nodes", "no majority", key="cluster.arbiter", value="majority")
    assert each.severity is Severity.ERROR
    assert "witness" in (each.hint or "")
    assert each.line == "error: cluster.arbiter: no majority [config-two-nodes]"
    assert each.as_json()["severity"] == "error"


def test_an_unregistered_code_is_a_bug_of_ours() -> None:
    with pytest.raises(InvariantError):
        report("no-such-code", "text")


def test_a_degradation_of_another_room_needs_no_registration() -> None:
    each = degradation("never-registered", "memory is not locked", "raise the limit")
    assert (each.severity, each.hint) == (Severity.WARNING, "raise the limit")
    assert degradation("fault", "gone", "look").severity is Severity.ERROR


def test_the_worst_severity_and_the_closest_word() -> None:
    reports = [report("can-split", ""), report("paused", ""), report("no-quorum", "")]
    assert worst(reports) is Severity.ERROR
    assert worst(reports[:1]) is Severity.INFO
    assert worst([]) is None
    assert closest("intrface", ["interface", "vhid"]) == "interface"
    assert closest("zzz", ["interface"]) is None
