"""What is raised in the worker's threads and callbacks ends its process; the system's refusals do not."""

import subprocess
import sys

import pytest

from pycarpd.daemon.bugs import EXIT_STATUS

SCRIPT = """
import asyncio, logging, threading
from concurrent.futures import ThreadPoolExecutor
from pycarpd.daemon.bugs import end_if_raised, end_on_bugs
logging.basicConfig()

def explode():
    raise {error}("planted")

async def fail():
    explode()

async def main():
    loop = asyncio.get_running_loop()
    end_on_bugs(loop)
    {action}
    await asyncio.sleep({pause_s})
    print("still here")

asyncio.run(main())
"""
ACTIONS = {
    "thread": "threading.Thread(target=explode).start()",
    "callback": "loop.call_soon(explode)",
    "executor": "pool = ThreadPoolExecutor(1); pool.submit(explode).add_done_callback(end_if_raised)",
}


def run(action: str, error: str, pause_s: float) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(action=action, error=error, pause_s=pause_s)
    return subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=list(ACTIONS))
def test_a_bug_ends_the_process_with_its_traceback(action: str) -> None:
    done = run(action, "ZeroDivisionError", 30)
    assert done.returncode == EXIT_STATUS, done.stderr
    assert "still here" not in done.stdout
    assert "a bug, this process ends" in done.stderr
    assert "ZeroDivisionError: planted" in done.stderr


def test_the_systems_refusal_in_a_callback_is_only_logged() -> None:
    done = run(ACTIONS["callback"], "OSError", 0.2)
    assert done.returncode == 0, done.stderr
    assert "still here" in done.stdout
    assert "OSError: planted" in done.stderr


def test_work_that_goes_well_changes_nothing() -> None:
    done = run("pool = ThreadPoolExecutor(1); pool.submit(int).add_done_callback(end_if_raised)", "OSError", 0.2)
    assert done.returncode == 0, done.stderr
    assert "still here" in done.stdout
