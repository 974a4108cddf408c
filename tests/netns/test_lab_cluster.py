import json
import subprocess
from pathlib import Path

import pytest

from netns.capture import Kind
from netns.cluster import Cluster, Options
from netns.commands import Completed, boottime_ns, eventually, run
from netns.faults import inject
from netns.moosefs import answers
from netns.owner import Owner, mounts_below, namespaces, records
from netns.topology import VIP
from netns.writer import Writer, read_log

pytestmark = [pytest.mark.netns, pytest.mark.product]
REPOSITORY = Path(__file__).parents[2]


WRITERS = 3
IN_FLIGHT_NS = 1_000_000_000
WRITES_WITHIN_S = 180.0
"""Nobody keeps clients out here until the chunkservers are back, nor unlocks chunks: a client that meets no chunkserver
sleeps for up to a minute, and a locked chunk stays so for two."""


def begun_since(writer: Writer, moment_ns: int) -> bool:
    """Tell whether a file that was begun after a moment is acknowledged."""
    return any(file.began_ns > moment_ns for file in read_log(writer.log)[0])


def lab(*arguments: str) -> Completed:
    return run(str(REPOSITORY / "netns" / "lab"), *arguments, timeout_s=120)


@pytest.mark.timeout(400)
def test_a_real_moosefs_loses_nothing_but_the_last_moment_when_mfsmaster_is_killed_and_restored(owner: Owner) -> None:
    cluster = Cluster.build(owner, Options())
    cluster.start_manual()
    assert cluster.moosefs.serving_hosts() == ["m1"]
    assert cluster.topology.holders_of() == ["m1"]
    for standby in ("m2", "m3"):
        base = cluster.moosefs.data_path(standby) / "metadata_ml.mfs.back"
        eventually(base.exists, 30.0, f"{standby} has downloaded a base")
    writers = [Writer(owner, cluster.mounts["c1"], f"writer{number}") for number in range(WRITERS)]
    for writer in writers:
        writer.wait_for(50, 60.0)
    killed = inject(cluster, "kill", "m1", "mfsmaster")
    eventually(lambda: not cluster.moosefs.serving_hosts(), 30.0, "mfsmaster is gone")
    eventually(lambda: not cluster.topology.processes("m1"), 30.0, "its children are gone")
    cluster.moosefs.start_master("m1", restore=True)
    written = "a file written afterwards"
    eventually(lambda: any(begun_since(writer, killed.at_ns) for writer in writers), WRITES_WITHIN_S, written)
    mount = cluster.moosefs.mount("c1", "verify")
    for writer in writers:
        assert writer.stop().errors == ()
        # What mfsmaster had not handed to the process that writes its changelog dies with it.
        done_ns = {file.name: file.done_ns for file in read_log(writer.log)[0]}
        lost = [damage.name for damage in writer.verify(mount).damages]
        assert all(killed.at_ns - IN_FLIGHT_NS < done_ns[name] <= killed.at_ns + IN_FLIGHT_NS for name in lost), lost
    assert cluster.capture is not None
    accepted = [s for s in cluster.capture.sightings() if s.kind is Kind.SYN_ACK and s.address == VIP]
    assert {s.host for s in accepted} == {"m1"}
    assert {s.port for s in accepted} == {9419, 9420, 9421}


def test_a_hung_mount_does_not_hold_the_laboratory(owner: Owner) -> None:
    cluster = Cluster.build(owner, Options(hosts=1))
    cluster.start_manual()
    writer = Writer(owner, cluster.mounts["c1"])
    writer.wait_for(5, 30.0)
    inject(cluster, "cut", "m1")
    began_ns = boottime_ns()
    assert not answers(cluster.mounts["c1"], within_s=1.0)
    told = writer.stop(within_s=2.0)
    assert told.gap_ended_ns - began_ns >= 1_000_000_000, "it waited until it was told to stop"
    assert told.longest_gap_ms >= 1000
    owner.release()
    assert boottime_ns() - began_ns < 30_000_000_000
    assert mounts_below(owner.directory) == []
    assert namespaces(owner.prefix) == []


def test_the_command_puts_a_cluster_up_shows_it_breaks_it_and_takes_it_down() -> None:
    before = {record.prefix for record in records()}
    up = lab("up", "--manual", "--hosts", "2", "--background")
    assert up.succeeded, up.describe()
    (record,) = [record for record in records() if record.is_standing and record.prefix not in before]
    chosen = ("--lab", record.prefix)
    try:
        assert "answers" in lab("status", *chosen).output
        told = lab("exec", *chosen, "m2", "ip", "-j", "addr", "show", "eth0")
        assert "192.0.2.12" in [entry["local"] for entry in json.loads(told.output)[0]["addr_info"]]
        assert lab("exec", *chosen, "c1", "bash", "-c", "exit 7").status == 7
        assert lab("fault", "cut", "m1", *chosen).succeeded
        assert "does not answer" in lab("status", *chosen).output
        assert lab("heal", "cut", "m1", *chosen).succeeded
        assert lab("fault", "cut", "m9", *chosen).status == 1
    finally:
        down = lab("down", *chosen)
    assert down.succeeded, down.describe()
    assert namespaces(record.prefix) == []
    assert not Path(record.directory).exists()


def test_every_command_explains_itself() -> None:
    for words in ((), ("up",), ("status",), ("shell",), ("exec",), ("faults",), ("fault",), ("heal",), ("down",)):
        told = lab(*words, "--help")
        assert told.succeeded
        assert "Usage: " in told.output
    assert "EXAMPLES" in lab("--help").output
    assert run(str(REPOSITORY / "netns" / "demo"), "--help").succeeded


def test_setup_says_nothing_and_is_quick_when_all_is_there() -> None:
    began_ns = boottime_ns()
    told = subprocess.run([REPOSITORY / "netns" / "setup"], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == ""
    assert boottime_ns() - began_ns < 10_000_000_000
