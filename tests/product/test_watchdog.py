"""A watchdog that is asked for and cannot be used, on real daemons: told if it is automatic, decisive if required.

/dev/null stands in for a device that is no watchdog; what an armed one is told is shown by unit tests on a stand-in.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.cluster import FIRST, Cluster, Options
from netns.commands import eventually
from netns.faults import heal, inject
from netns.owner import Owner, reap
from netns.topology import VIP

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(300)]

STANDBY = "m2"
WITHIN_S = 60.0
TRIES = 2
REFUSED = "no watchdog stands behind the fence"


def ask_for(cluster: Cluster, host: str, mode: str, device: Path) -> None:
    """Configure a host's watchdog; a daemon that runs is not told."""
    config = cluster.daemons.config(host)
    cluster.daemons.write_configs()
    lines = f'[node]\nwatchdog = "{mode}"\nwatchdog_device = "{device}"\n'
    config.write_text(config.read_text().replace("[node]\n", lines))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    reap()
    with Owner() as owner:
        built = Cluster.build(owner, Options(hosts=2, chunkservers=0, clients=0))
        ask_for(built, FIRST, "automatic", Path("/dev/null"))
        built.start()
        yield built


def test_a_watchdog_that_cannot_be_used(cluster: Cluster) -> None:
    assert "watchdog-unusable" in {each["code"] for each in cluster.daemons.look(FIRST)["reports"]}

    cluster.daemons.stop(STANDBY)
    ask_for(cluster, STANDBY, "required", cluster.directory / "none")
    cluster.daemons.start(STANDBY)

    def why_not() -> str:
        return str(cluster.daemons.look(STANDBY).get("freshness", {}).get("why_not"))

    eventually(lambda: "watchdog is required" in why_not(), WITHIN_S, "a standby without its watchdog says so")

    cluster.daemons.stop(STANDBY)
    ask_for(cluster, STANDBY, "required", Path("/dev/null"))
    cluster.daemons.start(STANDBY)
    cluster.wait_standby(STANDBY, WITHIN_S)
    inject(cluster, "crash", FIRST)
    log = cluster.daemons.log(STANDBY)
    eventually(lambda: log.read_text().count("promotion failed") >= TRIES, WITHIN_S, "it tries and fails")
    assert REFUSED in log.read_text()
    assert VIP not in cluster.topology.addresses(STANDBY)
    assert not cluster.moosefs.serving_hosts()
    heal(cluster, "crash", FIRST)
    cluster.wait_role(FIRST, "MASTER", WITHIN_S)
