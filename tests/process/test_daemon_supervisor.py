"""The supervisor with its real pair of processes: start, death, reload, stop."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.netns.linux_fixtures import eventually, in_child
from tests.process.daemon_host import BOTH, KEY, WAIT_S, DaemonHost, daemon_host

pytestmark = pytest.mark.netns

RSS_MAX_KB = 60_000


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DaemonHost]:
    with daemon_host(tmp_path) as made:
        yield made


def back_offs(host: DaemonHost) -> list[float]:
    return [float(text) for text in re.findall(r"starting both again .* in_s=([0-9.]+)", host.said())]


def is_reloaded(host: DaemonHost, times: int = 1) -> bool:
    return host.notified().count("RELOADING=1") == times and host.notified()[-1] == "READY=1"


def test_it_says_ready_serves_its_status_and_ends_with_0_by_sigterm(host: DaemonHost) -> None:
    host.start_ready()
    assert set(host.pids()) == BOTH
    assert eventually(lambda: host.status().get("role") == "BACKUP", WAIT_S), host.said()
    assert host.status()["node"] == "w1"
    family = list(host.children().values())
    host.signal(signal.SIGTERM)
    assert host.ended() == 0, host.said()
    assert host.notified()[-1] == "STOPPING=1"
    assert not any(child.is_running() for child in family)
    assert "Traceback" not in host.said()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR2])
def test_other_signals_that_end_it(host: DaemonHost, number: signal.Signals) -> None:
    host.start_ready()
    host.signal(number)
    assert host.ended() == 0, host.said()


def test_signals_to_the_whole_group_leave_the_order_of_stopping_to_the_supervisor(host: DaemonHost) -> None:
    host.start_ready()
    for child in host.children().values():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            child.send_signal(number)
    pids = host.pids()
    assert host.status()["role"]
    assert host.pids() == pids
    host.signal(signal.SIGTERM)
    assert host.ended() == 0, host.said()


@pytest.mark.parametrize("name", sorted(BOTH))
def test_when_one_process_is_killed_both_are_started_again(host: DaemonHost, name: str) -> None:
    host.start_ready()
    before = host.pids()
    host.children()[name].kill()

    def are_both_new() -> bool:
        now = host.pids()
        return set(now) == BOTH and not set(now.values()) & set(before.values())

    assert eventually(are_both_new, WAIT_S), host.said()
    assert eventually(lambda: host.status().get("role") == "BACKUP", WAIT_S), host.said()
    assert back_offs(host) == [0.2]
    host.signal(signal.SIGTERM)
    assert host.ended() == 0, host.said()


def test_the_back_off_doubles_while_starts_fail_and_a_stop_is_obeyed_meanwhile(host: DaemonHost) -> None:
    (host.directory / "state").mkdir()
    (host.directory / "state" / "epoch").write_text("garbage\n", encoding="ascii")
    host.start()
    assert eventually(lambda: len(back_offs(host)) >= 4, WAIT_S), host.said()
    assert back_offs(host)[:4] == [0.2, 0.4, 0.8, 1.6]
    assert "epoch is damaged" in host.said()
    assert "READY=1" not in host.notified()
    host.signal(signal.SIGTERM)
    assert host.ended() in (0, 1)
    assert (host.directory / "state" / "epoch").read_text(encoding="ascii") == "garbage\n"


def test_when_the_supervisor_is_killed_the_pair_ends_by_itself(host: DaemonHost) -> None:
    host.start_ready()
    family = list(host.children().values())
    host.signal(signal.SIGKILL)
    host.ended()
    _, alive = psutil.wait_procs(family, timeout=WAIT_S)
    assert alive == [], host.said()


def test_where_real_time_is_refused_the_fast_profile_says_so_and_asks_for_patience(host: DaemonHost) -> None:
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("vhid = 10", 'vhid = 10\nprofile = "fast"'), encoding="utf-8")
    host.under = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")
    host.start_ready()
    assert eventually(lambda: host.status().get("role") == "BACKUP", WAIT_S), host.said()
    said = {each["code"]: each["message"] for each in host.status()["reports"]}  # type: ignore[attr-defined]
    assert "adverts 50 ms apart" in said["no-priority"]
    assert in_child(lambda: host.intervals_us(5)) == [50_000] * 5


def test_a_reload_applies_what_can_change_without_a_restart(host: DaemonHost) -> None:
    host.start_ready()
    pids = host.pids()
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("vhid = 10", "vhid = 10\npriority = 77"), encoding="utf-8")
    (host.directory / "key").write_text("0123abcd" * 8 + "\n" + KEY + "\n", encoding="ascii")
    host.signal(signal.SIGHUP)
    assert eventually(lambda: is_reloaded(host), WAIT_S), host.notified()
    assert eventually(lambda: host.status().get("priority") == 77, WAIT_S), host.said()
    assert "reloaded applied=cluster.priority" in host.said()
    assert host.pids() == pids
    host.children()["worker"].kill()
    assert eventually(lambda: set(host.pids()) == BOTH and host.pids() != pids, WAIT_S)
    assert eventually(lambda: host.status().get("priority") == 77, WAIT_S), "a new pair gets the new settings"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("vhid = 10", "vhid = 10 garbage", "config-not-toml"),
        ("vhid = 10", "vhid = 300", "config"),
        ("vhid = 10", "vhid = 11", "reload-refused"),
        ('key_file = "', 'key_file = "/nonexistent', "secret"),
    ],
)
def test_a_reload_that_is_refused_says_why_and_changes_nothing(host: DaemonHost, old: str, new: str, code: str) -> None:
    host.start_ready()
    pids = host.pids()
    good = host.config.read_text(encoding="utf-8")
    host.config.write_text(good.replace(old, new), encoding="utf-8")
    host.signal(signal.SIGHUP)
    assert eventually(lambda: is_reloaded(host), WAIT_S), host.notified()
    assert re.search(rf"\[{code}[a-z-]*\]", host.said()), host.said()
    host.config.write_text(good, encoding="utf-8")
    assert host.pids() == pids
    assert host.status()["vhid"] == 10
    host.signal(signal.SIGHUP)
    assert eventually(lambda: is_reloaded(host, 2), WAIT_S), host.notified()
    assert "reloaded applied=nothing changed" in host.said()


def test_a_configuration_that_cannot_be_used_ends_the_start_with_1_and_every_reason(host: DaemonHost) -> None:
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("vhid = 10", "vhid = 300\ntypo = 1"), encoding="utf-8")
    host.start()
    assert host.ended() == 1
    assert "cluster.vhid" in host.said()
    assert "cluster.typo" in host.said()
    assert "Traceback" not in host.said()


def test_no_key_is_on_a_command_line_in_an_environment_or_in_the_log(host: DaemonHost) -> None:
    host.start_ready()
    host.status()
    for process in (host.supervisor, *host.children().values()):
        for name in ("cmdline", "environ"):
            content = Path(f"/proc/{process.pid}/{name}").read_bytes()
            assert content
            assert KEY.encode() not in content
            assert bytes.fromhex(KEY) not in content
    assert KEY not in host.said()


def test_a_running_heartbeat_is_small_and_does_not_grow(host: DaemonHost) -> None:
    host.start_ready()
    heartbeat = host.children()["heartbeat"]
    sizes = []
    for since in (0, 20, 40):
        assert eventually(lambda n=since: sent(host) >= n, WAIT_S)  # type: ignore[misc]  # bound at once
        sizes.append(heartbeat.memory_info().rss // 1024)
    assert max(sizes) < RSS_MAX_KB
    assert sizes[-1] - sizes[0] < 2000


def sent(host: DaemonHost) -> int:
    lateness = host.status().get("lateness")
    return int(lateness["wakes"]) if isinstance(lateness, dict) else 0
