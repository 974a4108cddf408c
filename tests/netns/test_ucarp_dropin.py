"""`pycarpd ucarp` beside a real ucarp: they take turns, and scripts and signals do what ucarp's users expect."""

import signal
import sys
from collections.abc import Iterator

import pytest

from netns.capture import Kind
from netns.cluster import Cluster, Options
from netns.commands import boottime_ns, eventually
from netns.owner import Owner
from netns.topology import VIP
from tests.ucarp_host import Ucarp

pytestmark = pytest.mark.netns

DROP_IN = (sys.executable, "-c", "from pycarpd.cli.pycarpd import main; main()", "ucarp")
REAL, OURS = "u1", "u2"
S = 1_000_000_000
TURN_WITHIN_S = 20.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Return a cluster with two hosts on which nothing runs yet."""
    with Owner() as owner:
        yield Cluster.build(owner, Options(hosts=1, chunkservers=0, clients=0, others=2))


def wait_holder(cluster: Cluster, host: str) -> None:
    eventually(lambda: cluster.topology.holders_of() == [host], TURN_WITHIN_S, f"{host} alone has the address")


@pytest.mark.parametrize("options", [(), ("--nomcast",)], ids=["multicast", "broadcast"])
def test_it_takes_turns_with_a_ucarp(cluster: Cluster, options: tuple[str, ...]) -> None:
    real = Ucarp(cluster, REAL, "-k", "100", *options)
    ours = Ucarp(cluster, OURS, "-k", "50", *options, program=DROP_IN)
    real.start()
    wait_holder(cluster, REAL)
    ours.start()

    # ucarp dies without a word; its address dies with its host.
    real.ask(signal.SIGKILL)
    cluster.topology.remove_address(REAL, f"{VIP}/24")
    wait_holder(cluster, OURS)
    assert ours.state() == "MASTER"
    assert ours.runs == ["down", "up"]
    assert cluster.capture is not None
    garps = [s for s in cluster.capture.sightings() if (s.kind, s.host, s.address) == (Kind.GARP, OURS, VIP)]
    assert garps, "the address is announced"

    # A ucarp that comes back follows, and takes over at once when the drop-in ends.
    scripts_before = len(real.runs)
    real.start()
    since_ns = boottime_ns()
    eventually(lambda: real.runs[scripts_before:] == ["down"], TURN_WITHIN_S, "ucarp follows")
    assert real.state() == "BACKUP"
    ours.stop()
    wait_holder(cluster, REAL)
    assert ours.runs == ["down", "up", "down"]
    resigned = [s for s in cluster.capture.sightings() if s.host == OURS and s.is_resignation and s.at_ns >= since_ns]
    assert resigned, "who ends says so"


def test_a_better_one_that_preempts_takes_the_address_and_a_demoted_one_gives_it_up(cluster: Cluster) -> None:
    ours = Ucarp(cluster, OURS, "-k", "100", "-x", "site", program=DROP_IN)
    ours.start()
    wait_holder(cluster, OURS)
    real = Ucarp(cluster, REAL, "-k", "1", "-P")
    real.start()
    wait_holder(cluster, REAL)
    assert ours.state() == "BACKUP"
    assert ours.runs == ["down", "up", "down"]

    # SIGUSR2: ucarp gives the address away for as long as three heartbeats; the drop-in, better or not, takes it.
    real.stop()
    wait_holder(cluster, OURS)
    ours.ask(signal.SIGUSR2)
    eventually(lambda: ours.runs[-1] == "down", TURN_WITHIN_S, "the downscript ran")
    wait_holder(cluster, OURS)
    assert ours.runs == ["down", "up", "down", "up", "down", "up"]
