"""In processes of their own: what these verbs change cannot be taken back."""

import json
import subprocess
import sys
from typing import Any


def outcome(code: str) -> Any:
    done = subprocess.run((sys.executable, "-c", code), check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


HEAD = "import json, os, gc, resource; from pycarpd.linux.realtime import *; from pathlib import Path\n"
AS_NOBODY = "os.setgid(65534); os.setuid(65534)\n"


def test_memory_is_locked() -> None:
    code = "refusal = lock_memory(); text = Path('/proc/self/status').read_text()\n"
    code += "print(json.dumps([refusal is None, text.split('VmLck:')[1].split()[0]]))"
    is_granted, locked_kb = outcome(HEAD + code)
    assert is_granted
    assert int(locked_kb) > 0


def test_without_the_right_to_lock_it_says_so() -> None:
    code = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n" + AS_NOBODY
    code += "refusal = lock_memory(); print(json.dumps([refusal.code, refusal.detail, refusal.remedy]))"
    named, detail, remedy = outcome(HEAD + code)
    assert named == "memory-not-locked"
    assert "mlockall" in detail
    assert "CAP_IPC_LOCK" in remedy


def test_realtime_is_granted_not_inherited_and_guarded() -> None:
    code = "refusal = use_realtime(10); pid = os.fork()\n"
    code += "if pid == 0: os._exit(os.sched_getscheduler(0))\n"
    code += "child = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
    code += "print(json.dumps([refusal and refusal.code, os.sched_getscheduler(0) & 7, child,"
    code += " os.sched_getparam(0).sched_priority, resource.getrlimit(resource.RLIMIT_RTTIME)[0] > 0]))"
    assert outcome(HEAD + code) == [None, 1, 0, 10, True]


def test_refused_realtime_degrades_to_nice_and_says_so() -> None:
    code = "refusal = use_realtime(1000)\n"
    code += "print(json.dumps([refusal.code, os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)]))"
    assert outcome(HEAD + code) == ["no-realtime", 0, -20]


def test_with_no_right_at_all_it_says_that_nothing_was_granted() -> None:
    code = "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0)); resource.setrlimit(resource.RLIMIT_NICE, (0, 0))\n"
    code += AS_NOBODY + "refusal = use_realtime(10)\n"
    code += "print(json.dumps([refusal.code, os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)]))"
    assert outcome(HEAD + code) == ["no-priority", 0, 0]


def test_a_tighter_guard_of_the_operator_is_kept() -> None:
    code = "resource.setrlimit(resource.RLIMIT_RTTIME, (200000, 200000)); refusal = use_realtime(10)\n"
    code += "print(json.dumps([refusal, *resource.getrlimit(resource.RLIMIT_RTTIME)]))"
    assert outcome(HEAD + code) == [None, 200000, 200000]


def test_a_loop_that_never_waits_loses_its_priority_and_lives() -> None:
    code = "resource.setrlimit(resource.RLIMIT_RTTIME, (100000, -1)); granted = use_realtime(10), has_realtime()\n"
    code += "import time; end = time.monotonic() + 30\n"
    code += "while has_realtime() and time.monotonic() < end: pass\n"
    code += "lost = lost_realtime(); said = [lost.code, bool(lost.remedy)]\n"
    code += "print(json.dumps([*granted, has_realtime(), os.getpriority(os.PRIO_PROCESS, 0), said]))"
    assert outcome(HEAD + code) == [None, True, False, -20, ["no-realtime", True]]


def test_a_loop_that_waits_has_lost_nothing() -> None:
    code = "granted = use_realtime(10); print(json.dumps([granted, lost_realtime()]))"
    assert outcome(HEAD + code) == [None, None]


def test_the_collector_is_off_and_what_exists_is_frozen() -> None:
    code = (
        "refusal = freeze_garbage_collector(); print(json.dumps([refusal, gc.isenabled(), gc.get_freeze_count() > 0]))"
    )
    assert outcome(HEAD + code) == [None, False, True]


def test_what_comes_first_is_the_calling_thread_alone() -> None:
    code = "import threading, subprocess, sys\nrefusal = come_first(); seen = [os.getpriority(os.PRIO_PROCESS, 0)]\n"
    code += "one = threading.Thread(target=lambda: seen.append(os.getpriority(os.PRIO_PROCESS, 0)))\n"
    code += "one.start(); one.join()\n"
    code += "asked = [sys.executable, '-c', 'import os; print(os.nice(0))']\n"
    code += "seen.append(int(subprocess.run(asked, stdout=subprocess.PIPE).stdout))\n"
    code += "print(json.dumps([refusal, seen, os.sched_getscheduler(0) & 7]))"
    assert outcome(HEAD + code) == [None, [-20, 0, 0], 0]


def test_who_may_not_come_first_says_so() -> None:
    code = "resource.setrlimit(resource.RLIMIT_NICE, (0, 0))\n" + AS_NOBODY
    code += "refusal = come_first(); print(json.dumps([refusal.code, refusal.remedy, os.getpriority(0, 0)]))"
    assert outcome(HEAD + code) == ["no-priority", "grant CAP_SYS_NICE", 0]


def test_a_thread_that_comes_before_all_does_so_alone() -> None:
    code = "import threading\nseen = []\n"
    code += "def policy(): return os.sched_getscheduler(0) & 7, os.sched_getparam(0).sched_priority\n"
    code += "one = threading.Thread(target=lambda: seen.extend((come_before_all(), policy())))\n"
    code += "one.start(); one.join(); print(json.dumps([*seen, policy()]))"
    assert outcome(HEAD + code) == [None, [1, 1], [0, 0]]


def test_a_thread_that_gets_no_realtime_comes_first_at_least() -> None:
    code = "real = os.sched_setscheduler\n"
    code += "def refuse(pid, policy, param):\n    if policy & 7: raise PermissionError\n    real(pid, policy, param)\n"
    code += "os.sched_setscheduler = refuse; refusal = come_before_all()\n"
    code += "print(json.dumps([refusal, os.sched_getscheduler(0) & 7, os.getpriority(os.PRIO_PROCESS, 0)]))"
    assert outcome(HEAD + code) == [None, 0, -20]
