"""Runs one plan in a process of its own, inside a test's network namespace: one JSON argument in, one JSON line out.

With ``kill_at`` the process SIGKILLs itself when that step begins, after ``kill_after_s``.
"""

import dataclasses
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from pycarpd.election.model import PeerConnection
from pycarpd.linux.clock import realtime_ns
from pycarpd.moosefs.config import MfsConfig, read_mfs_config
from pycarpd.moosefs.probe import LiveMaster, probe
from pycarpd.takeover.context import Context, Gate, Request, TakeoverSettings
from pycarpd.takeover.events import Outcome
from pycarpd.takeover.executor import PlanExecutor, StepProgress
from pycarpd.takeover.plans import build_plan, make_context, owner_of, rebuild, settings_of
from pycarpd.takeover.prune import label
from pycarpd.takeover.records import OpenPlan
from pycarpd.takeover.step import Plan, Verb


def settings(job: dict[str, Any]) -> TakeoverSettings:
    master = read_mfs_config(Path(job["etc"]) / "mfsmaster.cfg")
    assert isinstance(master, MfsConfig)
    owner = owner_of(master)
    assert isinstance(owner, tuple)
    metalogger = Path(job["etc"]) / "mfsmetalogger.cfg"
    vips = tuple(job.get("vips", ()))
    return dataclasses.replace(settings_of(master, metalogger, vips, owner), start_timeout_ns=60_000_000_000)


def context(job: dict[str, Any], request: Request) -> Context:
    calls: list[str] = job["calls"]

    def take() -> bool:
        calls.append("take")
        return not job.get("refuse_address", False)

    def release() -> bool:
        calls.append("release")
        return True

    old = tuple(PeerConnection(bytes(each[0]), each[1], each[2]) for each in job.get("old_connections", ()))
    gates: tuple[Gate, ...] = ()
    built = make_context(settings(job), request, take, release, old)
    return built if job.get("vips") else dataclasses.replace(built, gates=gates)


def main() -> None:
    job: dict[str, Any] = json.loads(sys.argv[1])
    job["calls"] = []
    ended = threading.Event()
    outcomes: list[Outcome] = []

    def on_progress(progress: StepProgress) -> None:
        is_begin = progress.elapsed_ms is None and progress.verb is Verb.RUN
        if is_begin and progress.step == job.get("kill_at"):
            ended.wait(job.get("kill_after_s", 0))
            os.kill(os.getpid(), signal.SIGKILL)
        if is_begin and progress.step == job.get("abort_at"):
            threading.Timer(0.03, lambda: executor.abort("the test says so")).start()

    def on_finish(outcome: Outcome) -> None:
        outcomes.append(outcome)
        ended.set()

    def again(interrupted: OpenPlan) -> tuple[Plan[Context], Context]:
        plan, request = rebuild(interrupted, settings(job))
        return plan, context(job, request)

    executor = PlanExecutor(Path(job["journal"]), again, on_progress, on_finish)
    request = Request(label(realtime_ns(), job.get("term", 1)), job.get("term", 1), realtime_ns())
    request = dataclasses.replace(request, **job.get("request", {}))
    made = context(job, request)
    if job["plan"] == "recover":
        assert executor.recover()
    else:
        assert executor.submit(build_plan(job["plan"], settings(job), request), made)
    assert ended.wait(90)
    live = probe("127.0.0.1", 9421, 2.0)
    report = {
        **dataclasses.asdict(outcomes[0]),
        "calls": job["calls"],
        "live": dataclasses.asdict(live) if isinstance(live, LiveMaster) else None,
        "expected": None if made.chain is None else made.chain.version,
        "lost": made.operations_lost,
    }
    sys.stdout.write(json.dumps(report) + "\n")


main()
