"""Who is fenced, by real commands."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pycarpd.daemon.messages import PeerNews, StatusNews
from pycarpd.daemon.stonith import Stonith
from pycarpd.election.model import Arbiter, Role
from pycarpd.settings import DaemonSettings
from pycarpd.takeover.step import StepFault
from tests.unit.daemon.values import daemon_settings, peer_news, status_news

SILENT_MS = 2000
DEAD = peer_news("meta2", role=Role.MASTER, heard_ms=SILENT_MS)
ALIVE = peer_news("meta3", address="192.0.2.13")


@dataclass
class Site:
    """A site whose fence command writes down whom it was called for and ends with ``exit_status``."""

    directory: Path
    exit_status: int = 0
    peers: tuple[PeerNews, ...] = (DEAD, ALIVE)
    arbiter: Arbiter = Arbiter.NONE
    body: str = ""
    has_command: bool = True
    told: StatusNews | None = None
    stonith: Stonith = field(init=False)

    def __post_init__(self) -> None:
        self.stonith = Stonith(self.settings, self.news)

    def settings(self) -> DaemonSettings:
        script = self.directory / "fence"
        log = self.directory / "log"
        script.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{self.body}\necho no >&2\nexit {self.exit_status}\n')
        script.chmod(0o755)
        base = daemon_settings()
        election = replace(base.election, arbiter=self.arbiter)
        command = (str(script), "--off") if self.has_command else ()
        return replace(base, election=election, fence_command=command, fence_timeout_s=5)

    def news(self) -> StatusNews:
        if self.told is None or self.told.peers != self.peers:
            self.told = status_news(role=Role.PROMOTING, peers=self.peers)
        return self.told

    def fence(self) -> StepFault | None:
        self.stonith.ask(self.peers)
        return self.stonith.fence(threading.Event())

    def called(self) -> list[str]:
        log = self.directory / "log"
        return log.read_text().splitlines() if log.exists() else []

    def confirm(self, **args: object) -> str:
        (report,) = self.stonith.confirm(args)
        return report.code


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_master_that_fell_silent_is_fenced(site: Site) -> None:
    assert site.fence() is None
    assert site.called() == ["--off meta2 192.0.2.12"]


def test_it_is_judged_by_what_the_promotion_was_asked_with(site: Site) -> None:
    site.peers = (replace(DEAD, heard_ms=0),)  # told a moment before the loss, and nothing since
    site.stonith.ask((DEAD,))
    assert site.stonith.fence(threading.Event()) is None
    assert site.called() == ["--off meta2 192.0.2.12"]


def test_what_was_told_since_counts_where_the_plan_had_to_wait(site: Site) -> None:
    site.peers = (ALIVE,)
    site.stonith.ask((ALIVE,))
    site.peers = (DEAD, ALIVE)
    assert site.stonith.fence(threading.Event()) is None
    assert site.called() == ["--off meta2 192.0.2.12"]


def test_nobody_is_taken_for_dead_where_nothing_was_told(site: Site) -> None:
    site.stonith.ask(None)
    fault = site.stonith.fence(threading.Event())
    assert fault is not None
    assert fault.code == "NOT_FENCED"
    assert not site.called()


@pytest.mark.parametrize("role", [Role.BACKUP, Role.FAULT, Role.INIT])
def test_who_said_last_that_it_does_not_serve_is_left_alone(site: Site, role: Role) -> None:
    site.peers = (peer_news("meta2", role=role, heard_ms=SILENT_MS),)
    assert site.fence() is None
    assert not site.called()


def test_a_master_that_is_heard_is_left_to_the_election(site: Site) -> None:
    site.peers = (peer_news("meta2", role=Role.DEMOTING, heard_ms=100),)
    assert site.fence() is None
    assert not site.called()


@pytest.mark.parametrize(("arbiter", "count"), [(Arbiter.NONE, 1), (Arbiter.MAJORITY, 0)])
def test_who_was_never_heard_is_feared_where_nobody_votes(site: Site, arbiter: Arbiter, count: int) -> None:
    site.arbiter = arbiter
    site.peers = (peer_news("meta2", role=None, heard_ms=None),)
    assert site.fence() is None
    assert len(site.called()) == count


@pytest.mark.parametrize(("patience_ms", "is_fenced"), [(0, True), (SILENT_MS, False)])
def test_a_peer_whose_adverts_asked_for_patience_is_not_fenced_before_that_is_over(
    site: Site, patience_ms: int, is_fenced: bool
) -> None:
    site.peers = (peer_news("meta2", role=Role.DEMOTING, heard_ms=SILENT_MS, patience_ms=patience_ms),)
    assert site.fence() is None
    assert bool(site.called()) is is_fenced


def test_a_command_that_fails_stops_the_promotion_and_says_what_helps(site: Site) -> None:
    site.exit_status = 3
    fault = site.fence()
    assert fault is not None
    assert fault.code == "NOT_FENCED"
    assert "ended with 3: no" in fault.detail
    assert "pycarpctl confirm-dead meta2" in fault.detail


def test_a_command_that_hangs_is_ended_when_another_is_elected(site: Site) -> None:
    site.body = "sleep 60"
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    site.stonith.ask(site.peers)
    fault = site.stonith.fence(cancel)
    assert fault is not None
    assert "another node was elected" in fault.detail


def test_a_humans_word_stands_in_until_the_member_is_heard_again(site: Site) -> None:
    site.exit_status = 1
    assert site.confirm(node="meta2") == "confirmed-dead"
    assert site.fence() is None
    assert not site.called()
    site.peers = (peer_news("meta2", role=Role.MASTER, heard_ms=0),)
    assert site.fence() is None  # heard now: nothing to be fenced
    site.stonith._confirmed_ns["meta2"] -= 10_000 * 1_000_000
    site.peers = (DEAD,)  # heard two seconds ago, confirmed ten seconds ago
    assert site.fence() is not None


def test_a_humans_word_does_not_last(site: Site) -> None:
    site.exit_status = 1
    site.confirm(node="meta2")
    site.peers = (replace(DEAD, heard_ms=10_000_000),)
    site.stonith._confirmed_ns["meta2"] -= 601 * 1_000_000_000
    assert site.fence() is not None


def test_a_word_that_cannot_be_taken_is_refused(site: Site) -> None:
    assert site.confirm() == "command-bad-argument"
    assert site.confirm(node="nobody") == "command-bad-argument"
    assert site.confirm(node="meta3") == "not-dead"
    site.has_command = False
    assert site.confirm(node="meta2") == "no-fence-command"
