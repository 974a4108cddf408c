"""pycarpd beside a real ucarp: they follow each other's adverts, and the address is never on both.

m1 runs pycarpd over a real MooseFS, u1 a ucarp (Debian's 1.5.2) with scripts that move the address. What is said
of the address comes from the kernels of both hosts; what ucarp believes, from its own output.
"""

import signal
from collections.abc import Callable, Iterator

import pytest

from netns.capture import Kind, Sighting
from netns.cluster import Cluster, Options
from netns.commands import boottime_ns, eventually
from netns.faults import find, heal, inject
from netns.owner import Owner
from netns.pycarpd import Settings
from netns.topology import VIP, VIP_CIDR
from netns.watch import Change
from tests.ucarp_host import PASSWORD, Ucarp

pytestmark = [pytest.mark.netns, pytest.mark.product]

S = 1_000_000_000
UCARP_TIMEOUT_NS = 3 * S
"""What ucarp waits at least (deadratio times advbase) before it takes a silent master for dead."""


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner() as held:
        yield held


@pytest.fixture
def cluster(owner: Owner) -> Cluster:
    """Return hosts m1, with a file system that was stopped cleanly, and u1; nothing runs yet."""
    built = Cluster.build(owner, Options(hosts=1, chunkservers=0, clients=0, others=1, settings=Settings("ucarp")))
    pass_file = built.directory / "ucarp-password"
    pass_file.touch(mode=0o600)
    pass_file.write_text(PASSWORD + "\n")
    configure(built)
    built.create_file_system()
    built.topology.remove_address("m1", VIP_CIDR)
    return built


def configure(cluster: Cluster, *lines: str) -> None:
    """Write pycarpd's configuration, with further lines in [cluster]."""
    pass_file = cluster.directory / "ucarp-password"
    whole = ("strict = false", f'ucarp_pass_file = "{pass_file}"', *lines)
    cluster.with_settings(cluster_lines=tuple(("", line) for line in whole))


def wait_holder(cluster: Cluster, host: str, within_s: float) -> int:
    """Wait until *host* alone has the address; return when it was put there."""
    eventually(
        lambda: cluster.topology.holders_of() == [host], within_s, f"{host} has the VIP\n{cluster.last_words('m1')}"
    )
    return max(c.at_ns for c in vip_changes(cluster) if (c.host, c.what) == (host, "address-added"))


def wait_standby(cluster: Cluster) -> None:
    """Wait until m1 follows and could take over; the name of its master it never learns, a ucarp has none."""

    def could_take_over() -> bool:
        status = cluster.daemons.status("m1")
        return status.role == "BACKUP" and status.is_promotable

    eventually(could_take_over, 60.0, f"m1 could take over\n{cluster.last_words('m1')}", every_s=0.2)


def vip_changes(cluster: Cluster) -> list[Change]:
    return [change for change in cluster.changes() if change.detail == VIP]


def assert_one_holder_since(cluster: Cluster, since_ns: int) -> None:
    """Fail if two kernels had the address at one moment after *since_ns*."""
    holders: set[str] = set()
    for change in sorted(vip_changes(cluster), key=lambda c: c.at_ns):
        (holders.add if change.what == "address-added" else holders.discard)(change.host)
        assert change.at_ns < since_ns or len(holders) <= 1, (holders, vip_changes(cluster))


def claims(cluster: Cluster, host: str, since_ns: int) -> list[Sighting]:
    assert cluster.capture is not None
    seen = cluster.capture.sightings()
    return [s for s in seen if s.kind is Kind.ADVERT and s.host == host and s.claims and s.at_ns >= since_ns]


def stays(condition: Callable[[], bool], for_s: float) -> bool:
    """Tell whether a condition holds all the time."""
    until_ns = boottime_ns() + int(for_s * S)
    while boottime_ns() < until_ns:
        if not condition():
            return False
    return True


