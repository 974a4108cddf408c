"""The README keeps its word: valid configuration, folders that are there, and a test that runs each command."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pycarpd.config import Loaded, loads

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    {line[2:] for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()}
)
SIGNALS = "tests/process/test_daemon_supervisor.py"

RUN_BY = {
    "./netns/demo": "tests/netns/test_lab_demo.py",
    "./tests/run": ".ci/run",
    ".ci/run": ".ci/run",
    "./netns/lab up --background": "tests/netns/test_lab_cluster.py",
    "./netns/lab exec m2 pycarpctl status": "tests/netns/test_lab_cluster.py",
    "./netns/lab shell m2": "tests/netns/test_lab_cluster.py",
    "./netns/lab fault crash m1": "tests/netns/test_lab_cluster.py",
    "./netns/lab heal crash m1": "tests/netns/test_lab_cluster.py",
    "./netns/lab down": "tests/netns/test_lab_cluster.py",
    "./netns/lab exposure": "tests/product/test_split_exposure.py",
    "./benchmarks/run hotpath": "tests/process/test_benchmarks.py",
    "./benchmarks/run scan": "tests/process/test_benchmarks.py",
    "python tests/corpus/compare.py": "tests/corpus/test_corpus.py",
    "./benchmarks/run fence": "tests/product/test_lease_benchmarks.py",
    "./benchmarks/run jitter --minutes 10": "tests/product/test_lease_benchmarks.py",
    "./benchmarks/run drill --inodes 1000000": "tests/product/test_metadata_benchmarks.py",
    "./benchmarks/run rpo --crashes 100": "tests/product/test_metadata_benchmarks.py",
    "./benchmarks/run scale": "tests/product/test_metadata_benchmarks.py",
    "pycarpd simulate --seeds 20000": "tests/simulation/test_gate.py",
    "pycarpd simulate --seed 4711 --transcript": "tests/simulation/test_gate.py",
    "python tests/simulation/mutants.py --all": "tests/simulation/test_gate.py",
    "python3 -m venv /opt/pycarpd": "tests/process/test_install.py",
    "/opt/pycarpd/bin/pip install .": "tests/process/test_install.py",
    "ln -s /opt/pycarpd/bin/pycarpd /opt/pycarpd/bin/pycarpctl /usr/local/bin/": "tests/process/test_install.py",
    # No test machine is booted by systemd; what these make of signals is sent by the test that is named.
    "systemctl disable moosefs-master": SIGNALS,
    "systemctl daemon-reload": SIGNALS,
    "pycarpd systemd-unit > /etc/systemd/system/pycarpd.service": "tests/process/test_install.py",
    "pycarpd keygen --output /etc/pycarpd/key": "tests/process/test_control_commands.py",
    "pycarpd ucarp --help": "tests/netns/test_ucarp_dropin.py",
    "pycarpd check": "tests/process/test_control_check.py",
    "pycarpctl status": "tests/process/test_control_commands.py",
    "pycarpctl --json status": "tests/process/test_control_commands.py",
    "pycarpctl watch": "tests/process/test_control_commands.py",
    "pycarpctl history": "tests/process/test_control_commands.py",
    "pycarpctl doctor": "tests/process/test_control_standby.py",
    "pycarpctl drill": "tests/process/test_control_standby.py",
}


def test_every_command_is_run_by_something() -> None:
    assert set(COMMANDS) == set(RUN_BY)


@pytest.mark.parametrize("runner", sorted(set(RUN_BY.values())))
def test_what_runs_it_is_there(runner: str) -> None:
    assert (ROOT / runner).is_file()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(("pycarpd ", "pycarpctl "))])
def test_every_subcommand_exists(command: str) -> None:
    program, *words = command.split(" > ", maxsplit=1)[0].split()
    subcommand = next(w for w in words if not w.startswith("-"))
    done = subprocess.run(
        [Path(sys.executable).parent / program, subcommand, "--help"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0


def test_the_configuration_to_copy_is_valid() -> None:
    shown = re.search(r"<!-- config -->\n```toml\n(.*?)```\n<!-- /config -->", TEXT, re.DOTALL)
    assert shown is not None
    assert isinstance(loads(shown.group(1)), Loaded)


def test_every_test_it_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[a-z_/]+\.py)`", TEXT))
    assert len(named) >= 5
    assert all((ROOT / path).is_file() for path in named)


def test_every_folder_it_names_is_there() -> None:
    named = re.findall(r"^\| (`[a-z]+/`(?:, `[a-z]+/`)*) \|", TEXT, re.MULTILINE)
    folders = [folder for cell in named for folder in re.findall(r"`([a-z]+)/`", cell)]
    assert folders
    assert all((ROOT / "src" / "pycarpd" / folder).is_dir() for folder in folders)
