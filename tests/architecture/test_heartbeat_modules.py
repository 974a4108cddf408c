"""What the heartbeat process consists of: few modules, little memory, and no garbage that nobody collects."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pycarpd.daemon.children import MODULES
from tests.own_network import own_network

ENTRY = "pycarpd.daemon.heartbeat_process"
THIRD_PARTY = {
    "cryptography",  # HKDF for the key ring, at the start and at a reload
    "_cffi_backend",  # cryptography's
    "_openssl",  # cryptography's
}
ROOMS = {"daemon", "election", "invariant", "linux", "settings", "wire"}
UNWANTED_STANDARD = {
    "asyncio",
    "concurrent",
    "email",
    "html",
    "http",
    "multiprocessing",
    "pickle",
    "sqlite3",
    "ssl",
    "subprocess",
    "tkinter",
    "unittest",
    "xml",
}
"""Servers, pools, databases and whatever starts processes: nothing that the heartbeat could wait for."""
DAEMON_WITHOUT = {"board", "host", "patient", "plans", "supervisor", "children", "watchman", "worker"}
RSS_MAX_KB = 60_000

LISTING = f"""
import json, sys
before = set(sys.modules)
import {ENTRY}
from pathlib import Path
rss = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]
print(json.dumps([sorted(set(sys.modules) - before), int(rss)]))
"""
"""What site and the interpreter's own start import is not the heartbeat's choice, so it is taken off."""

WITHOUT_GARBAGE = """
import gc, sys
from pathlib import Path
from pycarpd.linux.realtime import freeze_garbage_collector
{setup}
def once():
    {body}
for _ in range(50):
    once()
freeze_garbage_collector()
for _ in range(200):
    once()
print(gc.collect())
"""


def in_fresh_interpreter(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def imported() -> tuple[list[str], int]:
    modules, rss_kb = json.loads(in_fresh_interpreter(LISTING))
    return modules, rss_kb


def tops(modules: list[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def test_only_allowed_packages_are_imported(imported: tuple[list[str], int]) -> None:
    foreign = tops(imported[0]) - set(sys.stdlib_module_names) - {"pycarpd"}
    assert foreign <= THIRD_PARTY


def test_nothing_of_the_standard_library_that_serves_or_forks(imported: tuple[list[str], int]) -> None:
    assert tops(imported[0]) & UNWANTED_STANDARD == set()


def test_only_the_rooms_of_the_heartbeat_and_its_part_of_the_daemon(imported: tuple[list[str], int]) -> None:
    own = [name.split(".") for name in imported[0] if name.startswith("pycarpd.")]
    assert {name[1] for name in own} <= ROOMS
    assert {name[2] for name in own if name[1] == "daemon" and len(name) > 2} & DAEMON_WITHOUT == set()


def test_every_name_of_these_lists_is_one_that_exists() -> None:
    assert set(sys.stdlib_module_names) >= UNWANTED_STANDARD
    daemon = Path(__file__).parents[2] / "src/pycarpd/daemon"
    assert all((daemon / f"{name}.py").exists() for name in DAEMON_WITHOUT)


def test_the_imports_leave_room_below_the_bound_for_the_running_process(imported: tuple[list[str], int]) -> None:
    assert imported[1] < RSS_MAX_KB * 2 // 3


NETLINK = """
from pycarpd.linux.address import add_address, list_addresses, remove_address
from pycarpd.linux.link import LinkMonitor, interface_state
monitor = LinkMonitor()
"""
NETLINK_BODY = (
    "add_address('lo', '192.0.2.100/32', 5); interface_state('lo'); interface_state('gone0'); "
    "remove_address('lo', '192.0.2.100/32'); monitor.read()"
)
CHANNEL = """
from pycarpd.daemon.channel import Channel, pair
from pycarpd.daemon.messages import AttachRequest, LogNews
one, other = map(Channel, pair())
"""
CHANNEL_BODY = (
    "one.send(AttachRequest(1)); one.send(LogNews(20, 'x')); other.receive(); other.receive(); other.receive()"
)


@pytest.mark.netns
@pytest.mark.parametrize(
    ("setup", "body"), [(NETLINK, NETLINK_BODY), (CHANNEL, CHANNEL_BODY)], ids=["netlink", "channel"]
)
def test_nothing_that_repeats_makes_garbage_that_refers_to_itself(setup: str, body: str) -> None:
    with own_network():
        assert in_fresh_interpreter(WITHOUT_GARBAGE.format(setup=setup, body=body)).strip() == "0"


def test_the_test_of_garbage_would_find_some() -> None:
    planted = WITHOUT_GARBAGE.format(setup="", body="cycle = []; cycle.append(cycle)")
    assert int(in_fresh_interpreter(planted)) >= 200


def test_the_supervisor_starts_this_very_module() -> None:
    assert MODULES["heartbeat"] == ENTRY
