"""What the worker tells the heartbeat: of a demotion that could not begin, of a look that took longer than a plan."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pycarpd.daemon import messages as msg
from pycarpd.daemon.channel import Channel, pair
from pycarpd.daemon.host import Host
from pycarpd.daemon.jobs import Job, Kind
from pycarpd.daemon.patient import Findings, Patient
from pycarpd.daemon.plans import PlanDesk
from pycarpd.daemon.worker import Worker
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.takeover.context import TakeoverSettings
from pycarpd.takeover.events import Outcome
from tests.netns.linux_fixtures import eventually
from tests.unit.daemon.values import FRESH, daemon_settings

DEMOTE = Job(Kind.DEMOTE, 5)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    config = tmp_path / "mfsmaster.cfg"
    takeover = TakeoverSettings(tmp_path, config, config, 0, 0, ("192.0.2.100",))
    return Host(takeover, Mfsmaster(config, tmp_path), Mfsmetalogger(config, tmp_path))


@pytest.fixture
def _running(tmp_path: Path, host: Host) -> Iterator[None]:
    """A process of the name mfsmaster in the data directory; it has the name a moment after its program is loaded."""
    program = shutil.copy(str(shutil.which("sleep")), tmp_path / "mfsmaster")
    with subprocess.Popen([program, "600"], cwd=tmp_path) as process:
        assert eventually(lambda: bool(host.mfsmaster.processes()), 10)
        yield
        process.kill()


@contextmanager
def idle_worker(tmp_path: Path, host: Host) -> Iterator[tuple[Worker, Channel]]:
    """Give a worker that does not run, and the heartbeat's end of its channel."""
    pairs = [pair() for _ in range(3)]
    channels = [Channel(ours) for ours, _ in pairs]
    yield Worker(replace(daemon_settings(), state_dir=str(tmp_path)), host, *channels), Channel(pairs[0][1])
    for end in (end for ends in pairs for end in ends):
        end.close()


def outcome_of(tmp_path: Path, host: Host, *, is_ok: bool) -> tuple[int | None, object]:
    """Return the worker's exit code, if it is to end, and what the heartbeat was told."""

    async def main() -> tuple[int | None, object]:
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with idle_worker(tmp_path, host) as (worker, heartbeat):
            worker._over = over
            worker._on_plan_ended(DEMOTE, is_ok)
            told = heartbeat.receive()
        return (over.result() if over.done() else None), told

    return asyncio.run(main())


@pytest.mark.usefixtures("_running")
def test_a_demotion_that_leaves_mfsmaster_running_ends_the_worker(tmp_path: Path, host: Host) -> None:
    assert outcome_of(tmp_path, host, is_ok=False) == (1, None)


@pytest.mark.parametrize("is_ok", [True, False])
def test_the_end_of_a_demotion_is_told_when_no_mfsmaster_runs(tmp_path: Path, host: Host, is_ok: bool) -> None:
    told = msg.PlanEnded(5, is_promotion=False, is_ok=is_ok)
    assert outcome_of(tmp_path, host, is_ok=is_ok) == (None, told)


@pytest.mark.parametrize("operations", [0, 1])
def test_the_heartbeat_hears_nothing_of_files_from_before_the_last_plan(
    tmp_path: Path, host: Host, operations: int
) -> None:
    async def main() -> object:
        with idle_worker(tmp_path, host) as (worker, heartbeat):
            worker._patient = Patient(host, 10, lambda: None, lambda _: None)
            worker._patient.is_operated_on = True
            worker._patient.is_operated_on = False
            worker._on_findings(Findings(FRESH, "", operations=operations))
            return heartbeat.receive()

    told = asyncio.run(main())
    assert told == (msg.FreshnessNews(FRESH, "", has_files=True) if operations else None)


@pytest.mark.parametrize("has_waiting", [False, True])
def test_nobody_looks_between_one_plan_and_the_next(tmp_path: Path, host: Host, has_waiting: bool) -> None:
    async def main() -> bool:
        with idle_worker(tmp_path, host) as (worker, _heartbeat):
            worker._patient = Patient(host, 10, lambda: None, lambda _: None)
            worker._desk = PlanDesk(host.takeover, tmp_path / "journal", lambda: None)
            worker._patient.is_operated_on = True
            worker._desk._waiting = DEMOTE if has_waiting else None
            worker._on_plan_finished(DEMOTE, Outcome("1", "demote", ok=True))
            return worker._patient.is_operated_on

    assert asyncio.run(main()) is has_waiting
