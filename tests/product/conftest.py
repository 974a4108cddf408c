"""The cluster that the failover scenarios share: built when it is first wanted, built anew when a scenario broke it."""

from collections.abc import Generator, Iterator

import pytest

from netns.owner import reap
from tests.product.stage import Stage

_FIXTURE = "stage"
_WORDS = 40
_held: list[Stage] = []
_broken: list[Stage] = []


def _drop() -> None:
    while _held:
        stage = _held.pop()
        stage.close(keep_files=stage in _broken)


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Three metadata hosts, all healthy, with a client's mount, whoever is master among them at the moment.

    A module that names an ARBITER gets a cluster with it, the others one whose hosts decide alone; CLUSTER_LINES are
    further lines of [cluster].
    """
    arbiter = getattr(request.module, "ARBITER", "none")
    lines = getattr(request.module, "CLUSTER_LINES", ())
    if _held and ((_held[0].arbiter, _held[0].lines) != (arbiter, lines) or not _held[0].is_healthy()):
        _drop()
    if not _held:
        reap()
        _held.append(Stage.build(arbiter, lines))
    yield _held[0]
    if _held and (_held[0].is_used_up or _held[0] in _broken):
        _drop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with a failed scenario where its logs and captures stay, and each host's last words."""
    report = yield
    if report.failed and report.when == "call" and _held and _FIXTURE in getattr(item, "fixturenames", ()):
        _broken.append(_held[0])
        cluster = _held[0].cluster
        words = [cluster.last_words(host, _WORDS) for host in cluster.daemons.hosts]
        report.sections.append((f"logs and captures stay in {cluster.directory}", "\n".join(words)))
    return report


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Take the cluster down as soon as the next test does not want it."""
    if _FIXTURE not in getattr(nextitem, "fixturenames", ()):
        _drop()
