"""The gate: seeds of whole clusters under faults, every seed that ever failed, and planted bugs that are caught."""

import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pycarpd.cli.pycarpd import app
from pycarpd.election.model import Arbiter
from pycarpd.sim import coverage, shrink
from pycarpd.sim.rehearsal import Result, draw, perform
from tests.simulation.planted import BUGS, Bug, planted, seeds_until_caught

SEEDS = int(os.environ.get("PYCARPD_SEEDS", "1200"))
ALONE_SEEDS = 150
QUICK = 40
REGRESSIONS = Path(__file__).parent / "regressions.txt"
DRAWN_REGRESSIONS = Path(__file__).parent / "regressions_drawn.txt"
SHARE_MIN = 0.03


def rehearse(seed: int) -> Result:
    """Rehearse a seed of those that have found something in a majority's cluster."""
    return perform(draw(seed, Arbiter.MAJORITY))


def rehearse_drawn(seed: int) -> Result:
    return perform(draw(seed))


def regressions() -> list[int]:
    lines = REGRESSIONS.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def drawn_regressions() -> list[int]:
    lines = DRAWN_REGRESSIONS.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


@pytest.mark.timeout(600)
def test_no_rule_is_broken_and_the_faults_and_branches_occur() -> None:
    counted: Counter[str] = Counter()
    broken = []
    with ProcessPoolExecutor(2) as pool:
        for result in pool.map(rehearse_drawn, range(10_000, 10_000 + SEEDS), chunksize=20):
            counted.update(set(result.marks))
            if result.violation:
                broken.append(f"pycarpd simulate --seed {result.seed}: {result.violation[:300]}")
    assert not broken, "\n".join(broken)
    rare = [name for name in coverage.expected(None) if not counted[name]]
    assert len(rare) <= SHARE_MIN * len(coverage.expected(None)), rare


@pytest.mark.parametrize("seed", regressions())
def test_a_seed_that_failed_once_does_not_fail_again(seed: int) -> None:
    assert rehearse(seed).violation == ""


@pytest.mark.parametrize("seed", drawn_regressions())
def test_a_drawn_seed_that_failed_once_does_not_fail_again(seed: int) -> None:
    assert rehearse_drawn(seed).violation == ""


def test_without_an_arbiter_one_master_of_the_newest_term_is_left() -> None:
    broken = [r.violation for r in (perform(draw(seed, Arbiter.NONE)) for seed in range(ALONE_SEEDS)) if r.violation]
    assert not broken, "\n".join(broken)


def test_a_seed_gives_the_same_run_each_time() -> None:
    first, again = rehearse(7), rehearse(7)
    assert (first.marks, first.converged_ns) == (again.marks, again.converged_ns)
    assert first.marks
    assert first.history == again.history


def test_a_transcript_is_the_same_in_every_process() -> None:
    told = [simulate("--seed", "41", "--transcript", hash_seed=seed).stdout for seed in ("1", "2")]
    assert told[0] == told[1]
    assert "PROMOTING" in told[0]


def caught_quickly(bug: Bug) -> bool:
    return (found := seeds_until_caught(bug, QUICK)) is not None and bool(found[1])


@pytest.mark.parametrize(
    "name",
    [
        "no guard for drift",
        "the vote is not written",
        "a voter votes twice in a term",
        "a voter asks for no freshness",
        "a lost master's files are not preserved",
        "the lease counts from the receipt of the acknowledgement",
        "nobody looks at the end of the lease",
        "the address stays when the lease is lost",
        "the resignation comes before mfsmaster is stopped",
        "nobody reads digests",
    ],
)
def test_a_planted_bug_is_caught_by_a_few_seeds(name: str) -> None:
    assert caught_quickly(next(bug for bug in BUGS if bug.name == name))


def test_there_are_many_planted_bugs_of_different_kinds() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert len(BUGS) >= 20


def test_what_fails_is_made_smaller_and_told() -> None:
    bug = next(bug for bug in BUGS if bug.name == "a voter votes twice in a term")
    with planted(bug):
        seed = next(seed for seed in range(QUICK) if rehearse(seed).violation)
        scenario, result = shrink.shrink(seed, Arbiter.MAJORITY)
        assert result.rule == "S1"
        assert len(scenario.moments) < len(draw(seed, Arbiter.MAJORITY).moments)
        assert any("PROMOTING" in line for line in result.history)


def command(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    line = [sys.executable, *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False, env=environment)


def simulate(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return command("-c", "from pycarpd.cli.pycarpd import main; main()", "simulate", *arguments, hash_seed=hash_seed)


def test_the_command_tells_shares_and_leaves_with_zero() -> None:
    done = simulate("--seeds", "40", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"fault: crash\s+.*\d%", done.stdout)
    assert "no rule was broken in 40 rehearsals" in done.stdout


def test_one_seed_is_told() -> None:
    done = simulate("--seed", "4711", "--transcript")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("seed 4711: no rule was broken")
    assert " FAULT " in done.stdout
    assert "PROMOTING -> MASTER" in done.stdout


def test_a_broken_rule_is_told_with_its_seed_and_the_smallest_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycarpd.cli.simulate.SHRUNK_MAX", 1)
    bug = next(bug for bug in BUGS if bug.name == "a voter votes twice in a term")
    with planted(bug):
        done = CliRunner().invoke(app, ["simulate", "--seeds", str(QUICK), "--jobs", "1", "--arbiter", "majority"])
    assert done.exit_code == 1
    assert re.search(r"pycarpd simulate --seed \d+ --arbiter majority", done.output)
    assert "S1:" in done.output
    assert " faults:" in done.output


def test_the_planted_bugs_are_tried_by_a_command() -> None:
    done = command(str(Path(__file__).with_name("mutants.py")), "--all", "--only", "the vote is not written")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 planted bugs caught" in done.stdout
