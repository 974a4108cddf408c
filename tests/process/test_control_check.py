"""``pycarpd check`` on hosts made for it: a network namespace of its own with a sound or a broken host inside."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.netns

BIN = Path(sys.executable).parent
VIP = "192.0.2.100"
OWNER = pwd.getpwuid(0).pw_name

CONFIG = """
[node]
name = "meta1"
state_dir = "{directory}/state"
run_dir = "{directory}/run"
[cluster]
vhid = 10
interface = "host0"
virtual_addresses = ["192.0.2.100/24"]
key_file = "{directory}/key"
members = {{ meta1 = "192.0.2.11", meta2 = "192.0.2.12", meta3 = "192.0.2.13" }}
[moosefs]
data_path = "{directory}/mfs"
master_config = "{directory}/mfsmaster.cfg"
metalogger_config = "{directory}/mfsmetalogger.cfg"
also_start = ["mfscgiserv"]
huge_pages = true
"""
SOUND_NETWORK = """
ip link add host0 type veth peer name switch0
ip link set switch0 up
ip addr add 192.0.2.11/24 dev host0
ip link set host0 up
"""


@dataclass(frozen=True)
class Checked:
    """What a check said: exit code, the reports' codes, everything in text."""

    code: int
    codes: list[str]
    text: str

    def severities(self, code: str) -> list[str]:
        """Return how grave each report with that code is."""
        return [each["severity"] for each in json.loads(self.text)["reports"] if each["code"] == code]


def sound_host(directory: Path) -> Path:
    """Lay out files with which a check has nothing to say, and return the configuration's path."""
    for name in ("state", "run", "mfs"):
        (directory / name).mkdir()
    (directory / "key").write_text("ab" * 32 + "\n", encoding="ascii")
    (directory / "key").chmod(0o600)
    (directory / "exports").write_text("* / rw\n", encoding="ascii")
    common = f"WORKING_USER = {OWNER}\nDATA_PATH = {directory}/mfs\n"
    (directory / "mfsmaster.cfg").write_text(common + f"EXPORTS_FILENAME = {directory}/exports\n", encoding="ascii")
    metalogger = common + f"MASTER_HOST = {VIP}\nMETA_DOWNLOAD_FREQ = 1\n"
    (directory / "mfsmetalogger.cfg").write_text(metalogger, encoding="ascii")
    path = directory / "pycarpd.toml"
    path.write_text(CONFIG.format(directory=directory), encoding="utf-8")
    return path


def check(config: Path, network: str = SOUND_NETWORK, *options: str) -> Checked:
    """Run the check in namespaces of its own, laid out by *network*; they end with the process."""
    script = f'set -e\nmount -t proc proc /proc\n{network}\n"$@"\n'
    namespaces = ["unshare", "--net", "--mount", "--kill-child", "--pid", "--fork"]
    command = [str(BIN / "pycarpd"), "check", "--config", str(config), *options]
    done = subprocess.run(
        [*namespaces, "bash", "-c", script, "bash", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    text = done.stdout + done.stderr
    if "--json" not in options:
        return Checked(done.returncode, [], text)
    assert done.stdout, text
    return Checked(done.returncode, [each["code"] for each in json.loads(done.stdout)["reports"]], text)


def codes(config: Path, network: str = SOUND_NETWORK) -> list[str]:
    return check(config, network, "--json").codes


def test_a_sound_host_has_no_problem_and_its_times_are_told(tmp_path: Path) -> None:
    found = check(sound_host(tmp_path))
    assert found.code == 0, found.text
    assert "master-down interval 752.0 ms" in found.text
    assert "no problem found" in found.text


def test_every_problem_of_a_broken_host_is_told_at_once(tmp_path: Path) -> None:
    config = sound_host(tmp_path)
    (tmp_path / "key").chmod(0o644)
    (tmp_path / "state").rmdir()
    (tmp_path / "state").write_text("a file", encoding="ascii")
    (tmp_path / "exports").unlink()
    (tmp_path / "mfs" / "metadata.mfs.emergency").write_text("MFSM", encoding="ascii")
    os.chown(tmp_path / "mfs", 65_534, 65_534)
    with (tmp_path / "mfsmaster.cfg").open("a", encoding="ascii") as file:
        file.write("WORKING_USER = daemon\nMATOCL_LISTEN_HOST = 192.0.2.100\nMETADATA_SAVE_FREQ = 4\n")
    (tmp_path / "mfsmetalogger.cfg").write_text("MASTER_HOST = 192.0.2.12\nDATA_PATH = /tmp\n", encoding="ascii")
    found = check(
        config, "ip link add other0 type veth peer name switch0\nip addr add 192.0.2.100/24 dev other0", "--json"
    )
    assert found.code == 1
    assert sorted(found.codes) == [
        "host-directory",
        "host-download-frequency",
        "host-emergency-metadata",
        "host-exports-missing",
        "host-interface-missing",
        "host-master-host",
        "host-mfs-data-owner",
        "host-mfs-data-path-differs",
        "host-mfs-listen-host",
        "host-save-frequency",
        "host-vip-other-interface",
        "secret-mode",
    ]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (SOUND_NETWORK.replace("ip link set host0 up", ""), ["host-interface-down"]),
        (SOUND_NETWORK.replace("192.0.2.11", "192.0.2.19"), ["host-address-missing"]),
        (SOUND_NETWORK + "ip addr add 192.0.2.100/24 dev host0", ["host-vip-static"]),
    ],
)
def test_the_network_is_looked_at(tmp_path: Path, network: str, expected: list[str]) -> None:
    assert codes(sound_host(tmp_path), network) == expected


