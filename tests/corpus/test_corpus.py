"""Every damaged directory of the corpus comes to the version that it proves, or to a refusal with the right code."""

import subprocess
import sys
from pathlib import Path

import pytest

from pycarpd.moosefs.chain import Chain, ChainRefusal, RefusalCode
from tests.corpus.compare import Verdict, compare_all, proved
from tests.corpus.damages import CASES, LOAD_FAILS, Case
from tests.corpus.history import recorded
from tests.corpus.reference import reference

BEYOND_THE_REFERENCE = (RefusalCode.CHANGELOG_DAMAGED, RefusalCode.BASE_DAMAGED, RefusalCode.EMERGENCY_SAVE)
"""Refused because something damaged or outside shows that there was more; the reference looks at sound lines only."""
TOGETHER_WITH_MFSMASTER = (
    "last-line-torn",
    "jump-of-ten-thousand",
    "only-the-packages-empty-metadata",
    "base-of-the-version-that-kills-mfsmaster",
    "base-cut-off-and-an-older-one-there",
    "base-with-bits-rotten-inside-a-section",
    "forty-small-overlapping-files",
    "emergency-save-outside-the-directory",
    "everything-of-another-file-system",
)


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_proved_is_what_can_be_had(case: Case, tmp_path: Path) -> None:
    history = recorded()
    found = proved(case, history, tmp_path / "data", tmp_path / "home")
    simple = reference(tmp_path / "data", history.metaid if case.knows_metaid else None)
    outcome = case.outcome(history)
    if isinstance(outcome, RefusalCode):
        assert isinstance(found, ChainRefusal), found
        assert found.code is outcome
        assert found.text
        assert simple is None or outcome in BEYOND_THE_REFERENCE
        if outcome is RefusalCode.GAP:
            assert found.missing_from is not None
            assert found.missing_to is not None
    else:
        assert isinstance(found, Chain), found
        assert found.version == simple
        assert outcome in (found.version, LOAD_FAILS)


@pytest.mark.product
@pytest.mark.netns
def test_mfsmaster_restores_what_was_proved_and_alone_it_is_silently_wrong() -> None:
    chosen = [case for case in CASES if case.name in TOGETHER_WITH_MFSMASTER]
    assert len(chosen) == len(TOGETHER_WITH_MFSMASTER)
    results = {each.case.name: each for each in compare_all(chosen)}
    assert [each for each in results.values() if each.our_verdict is Verdict.WRONG] == []
    for name in ("last-line-torn", "jump-of-ten-thousand", "only-the-packages-empty-metadata"):
        assert results[name].their_verdict is Verdict.WRONG
    assert results["base-of-the-version-that-kills-mfsmaster"].their_verdict is Verdict.WRONG
    assert results["forty-small-overlapping-files"].their_verdict is Verdict.RIGHT


@pytest.mark.product
@pytest.mark.netns
def test_the_comparison_is_printed() -> None:
    command = [sys.executable, str(Path(__file__).with_name("compare.py")), "--only", "clean-stop"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "pycarpd: 1 right, 0 refused, 0 guessed, 0 silently wrong" in done.stdout
    assert "mfsmaster -a: 1 right" in done.stdout
