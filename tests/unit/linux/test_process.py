import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycarpd.invariant import InvariantError
from pycarpd.linux.process import (
    ProcessIdentity,
    ProcessWatch,
    identify,
    kill_tree,
    lock_holder,
    process_tree,
    run,
)

PYTHON = sys.executable


def eventually(condition: Callable[[], bool], timeout_s: float = 20) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def written(path: Path) -> int:
    """Return the pid that a process wrote into *path*."""
    assert eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


@contextmanager
def started(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in a session of its own, and end it whatever happens."""
    with subprocess.Popen(argv, start_new_session=True, stdout=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def test_a_command_gives_its_status_and_both_outputs() -> None:
    done = run(("sh", "-c", "cat; echo oops >&2; exit 3"), 30, stdin=b"given")
    assert (done.exit_status, done.stdout, done.stderr) == (3, b"given", b"oops\n")
    assert not done.is_success
    assert not done.timed_out
    assert run(("true",), 30).is_success


def test_a_command_has_a_session_of_its_own_no_shell_and_the_given_environment() -> None:
    code = "import os, sys; print(os.getsid(0) == os.getpid(), sys.argv[1:], sorted(os.environ)[:1])"
    done = run((PYTHON, "-c", code, "$HOME *"), 30, environment={"AAA": "1"})
    assert done.stdout == b"True ['$HOME *'] ['AAA']\n"


def test_a_command_that_is_not_there_is_a_fault() -> None:
    done = run(("/nonexistent/mfsmaster",), 30)
    assert done.fault is not None
    assert (done.exit_status, done.fault.name, done.is_success) == (None, "ENOENT", False)


def test_output_is_bounded_and_said_to_be() -> None:
    done = run(("head", "-c", "3000000", "/dev/zero"), 30, output_max=1000)
    assert (done.exit_status, len(done.stdout), done.is_truncated) == (0, 1000, True)
    whole = run(("head", "-c", "1000", "/dev/zero"), 30, output_max=1000)
    assert (len(whole.stdout), whole.is_truncated) == (1000, False)


def test_large_input_and_output_do_not_block_each_other() -> None:
    data = b"x" * 900_000
    assert run(("cat",), 30, stdin=data).stdout == data


def test_at_the_deadline_the_whole_group_ends_even_if_it_ignores_sigterm(tmp_path: Path) -> None:
    script = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/pid; echo said; while :; do sleep 0.1; done"
    done = run(("sh", "-c", script), 0.5, kill_grace_s=0.2)
    assert (done.timed_out, done.exit_status, done.stdout) == (True, -signal.SIGKILL, b"said\n")
    sleeper = written(tmp_path / "pid")
    assert eventually(lambda: identify(sleeper) is None)


def test_sigterm_comes_first() -> None:
    done = run(("sh", "-c", "trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done"), 0.5, kill_grace_s=20)
    assert (done.timed_out, done.exit_status, done.stdout) == (True, 7, b"bye\n")


def test_a_program_that_never_stops_talking_is_ended_too() -> None:
    done = run(("yes",), 0.3, kill_grace_s=5)
    assert done.timed_out
    assert done.is_truncated


def test_a_command_is_cancelled_by_another_thread() -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    started_at = time.monotonic()
    done = run(("sleep", "1000"), 100, cancel=cancel)
    timer.join()
    assert (done.cancelled, done.timed_out, done.exit_status) == (True, False, -signal.SIGTERM)
    assert time.monotonic() - started_at < 20


def test_a_daemon_that_keeps_the_pipes_open_is_not_waited_for_and_lives_on(tmp_path: Path) -> None:
    started_at = time.monotonic()
    done = run(("sh", "-c", f"setsid sleep 1000 & echo $! > {tmp_path}/pid; echo started"), 100)
    assert time.monotonic() - started_at < 20
    assert (done.exit_status, done.stdout) == (0, b"started\n")
    daemon = written(tmp_path / "pid")
    assert identify(daemon) is not None
    assert kill_tree(daemon, 20).killed == (daemon,)


def test_no_descriptor_is_lost() -> None:
    run(("true",), 30)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        run(("true",), 30)
        run(("/nonexistent",), 30)
        kill_tree(2**22 - 1, 1)
        lock_holder(Path("/nonexistent"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_identity_tells_start_parent_group_and_session_whatever_the_name(tmp_path: Path) -> None:
    odd = shutil.copy(shutil.which("sleep") or "", tmp_path / "a) b (c")
    with started(str(odd), "1000") as child:
        assert eventually(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "a) b (c\n")
        assert identify(child.pid) == ProcessIdentity(
            child.pid, process_tree(child.pid)[0].start_ticks, os.getpid(), child.pid, child.pid
        )
        child.kill()
        assert eventually(lambda: identify(child.pid) is None)
    assert identify(child.pid) is None


def test_a_watch_becomes_readable_at_the_end_and_refuses_a_stranger() -> None:
    with started("sleep", "1000") as child:
        watch = ProcessWatch.open(child.pid)
        assert watch is not None
        with watch:
            assert (watch.pid, watch.is_alive(), watch.wait(0.01)) == (child.pid, True, False)
            assert ProcessWatch.open(child.pid, watch.identity.start_ticks + 1) is None
            assert watch.signal(signal.SIGKILL)
            assert watch.wait(20)
            assert not watch.is_alive()
            child.wait()
            assert not watch.signal(signal.SIGKILL)
    assert ProcessWatch.open(child.pid) is None


def test_the_holder_of_a_lock_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".mfsmaster.lock"
    assert lock_holder(path) is None
    code = f"import fcntl, time; f = open({str(path)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True)\n"
    with started(PYTHON, "-c", code + "time.sleep(1000)") as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert lock_holder(path) == child.pid
    assert lock_holder(path) is None


def test_asking_for_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert lock_holder(path) is None
    with path.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        query = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        assert struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, query))[0] == fcntl.F_UNLCK


TREE = """
import os, signal, sys, time
directory = sys.argv[1]
def leave(name):
    with open(f"{directory}/{name}", "w") as file:
        file.write(f"{os.getpid()}\\n")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(0.05)
if os.fork() == 0:
    leave("child")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        leave("grandchild_of_a_session")
    leave("session")
if os.fork() == 0:
    if os.fork() == 0:
        leave("orphan_in_the_group")
    os._exit(0)
os.wait()
leave("root")
"""
NAMES = ("child", "grandchild_of_a_session", "session", "orphan_in_the_group", "root")


@contextmanager
def tree(directory: Path) -> Iterator[dict[str, int]]:
    """Start a family with a session of its own inside, and an orphan; all ignore SIGTERM."""
    with started(PYTHON, "-c", TREE, str(directory)):
        pids = {name: written(directory / name) for name in NAMES}
        try:
            yield pids
        finally:
            for pid in pids.values():
                if identify(pid) is not None:
                    os.kill(pid, signal.SIGKILL)


def test_a_whole_tree_is_found_and_killed(tmp_path: Path) -> None:
    with tree(tmp_path) as pids:
        root = identify(pids["root"])
        assert {member.pid for member in process_tree(pids["root"])} == set(pids.values())
        result = kill_tree(pids["root"], 20)
        assert (set(result.killed), result.survivors, result.is_complete) == (set(pids.values()), (), True)
        assert [name for name, pid in pids.items() if identify(pid) is not None] == []
        assert root is not None
        assert kill_tree(root, 1).killed == ()


def test_the_orphans_of_a_root_that_died_alone_are_killed_by_its_identity(tmp_path: Path) -> None:
    with tree(tmp_path) as pids:
        root = identify(pids["root"])
        assert root is not None
        os.kill(root.pid, signal.SIGKILL)
        assert eventually(lambda: identify(root.pid) is None)
        assert kill_tree(root.pid, 20).killed == ()
        killed = set(kill_tree(root, 20).killed)
        assert {pids["child"], pids["orphan_in_the_group"]} <= killed


def test_a_tree_that_keeps_forking_ends_as_well() -> None:
    code = "import os, time, sys\nsys.stdout.write('\\n'); sys.stdout.flush()\n"
    code += "while True:\n    if os.fork() == 0:\n        time.sleep(0.2); os._exit(0)\n"
    code += "    time.sleep(0.005)\n    try:\n        os.waitpid(-1, os.WNOHANG)\n    except ChildProcessError: pass\n"
    with started(PYTHON, "-c", code) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.2)
        assert kill_tree(child.pid, 20).is_complete
        assert process_tree(ProcessIdentity(child.pid, 0, 0, child.pid, child.pid)) == ()


def test_a_reused_pid_is_spared() -> None:
    with started("sleep", "1000") as child:
        now = identify(child.pid)
        assert now is not None
        former = ProcessIdentity(now.pid, now.start_ticks - 1, now.parent, now.group + 2**20, now.session)
        assert kill_tree(former, 1).killed == ()
        assert identify(child.pid) is not None


def test_a_stopped_process_is_killed_and_oneself_never() -> None:
    with started("sleep", "1000") as child:
        os.kill(child.pid, signal.SIGSTOP)
        assert kill_tree(child.pid, 20).is_complete
    for pid in (os.getpid(), 1, 0, -1):
        with pytest.raises(InvariantError):
            kill_tree(pid, 1)


def test_our_own_process_group_is_not_mistaken_for_the_tree() -> None:
    with subprocess.Popen(("sleep", "1000")) as child:
        assert os.getpgid(child.pid) == os.getpgrp()
        assert kill_tree(child.pid, 20).killed == (child.pid,)


@pytest.mark.parametrize("parent_is_wrong", [False, True])
def test_a_child_dies_with_its_parent(tmp_path: Path, parent_is_wrong: bool) -> None:
    code = f"""
import os, signal, time
from pycarpd.linux.process import set_parent_death_signal
parent = os.getpid()
if os.fork() == 0:
    granted = set_parent_death_signal(parent + {int(parent_is_wrong)})
    with open({str(tmp_path / "granted")!r}, "w") as file:
        file.write(f"{{int(granted)}}\\n")
    with open({str(tmp_path / "pid")!r}, "w") as file:
        file.write(f"{{os.getpid()}}\\n")
    time.sleep(1000)
time.sleep(1000)
"""
    with started(PYTHON, "-c", code):
        grandchild = written(tmp_path / "pid")
        assert written(tmp_path / "granted") == int(not parent_is_wrong)
        assert identify(grandchild) is not None
    assert eventually(lambda: identify(grandchild) is None)
