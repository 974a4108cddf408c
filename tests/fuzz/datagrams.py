"""Millions of hostile datagrams against the receiver: `python tests/fuzz/datagrams.py --count 10000000 --jobs 2`.

A traffic generator mutates, cuts, splices, replays, strips and forges the adverts of a small cluster, half of the time
strict and half of the time mixed with ucarp hosts. A model that knows what was really sent says what must be
believed. A violation ends the job: an exception, a belief that differs from the model's in either direction, a change
of state by something not believed, or growth of any table, of the allocations in the codec, or of the process.
"""

import argparse
import gc
import multiprocessing
import os
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if not __package__:
    sys.path.insert(0, str(Path(__file__).parents[2]))

from pycarpd.wire.verdict import Verdict
from tests.fuzz.attacker import ViolationError, World, check_tables

REBOOT_EVERY = 20_000
REPORT_EVERY = 10_000
SILENCE_MAX_S = 120
TRACED_GROWTH_MAX = 64 * 1024
RESIDENT_GROWTH_MAX = 16 * 1024 * 1024


def traced_bytes() -> int:
    gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/pycarpd/wire/*")])
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def attack(world: World, count: int, report: Callable[[int], None]) -> None:
    for number in range(1, count + 1):
        world.step()
        if number % REPORT_EVERY == 0:
            check_tables(world)
            report(REPORT_EVERY)
        if number % REBOOT_EVERY == 0:
            world.reboot()
    check_tables(world)
    report(count % REPORT_EVERY)


def attack_watched(world: World, count: int, report: Callable[[int], None]) -> None:
    """Attack with *count* datagrams: a tenth to warm up, at most 20 000 with allocations traced, the rest plainly."""
    warm_up = count // 10
    traced = min(20_000, warm_up)
    attack(world, warm_up, report)
    tracemalloc.start()
    before = traced_bytes()
    attack(world, traced, report)
    grown = traced_bytes() - before
    tracemalloc.stop()
    if grown > TRACED_GROWTH_MAX:
        raise ViolationError(f"{traced} datagrams left {grown} bytes behind in the codec")
    resident = resident_bytes()
    attack(world, count - warm_up - traced, report)
    if resident_bytes() - resident > RESIDENT_GROWTH_MAX:
        raise ViolationError(f"the process grew from {resident} to {resident_bytes()} bytes")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job saw: datagrams by verdict, and the violation that ended it."""

    verdicts: Counter[Verdict]
    violation: str | None


def fuzz(seed: str, count: int, report: Callable[[int], None]) -> Outcome:
    """Attack a strict and a mixed cluster with half of *count* datagrams each."""
    verdicts: Counter[Verdict] = Counter()
    for strict, share in ((True, count // 2), (False, count - count // 2)):
        world = World(f"{seed}/{strict}", strict=strict)
        try:
            attack_watched(world, share, report)
        except Exception as error:  # noqa: BLE001 (an exception of any kind is what is searched for)
            number = world.verdicts.total()
            return Outcome(verdicts + world.verdicts, f"seed {seed}, strict={strict}, datagram {number}: {error!r}")
        verdicts += world.verdicts
    return Outcome(verdicts, None)


def _job(seed: str, count: int, pipe: Connection) -> None:
    pipe.send(fuzz(seed, count, pipe.send))


def run_jobs(seed: str, count: int, jobs: int, report: Callable[[int], None]) -> Outcome:
    """Share *count* datagrams among so many processes; a process that dies is a violation."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    total = Outcome(Counter(), None)
    for number in range(jobs):
        ours, theirs = context.Pipe(duplex=False)
        share = count // jobs + (number < count % jobs)
        context.Process(target=_job, args=(f"{seed}/{number}", share, theirs), daemon=True).start()
        theirs.close()
        pipes.append(ours)
    while pipes:
        ready = wait(pipes, timeout=SILENCE_MAX_S)
        if not ready:
            return Outcome(total.verdicts, f"no job said anything for {SILENCE_MAX_S} s")
        for pipe in [one for one in pipes if one in ready]:
            try:
                message = pipe.recv()
            except EOFError:
                message = Outcome(Counter(), "a job died")
            if isinstance(message, int):
                report(message)
                continue
            total = Outcome(total.verdicts + message.verdicts, total.violation or message.violation)
            pipes.remove(pipe)
    return total


def main() -> int:
    """Run the command; 0 when nothing was violated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="datagrams in all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", default="1", help="any text; the same text is the same traffic")
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("datagrams", total=options.count)
        outcome = run_jobs(options.seed, options.count, options.jobs, lambda n: progress.advance(task, n))
        seconds = progress.tasks[0].elapsed or 1.0
    table = Table("verdict", "datagrams")
    for verdict in Verdict:
        table.add_row(verdict.name, str(outcome.verdicts[verdict]))
    console.print(table)
    total = outcome.verdicts.total()
    console.print(f"{total} datagrams, {total / seconds:.0f}/s, seed {options.seed}")
    console.print(outcome.violation or "no violation", soft_wrap=True)
    return 1 if outcome.violation or total != options.count else 0


if __name__ == "__main__":
    sys.exit(main())
