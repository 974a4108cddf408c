"""pycarpctl drill, doctor and bootstrap as real processes against a daemon that says what the test wants."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pycarpd.control.reports import Report, report
from pycarpd.control.status import DrillStatus, Status
from tests.unit.control.serving import Provider, Served, healthy_status

BIN = Path(sys.executable).parent
OK = {"outcome": "ok", "version": 4711, "inode_count": 42, "duration_ms": 900, "memory_bytes": 1 << 29}


class Drilling(Provider):
    """Begins a drill when it is told to, and ends it after so many looks at the status."""

    def __init__(self, outcome: dict[str, Any], looks: int = 4) -> None:
        super().__init__(healthy_status())
        self.outcome = outcome
        self.looks = looks
        self.number = 0

    def status(self) -> Status:
        drill = DrillStatus(interval_s=3600, number=self.number)
        if self.number and self.looks:
            self.looks -= 1
            phase = "prove" if self.looks > 2 else "restore"
            drill = drill.model_copy(update={"phase": phase, "elapsed_ms": 5})
        elif self.number:
            drill = drill.model_copy(update={"outcome_number": self.number, **self.outcome})
        return self.current.model_copy(update={"drill": drill})

    async def command(self, name: str, args: Mapping[str, Any]) -> tuple[Report, ...]:
        self.number += name == "drill"
        return await super().command(name, args)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "pycarpd.toml"
    path.write_text(f'[node]\nname = "meta2"\nrun_dir = "{tmp_path}"\n', encoding="utf-8")
    return str(path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(Drilling(OK), tmp_path / "control.sock")
    yield made
    made.close()


def ctl(config: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "pycarpctl"), "--config", config, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )


def drilling(served: Served) -> Drilling:
    assert isinstance(served.provider, Drilling)
    return served.provider


def test_a_drill_is_followed_to_its_end(served: Served, config: str) -> None:
    done = ctl(config, "drill")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "proving the files and laying them out",
        "restoring, by mfsmaster in a directory of its own",
    ]
    assert "version 4711 with 42 inodes" in lines[-1]
    assert served.provider.commands == [("drill", {})]


def test_a_drill_as_json_is_one_object(served: Served, config: str) -> None:
    done = ctl(config, "--json", "drill")
    assert done.returncode == 0
    assert json.loads(done.stdout)["version"] == 4711
    assert drilling(served).number == 1


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ({"outcome": "failed", "why": "version 9 was restored", "code": "DRILL_DIFFERS"}, "drill-failed"),
        ({"outcome": "skipped", "why": "it needs memory"}, "drill-skipped"),
        ({**OK, "outcome_number": 0}, "drill-cancelled"),
    ],
)
def test_a_drill_that_shows_nothing_exits_1(served: Served, config: str, outcome: dict[str, Any], code: str) -> None:
    drilling(served).outcome = outcome
    done = ctl(config, "drill")
    assert (done.returncode, f"[{code}]" in done.stderr) == (1, True), done.stderr


def test_a_refused_drill_is_not_waited_for(served: Served, config: str) -> None:
    served.provider.answer = (report("drill-running", "a drill is under way"),)
    done = ctl(config, "drill")
    assert (done.returncode, "[drill-running]" in done.stderr) == (1, True)


def test_a_bootstrap_without_a_terminal_needs_to_be_confirmed(served: Served, config: str) -> None:
    done = ctl(config, "bootstrap")
    assert (done.returncode, "[bootstrap-unconfirmed]" in done.stderr) == (1, True)
    assert ctl(config, "bootstrap", "--yes").returncode == 0
    assert ctl(config, "bootstrap", "--yes", "--force", "some-code").returncode == 0
    assert served.provider.commands == [("bootstrap", {}), ("bootstrap", {"force": "some-code"})]


def test_doctor_tells_what_the_file_and_the_daemon_say(served: Served, config: str) -> None:
    never = ctl(config, "doctor", "--json")
    document = json.loads(never.stdout)
    codes = {each["code"] for each in document["reports"]}
    assert (never.returncode, document["exit"], document["node"]) == (1, 1, "meta2")
    assert {"config-missing-key", "drill-never"} <= codes
    assert all(each["hint"] for each in document["reports"])
    text = ctl(config, "doctor").stdout
    assert "could take over now: meta2, meta3" in text
    assert "[drill-never]" in text
    assert served.provider.commands == []


def test_doctor_without_a_daemon_still_looks_at_the_host(config: str) -> None:
    done = ctl(config, "doctor", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["node"]) == (1, None)
    assert "control-unreachable" in {each["code"] for each in document["reports"]}
