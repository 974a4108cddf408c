"""What the worker makes of a demotion that could not begin: a mfsmaster that runs on is not called ended."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pycarpd.daemon import messages as msg
from pycarpd.daemon.channel import Channel, pair
from pycarpd.daemon.host import Host
from pycarpd.daemon.plans import Job, Kind
from pycarpd.daemon.worker import Worker
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.takeover.context import TakeoverSettings
from tests.netns.linux_fixtures import eventually
from tests.unit.daemon.values import daemon_settings

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


def outcome_of(tmp_path: Path, host: Host, *, is_ok: bool) -> tuple[int | None, object]:
    """Return the worker's exit code, if it is to end, and what the heartbeat was told."""

    async def main() -> tuple[int | None, object]:
        (ours, theirs), (supervisor, _other) = pair(), pair()
        heartbeat = Channel(theirs)
        settings = replace(daemon_settings(), state_dir=str(tmp_path))
        worker = Worker(settings, host, Channel(ours), Channel(supervisor))
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        worker._over = over
        worker._on_plan_ended(DEMOTE, is_ok)
        told = heartbeat.receive()
        for each in (ours, theirs, supervisor, _other):
            each.close()
        return (over.result() if over.done() else None), told

    return asyncio.run(main())


@pytest.mark.usefixtures("_running")
def test_a_demotion_that_leaves_mfsmaster_running_ends_the_worker(tmp_path: Path, host: Host) -> None:
    assert outcome_of(tmp_path, host, is_ok=False) == (1, None)


@pytest.mark.parametrize("is_ok", [True, False])
def test_the_end_of_a_demotion_is_told_when_no_mfsmaster_runs(tmp_path: Path, host: Host, is_ok: bool) -> None:
    told = msg.PlanEnded(5, is_promotion=False, is_ok=is_ok)
    assert outcome_of(tmp_path, host, is_ok=is_ok) == (None, told)