def test_a_host_that_answers_for_the_vip_is_named(tmp_path: Path) -> None:
    network = """
unshare --net sleep 60 &
peer=$!
while [ "$(readlink /proc/$peer/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add host0 type veth peer name host1 netns $peer
ip addr add 192.0.2.11/24 dev host0
ip link set host0 up
nsenter --net=/proc/$peer/ns/net ip addr add 192.0.2.100/24 dev host1
nsenter --net=/proc/$peer/ns/net ip link set host1 up
"""
    found = check(sound_host(tmp_path), network, "--json")
    assert found.code == 0, found.text
    assert found.codes == ["host-vip-answers"]


def test_privileges_that_are_missing_are_named(tmp_path: Path) -> None:
    config = sound_host(tmp_path)
    dropped = "-net_raw,-net_admin,-sys_nice,-ipc_lock"
    limits = f'ulimit -l 64\nulimit -r 0\nset -- setpriv --bounding-set={dropped} "$@"\n'
    found = check(config, SOUND_NETWORK + limits, "--json")
    assert found.code == 1
    assert sorted(found.codes) == [
        "host-no-memlock",
        "host-no-net-admin",
        "host-no-nft",
        "host-no-raw-socket",
        "host-no-realtime",
    ]


@pytest.mark.parametrize(
    ("policy", "is_wished", "is_writable", "severities"),
    [
        ("madvise", False, True, ["info"]),
        ("madvise", True, True, []),
        ("madvise", True, False, ["warning"]),
        ("always", False, False, []),
    ],
)
def test_the_policy_on_huge_pages_is_looked_at(
    tmp_path: Path, policy: str, is_wished: bool, is_writable: bool, severities: list[str]
) -> None:
    config = sound_host(tmp_path)
    if not is_wished:
        text = config.read_text(encoding="utf-8").replace("huge_pages = true", "huge_pages = false")
        config.write_text(text, encoding="utf-8")
    (tmp_path / "policy").write_text("always madvise never".replace(policy, f"[{policy}]") + "\n", encoding="ascii")
    kernels = "/sys/kernel/mm/transparent_hugepage/enabled"
    mounted = f"mount --bind {tmp_path}/policy {kernels}\n"
    if not is_writable:
        mounted += f"mount -o remount,bind,ro {kernels}\n"
    found = check(config, mounted + SOUND_NETWORK, "--json")
    assert found.severities("host-small-pages") == severities, found.text


def test_a_state_directory_in_memory_is_refused(tmp_path: Path) -> None:
    config = sound_host(tmp_path)
    mounted = f"mount -t tmpfs tmpfs {tmp_path}/state\n" + SOUND_NETWORK
    found = check(config, mounted, "--json")
    assert (found.code, found.codes) == (1, ["host-state-volatile"])


def test_programs_that_are_missing_are_named(tmp_path: Path) -> None:
    config = sound_host(tmp_path)
    config.write_text(config.read_text(encoding="utf-8").replace("mfscgiserv", "no-such-thing"), encoding="utf-8")
    assert codes(config) == ["host-companion-missing"]
    assert shutil.which("mfsmaster") is not None


def test_an_invalid_configuration_is_told_without_looking_at_the_host(tmp_path: Path) -> None:
    config = sound_host(tmp_path)
    config.write_text(config.read_text(encoding="utf-8").replace("vhid = 10", "vhid = 0"), encoding="utf-8")
    found = check(config, SOUND_NETWORK, "--json")
    assert (found.code, found.codes) == (1, ["config-bad-value"])
    assert "cluster.vhid" in check(config).text
