import os
import sys
from pathlib import Path

import pytest

from netns.commands import LaboratoryError, eventually, must, run, spawn
from netns.owner import NETNS_ETC, Owner, dismantle, huge_page_policy, mounts_below, namespaces, reap, records
from netns.topology import VIP, VIP_CIDR, Host, Topology

pytestmark = pytest.mark.netns
REPOSITORY = Path(__file__).parents[2]


def reaches(topology: Topology, host: str, address: str) -> bool:
    """Nobody listens on port 9, so a host that is reached refuses at once and one that is not stays silent."""
    argv = topology.inside(host, "timeout", "1", "bash", "-c", f"</dev/tcp/{address}/9")
    return "refused" in run(*argv).errors


def test_hosts_see_each_other_by_name_and_address(topology: Topology) -> None:
    assert reaches(topology, "m1", "192.0.2.12")
    assert reaches(topology, "c1", "m1")
    assert reaches(topology, "m1", "2001:db8::c")


def test_mfsmaster_is_the_vip_on_every_host(topology: Topology) -> None:
    for host in topology.hosts:
        assert must(*topology.inside(host, "getent", "hosts", "mfsmaster")).split()[0] == VIP


def test_nothing_is_attached_to_the_root_namespace(topology: Topology) -> None:
    links = must("ip", "-o", "link")
    assert "00:00:00:00:00:00" in links
    assert not [spec.name for spec in topology.hosts.values() if spec.mac in links]


def test_the_holder_of_the_vip_is_seen(topology: Topology) -> None:
    assert topology.holders_of() == []
    topology.add_address("m2", VIP_CIDR)
    topology.add_address("m2", VIP_CIDR)
    assert topology.holders_of() == ["m2"]
    topology.remove_address("m2", VIP_CIDR)
    topology.remove_address("m2", VIP_CIDR)
    assert topology.holders_of() == []


def test_an_unplugged_host_comes_back_as_it_was(topology: Topology) -> None:
    topology.unplug("m2")
    assert topology.addresses("m2") == []
    assert not reaches(topology, "m1", "192.0.2.12")
    topology.connect("m2")
    assert eventually(lambda: reaches(topology, "m1", "192.0.2.12"), 30.0, "m2 is reached again")


def test_killing_everything_spares_no_process_that_ignores_signals(topology: Topology, owner: Owner) -> None:
    stubborn = "trap '' TERM HUP INT; while :; do sleep 1; done"
    owner.adopt(spawn(topology.inside("m1", "bash", "-c", stubborn), owner.directory / "stubborn.log"))
    eventually(lambda: topology.processes("m1"), 30.0, "the process runs")
    topology.kill_everything("m1")
    assert topology.processes("m1") == []


def test_a_booted_host_has_forgotten_addresses_and_filters(topology: Topology) -> None:
    topology.add_address("m1", VIP_CIDR)
    topology.filter("m1", "leftover", "  chain in { type filter hook input priority 0; policy drop; }", family="inet")
    topology.forget_kernel_state("m1")
    assert topology.addresses("m1") == ["192.0.2.11"]
    assert must(*topology.inside_net("m1", "nft", "list", "tables")) == ""
    assert reaches(topology, "m2", "192.0.2.11")


def test_everything_is_gone_after_release() -> None:
    with Owner() as owner:
        topology = Topology.build(owner, ("m1", "cs1"))
        below = topology.host_directory("m1") / "disk"
        below.mkdir()
        must("mount", "-t", "tmpfs", "none", str(below))
        owner.adopt(spawn(topology.inside("m1", "sleep", "1000"), owner.directory / "sleep.log"))
        assert len(namespaces(owner.prefix)) == 3
    assert namespaces(owner.prefix) == []
    assert mounts_below(owner.directory) == []
    assert not owner.directory.exists()
    assert list(NETNS_ETC.glob(f"{owner.prefix}-*")) == []
    assert owner.prefix not in [record.prefix for record in records()]


def test_a_body_that_raises_leaves_nothing() -> None:
    owner = Owner()
    with pytest.raises(LaboratoryError, match="'x1' is no host"), owner:
        Topology.build(owner, ("m1",)).hosts["x1"] = Host.of("x1")
    assert namespaces(owner.prefix) == []
    assert not owner.directory.exists()


def test_what_a_killed_owner_left_is_cleared_away_by_the_next() -> None:
    script = (
        "import os, signal\n"
        "from netns.owner import Owner\n"
        "from netns.topology import Topology\n"
        "owner = Owner()\n"
        "Topology.build(owner, ('m1', 'm2'))\n"
        "print(owner.prefix, owner.directory, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = run(sys.executable, "-c", script, env=environment, timeout_s=60)
    prefix, directory = killed.output.split()
    assert killed.status == -9
    assert len(namespaces(prefix)) == 3
    assert prefix in reap()
    assert namespaces(prefix) == []
    assert not Path(directory).exists()


def test_a_living_owner_is_never_reaped(owner: Owner) -> None:
    Topology.build(owner, ("m1",))
    assert owner.prefix not in reap()
    assert len(namespaces(owner.prefix)) == 2


def test_clearing_away_twice_is_no_fault(owner: Owner) -> None:
    Topology.build(owner, ("m1",))
    dismantle(owner.record)
    dismantle(owner.record)
    assert namespaces(owner.prefix) == []


def test_the_policy_on_huge_pages_goes_back_to_what_it_was(owner: Owner) -> None:
    before = huge_page_policy()
    owner.use_huge_pages()
    owner.use_huge_pages()
    assert huge_page_policy() == "always"
    dismantle(owner.record)
    assert huge_page_policy() == before


@pytest.mark.parametrize("name", ["m0", "m10", "x1", "m", "", "m1 "])
def test_a_name_that_follows_no_pattern_is_refused(name: str) -> None:
    with pytest.raises(LaboratoryError, match="is no host"):
        Host.of(name)
