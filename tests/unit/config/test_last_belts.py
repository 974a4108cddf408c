"""The fence command and the watchdog in the configuration: off by default, checked, and not changed by a reload."""

from pathlib import Path

import pytest

from pycarpd.config import Loaded, Secrets, check_files, daemon_settings, loads, reloadable_changes
from tests.unit.config.test_build import GOOD, KEY_LINE, put, valid

SECRETS = Secrets(KEY_LINE, None)


def with_fence(directory: Path, command: str) -> str:
    text = GOOD.replace("/etc/pycarpd/key", f"{directory}/key")
    return text.replace("vhid = 10", f'vhid = 10\nfence_command = ["{command}", "--off"]\nfence_timeout_s = 7')


def test_both_are_off_by_default() -> None:
    settings = daemon_settings(valid(GOOD), SECRETS)
    assert (settings.fence_command, settings.watchdog) == ((), "off")


def test_both_reach_the_daemon(tmp_path: Path) -> None:
    text = with_fence(tmp_path, "/sbin/off").replace('name = "meta2"', 'name = "meta2"\nwatchdog = "required"')
    settings = daemon_settings(valid(text), SECRETS)
    assert (settings.fence_command, settings.fence_timeout_s) == (("/sbin/off", "--off"), 7)
    assert (settings.watchdog, settings.watchdog_device) == ("required", "/dev/watchdog")


@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_a_command_that_cannot_be_run_is_told(tmp_path: Path, mode: int) -> None:
    put(tmp_path / "key", KEY_LINE.encode())
    command = tmp_path / "off"
    put(command, b"#!/bin/sh\n", mode)
    found = [each.code for each in check_files(valid(with_fence(tmp_path, str(command))))]
    assert found == ([] if mode == 0o755 else ["fence-command"])
    assert [each.code for each in check_files(valid(with_fence(tmp_path, "off")))] == ["fence-command"]


@pytest.mark.parametrize("line", ['watchdog = "sometimes"', 'watchdog_device = "watchdog"'])
def test_nonsense_is_refused(line: str) -> None:
    assert not isinstance(loads(GOOD.replace('name = "meta2"', f'name = "meta2"\n{line}')), Loaded)


def test_a_reload_changes_neither(tmp_path: Path) -> None:
    changes = reloadable_changes(valid(GOOD), valid(with_fence(tmp_path, "/sbin/off")))
    assert {each.key for each in changes.refused} >= {"cluster.fence_command", "cluster.fence_timeout_s"}