def test_ucarp_follows_takes_over_from_a_dead_host_and_yields_to_a_better_one(cluster: Cluster) -> None:
    ucarp = Ucarp(cluster, "u1", "-k", "100")
    cluster.daemons.start("m1")
    cluster.wait_role("m1", "MASTER", 60.0)
    ucarp.start()
    since_ns = boottime_ns()

    # ucarp follows pycarpd's adverts, trailer and all.
    assert stays(lambda: cluster.topology.holders_of() == ["m1"], 7.0)
    assert ucarp.state() == "BACKUP"
    assert ucarp.runs == ["down"]
    assert claims(cluster, "u1", since_ns) == []

    # The host dies: ucarp takes over by its own rules.
    crashed = inject(cluster, "crash", "m1")
    last_heard_ns = max(s.at_ns for s in claims(cluster, "m1", since_ns))
    taken_ns = wait_holder(cluster, "u1", 20.0)
    assert taken_ns - last_heard_ns >= UCARP_TIMEOUT_NS
    assert taken_ns - crashed.at_ns < 10 * S
    eventually(lambda: ucarp.state() == "MASTER", 15.0, "ucarp is master")

    # It is booted again and, without preempt, follows ucarp although its own advert would be better.
    heal(cluster, "crash", "m1")
    cluster.wait_role("m1", "BACKUP", 30.0)
    back_ns = boottime_ns()
    assert stays(lambda: cluster.topology.holders_of() == ["u1"], 7.0)
    assert cluster.daemons.status("m1").role == "BACKUP"
    assert claims(cluster, "m1", back_ns) == []
    assert ucarp.runs == ["down", "up"]

    # Told to preempt, it claims; ucarp yields before anything is served here.
    wait_standby(cluster)
    configure(cluster, "preempt = true")
    cluster.topology.send_signal(signal.SIGHUP, [find(cluster, "m1", "supervisor")[0].pid])
    wait_holder(cluster, "m1", 30.0)
    cluster.wait_role("m1", "MASTER", 30.0)
    assert ucarp.state() == "BACKUP"
    assert ucarp.runs == ["down", "up", "down"]
    assert stays(lambda: cluster.topology.holders_of() == ["m1"], 5.0)
    assert cluster.moosefs.serving_hosts() == ["m1"]
    assert_one_holder_since(cluster, since_ns)


def test_a_resignation_makes_ucarp_take_over_at_once_and_a_better_ucarp_is_given_way(cluster: Cluster) -> None:
    ucarp = Ucarp(cluster, "u1", "-k", "100")
    cluster.daemons.start("m1")
    cluster.wait_role("m1", "MASTER", 60.0)
    ucarp.start()
    since_ns = boottime_ns()
    assert stays(lambda: cluster.topology.holders_of() == ["m1"], 5.0)

    # Stopped, pycarpd resigns: ucarp need not wait for its time to run out.
    assert cluster.daemons.stop("m1") == 0
    assert cluster.capture is not None
    taken_ns = wait_holder(cluster, "u1", 20.0)
    adverts = [s for s in cluster.capture.sightings() if s.host == "m1" and s.kind is Kind.ADVERT]
    assert [s for s in adverts if s.is_resignation]
    last_other_ns = max(s.at_ns for s in adverts if not s.is_resignation)
    assert taken_ns - last_other_ns < UCARP_TIMEOUT_NS
    assert cluster.moosefs.serving_hosts() == []

    # ucarp ends without a word; pycarpd takes over when its time has run out.
    cluster.daemons.start("m1")
    wait_standby(cluster)
    ucarp.stop()
    wait_holder(cluster, "m1", 30.0)
    cluster.wait_role("m1", "MASTER", 30.0)
    assert_one_holder_since(cluster, since_ns)

    # A better ucarp that preempts is given way, and nothing serves here any more.
    configure(cluster, "priority = 100")
    cluster.topology.send_signal(signal.SIGHUP, [find(cluster, "m1", "supervisor")[0].pid])
    better = Ucarp(cluster, "u1", "-k", "1", "-P")
    better.start()
    wait_holder(cluster, "u1", 30.0)
    cluster.wait_role("m1", "BACKUP", 30.0)
    assert better.state() == "MASTER"
    assert cluster.moosefs.serving_hosts() == []
    assert stays(lambda: cluster.topology.holders_of() == ["u1"], 5.0)


def test_a_host_whose_pycarpd_is_killed_has_lost_the_address_before_the_quickest_ucarp_takes_it(
    cluster: Cluster,
) -> None:
    ucarp = Ucarp(cluster, "u1")
    cluster.daemons.start("m1")
    cluster.wait_role("m1", "MASTER", 60.0)
    ucarp.start()
    since_ns = boottime_ns()
    assert stays(lambda: cluster.topology.holders_of() == ["m1"], 4.0)
    cluster.topology.send_signal(signal.SIGKILL, [p.pid for p in cluster.daemons.processes("m1").values()])
    wait_holder(cluster, "u1", 20.0)
    assert_one_holder_since(cluster, since_ns)
