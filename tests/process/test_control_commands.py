"""The installed commands as real processes: exit codes, JSON, refusals, files."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycarpd.control.reports import explanations, report
from pycarpd.control.status import Status
from tests.unit.control.serving import Provider, Served, healthy_status

BIN = Path(sys.executable).parent
KEY_LINE = "ab" * 32


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an installed command without a terminal."""
    return subprocess.run(
        [str(BIN / argv[0]), *argv[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(Provider(healthy_status()), tmp_path / "control.sock")
    yield served
    served.close()


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "pycarpd.toml"
    path.write_text(f'[node]\nname = "meta2"\nrun_dir = "{tmp_path}"\n', encoding="utf-8")
    return str(path)


def ctl(config: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return run("pycarpctl", "--config", config, *argv)


def set_status(served: Served, **changes: object) -> None:
    served.provider.current = served.provider.current.model_copy(update=changes)


@pytest.mark.usefixtures("served")
def test_status_of_a_healthy_cluster(config: str) -> None:
    done = ctl(config, "status")
    assert (done.returncode, done.stderr) == (0, "")
    golden = Path(__file__).parent.parent / "unit/cli/golden_healthy.txt"
    assert [line.rstrip() for line in done.stdout.splitlines()] == golden.read_text(encoding="utf-8").splitlines()
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("argv", [("--json", "status"), ("status", "--json")])
def test_status_as_json_in_either_place(served: Served, config: str, argv: tuple[str, ...]) -> None:
    done = ctl(config, *argv)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["schema"] == 1
    assert Status.model_validate_json(done.stdout) == served.provider.current


def test_exit_codes_of_status(served: Served, config: str) -> None:
    set_status(served, paused=True)
    assert ctl(config, "status").returncode == 4
    set_status(served, master=None)
    assert ctl(config, "--json", "status").returncode == 3
    assert ctl(config, "no-such-command").returncode == 2
    assert ctl(config, "pause", "now").returncode == 2


def test_without_a_daemon_it_fails_with_a_code(config: str) -> None:
    done = ctl(config, "status")
    assert done.returncode == 1
    assert "[control-unreachable]" in done.stderr
    as_json = ctl(config, "--json", "status")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["reports"][0]["code"] == "control-unreachable"


def test_a_configuration_that_is_missing_or_broken_fails_with_a_code(tmp_path: Path) -> None:
    missing = ctl(str(tmp_path / "missing.toml"), "status")
    assert (missing.returncode, "[config-unreadable]" in missing.stderr) == (1, True)
    (tmp_path / "broken.toml").write_text("[node", encoding="utf-8")
    broken = ctl(str(tmp_path / "broken.toml"), "status")
    assert (broken.returncode, "[config-not-toml]" in broken.stderr) == (1, True)


def test_commands_reach_the_daemon_and_refusals_come_back(served: Served, config: str) -> None:
    assert ctl(config, "pause").returncode == 0
    assert ctl(config, "resume").returncode == 0
    assert served.provider.commands == [("pause", {}), ("resume", {})]
    served.provider.answer = (report("not-master", "this node is BACKUP"),)
    refused = ctl(config, "resign")
    assert (refused.returncode, "[not-master]" in refused.stderr) == (1, True)
    as_json = ctl(config, "resign", "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)["done"]) == (1, False)


@pytest.mark.usefixtures("served")
def test_history_shows_the_last_changes(config: str) -> None:
    assert "started" in ctl(config, "history").stdout
    document = json.loads(ctl(config, "history", "--json", "--last", "1").stdout)
    assert [each["to"] for each in document["transitions"]] == ["BACKUP"]


def test_watch_on_a_pipe_writes_changes_and_survives_a_daemon_that_is_away(served: Served, config: str) -> None:
    text = ctl(config, "watch", "--count", "3", "--interval", "0.1")
    assert (text.returncode, text.stdout.count("\n")) == (0, 1)
    assert "meta2 BACKUP term 7 master meta1" in text.stdout
    as_json = ctl(config, "--json", "watch", "--count", "3", "--interval", "0.1")
    assert [json.loads(line)["node"] for line in as_json.stdout.splitlines()] == ["meta2"] * 3
    served.path.unlink()
    away = ctl(config, "watch", "--count", "2", "--interval", "0.1")
    assert (away.returncode, away.stdout.count("control-unreachable")) == (0, 1)


@pytest.mark.usefixtures("served")
def test_watch_ends_well_on_ctrl_c(config: str) -> None:
    # Whoever runs the tests in the background has a shell that lets them ignore SIGINT, and what they start as well.
    argv = ["env", "--default-signal=INT", str(BIN / "pycarpctl"), "--config", config, "watch", "--interval", "0.1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert "meta2" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0


def test_explain_tells_every_code_and_guesses_a_near_one() -> None:
    listed = run("pycarpctl", "explain")
    assert listed.returncode == 0
    assert len(listed.stdout.splitlines()) == len(explanations())
    assert "split" in run("pycarpctl", "explain", "config-two-nodes").stdout
    near = run("pycarpctl", "explain", "config-two-node")
    assert (near.returncode, "config-two-nodes" in near.stderr) == (1, True)


def test_keygen_writes_for_root_alone_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert run("pycarpd", "keygen", "--output", str(path)).returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    line = path.read_text(encoding="ascii")
    assert len(bytes.fromhex(line.strip())) == 32
    again = run("pycarpd", "keygen", "--output", str(path))
    assert (again.returncode, "[file-exists]" in again.stderr) == (1, True)
    assert path.read_text(encoding="ascii") == line
    nowhere = run("pycarpd", "keygen", "--output", str(tmp_path / "no" / "key"))
    assert (nowhere.returncode, "[file-not-written]" in nowhere.stderr) == (1, True)
    printed = run("pycarpd", "keygen").stdout
    assert len(bytes.fromhex(printed.strip())) == 32
    assert printed != line


def test_the_unit_starts_the_daemon() -> None:
    unit = run("pycarpd", "systemd-unit")
    assert unit.returncode == 0
    assert "pycarpd run --config /etc/pycarpd/pycarpd.toml" in unit.stdout
    assert "Type=notify" in unit.stdout


@pytest.mark.parametrize("command", ["pycarpd", "pycarpctl"])
def test_help_names_exit_status_files_and_examples(command: str) -> None:
    text = run(command, "--help").stdout
    for heading in ("EXIT STATUS", "FILES", "EXAMPLES"):
        assert heading in text
    assert run(command).returncode == 2


def test_a_fault_of_the_configuration_is_not_started(tmp_path: Path) -> None:
    refused = run("pycarpd", "run", "--config", str(tmp_path / "missing.toml"))
    assert (refused.returncode, "config-unreadable" in refused.stderr) == (1, True)
