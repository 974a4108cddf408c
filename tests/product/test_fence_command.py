"""A cluster that can split has its old master fenced by the site's command, or by a human's word, before it goes on."""

import json
from collections.abc import Iterator

import pytest

from netns.answers import exposure_ns, stretches
from netns.commands import LaboratoryError, eventually
from netns.exposure import ALONE
from netns.faults import find, heal, inject
from netns.owner import Owner, reap
from netns.theatre import Play, Theatre
from netns.topology import VIP

pytestmark = [pytest.mark.product, pytest.mark.netns, pytest.mark.timeout(300)]

WITHIN_S = 60.0
TRIES = 2
_STONITH = """\
#!/bin/sh
echo "$@" >> {log}
test -e {works} || exit 1
ip -n {prefix}-sw link set $1 down
kill -9 $(ip netns pids {prefix}-$1) 2>/dev/null
exit 0
"""


class Site:
    """Two hosts that decide alone, and a fence command that takes a host's power away, when it works."""

    def __init__(self, owner: Owner) -> None:
        self.log = owner.directory / "fenced"
        self.works = owner.directory / "works"
        command = owner.directory / "fence"
        command.write_text(_STONITH.format(log=self.log, works=self.works, prefix=owner.prefix))
        command.chmod(0o755)
        self.works.touch()
        settings = ALONE.settings.with_line(f"fence_command = {json.dumps([str(command)])}")
        self.theatre = Theatre.build(owner, settings, ALONE.hosts)

    def fenced(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def site() -> Iterator[Site]:
    reap()
    with Owner() as owner:
        yield Site(owner)


def settled(site: Site) -> str:
    return site.theatre.settle()


def test_a_master_that_is_cut_off_is_fenced_before_another_serves(site: Site) -> None:
    master = settled(site)
    (standby,) = [host for host in site.theatre.cluster.daemons.hosts if host != master]
    play = Play(site.theatre, master)
    fenced_before = len(site.fenced())
    play.inject("partition", site.theatre.cluster.clients[1])
    assert play.await_successor(WITHIN_S) == standby
    assert site.fenced()[fenced_before:] == [f"{master} {site.theatre.cluster.topology.hosts[master].address}"]
    assert not find(site.theatre.cluster, master, "mfsmaster")
    assert exposure_ns(stretches(play.said())) == 0
    play.heal("partition")
    play.heal("crash")
    assert settled(site) == standby
    nobody_serves_until_a_human_has_said_so(site, standby, master)


def nobody_serves_until_a_human_has_said_so(site: Site, master: str, standby: str) -> None:
    """Crash the master where the fence command fails: only `confirm-dead` lets the standby serve."""
    cluster = site.theatre.cluster
    site.works.unlink()
    tried = len(site.fenced())
    inject(cluster, "crash", master)
    eventually(lambda: len(site.fenced()) >= tried + TRIES, WITHIN_S, "the fence command is tried again and again")
    assert VIP not in cluster.topology.addresses(standby)
    status, said = cluster.daemons.control(standby, "confirm-dead", master, "--yes", timeout_s=20.0)
    assert status == 0, said
    play = Play(site.theatre, master)
    try:
        assert play.await_successor(WITHIN_S) == standby
    except LaboratoryError:
        pytest.fail(cluster.last_words(standby, 40))
    heal(cluster, "crash", master)
