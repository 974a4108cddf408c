"""Planned switchovers under load: how long clients wait, what the time goes into, and whether anything is lost.

One cluster, writers that create, write, fsync and close small files all the while, and the master moved to and fro by
`pycarpctl switchover`. Clients' figures come from the writers' own logs, the phases from the daemons'. At the end every
acknowledged file is read back through a fresh mount.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.results import Raw, raw_path, write_records
from benchmarks.stand import machine
from benchmarks.summary import Spread
from netns.cluster import Cluster, Options
from netns.commands import boottime_ns
from netns.owner import Owner, reap
from netns.pycarpd import Settings
from netns.writer import Verdict, Writer, read_log

DONE: Final = "switchover-done"
SERIES_PER_CLIENT: Final = 2
FILES_BEFORE: Final = 40
FILES_WITHIN_S: Final = 30.0
COMMAND_WITHIN_S: Final = 60.0
READY_WITHIN_S: Final = 60.0
CALM_S: Final = 1.0
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
_STEP = re.compile(r"plan=(\w+) term=\d+ step=([\w-]+) verb=run ms=(\d+)")


@dataclass(frozen=True, slots=True)
class Move:
    """One switchover; ``code`` is the command's report.

    ``gap_ms`` is the longest time for which any of the writers, of any client, waited for its next file.
    ``steps_ms`` are the plans' steps on both hosts, in the order in which they ended.
    """

    number: int
    old: str
    new: str
    code: str
    message: str
    gap_ms: float
    steps_ms: tuple[tuple[str, int], ...]
    kind: str = field(default="switchover")


def run_moves(cluster: Cluster, writer: Writer, count: int, limit_s: float) -> Iterator[Move]:
    """Move the master *count* times, each time when every standby could take over; none begins after *limit_s*."""
    writer.wait_for(FILES_BEFORE, FILES_WITHIN_S)
    deadline = time.monotonic() + limit_s
    for number in range(1, count + 1):
        if time.monotonic() > deadline:
            return
        old = cluster.wait_ready(READY_WITHIN_S)
        time.sleep(CALM_S)
        yield _move(cluster, writer, number, old)


def _move(cluster: Cluster, writer: Writer, number: int, old: str) -> Move:
    read_from = {host: len(_log(cluster, host)) for host in cluster.daemons.hosts}
    began_ns = boottime_ns()
    _, output = cluster.daemons.control(old, "switchover", "--json", timeout_s=COMMAND_WITHIN_S)
    report = json.loads(output.splitlines()[0])["reports"][0]
    new = str(report["key"] or old)
    writer.wait_after(boottime_ns(), FILES_WITHIN_S)
    time.sleep(CALM_S)
    steps = [step for host in (old, new) for step in _STEP.findall(_log(cluster, host)[read_from[host] :])]
    return Move(
        number,
        old,
        new,
        report["code"],
        report["message"],
        _gap_ms(writer, began_ns),
        tuple((f"{plan}: {step}", int(ms)) for plan, step, ms in steps),
    )


def _log(cluster: Cluster, host: str) -> str:
    return cluster.daemons.log(host).read_text(errors="replace")


def _gap_ms(writer: Writer, began_ns: int) -> float:
    """Return the longest time that any series of files went without one, from about that moment on.

    Series are told by the first letter of their names. One that has not gone on by now waits until now; what kept it
    is not told again of the moves that follow.
    """
    now_ns, from_ns = boottime_ns(), began_ns - round(CALM_S * NS_PER_S)
    done: dict[str, list[int]] = {}
    for file in read_log(writer.log)[0]:
        done.setdefault(file.name[0], []).append(file.done_ns)
    gaps = [(a, b) for each in done.values() for a, b in pairwise([*each, now_ns]) if b > began_ns and a > from_ns]
    return max(((b - a) / NS_PER_MS for a, b in gaps), default=0.0)


def switchover(
    count: Annotated[int, typer.Option(min=1, max=200, help="How often the master moves.")] = 20,
    clients: Annotated[int, typer.Option(min=1, max=9)] = 1,
    chunkservers: Annotated[int, typer.Option(min=1, max=9)] = 1,
    profile: Annotated[str, typer.Option(help="default or fast.")] = "default",
    huge_pages: Annotated[
        bool, typer.Option("--huge-pages/--kernels-policy", help="Whether mfsmaster gets them in any case.")
    ] = True,
    limit_min: Annotated[float, typer.Option(min=1, help="Move it no more after so many minutes.")] = 30,
    as_json: Raw = None,
) -> None:
    """Move the master to and fro under load: how long clients wait, and whether anything is lost.

    Ends with 1 if anything was lost, refused or left waiting, or not every switchover was done.
    """
    reap()
    settings = Settings(profile=profile, arbiter="majority", huge_pages=huge_pages)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    moves: list[Move] = []
    with Owner(handle_signals=True) as owner, Progress(*columns) as progress:
        task = progress.add_task("switchover", total=count)
        cluster = Cluster.build(owner, Options(clients=clients, chunkservers=chunkservers, settings=settings))
        conditions = {"kind": "machine", **machine()}
        cluster.start()
        raw = raw_path(as_json, "switchover")
        mounts = [cluster.mounts[client] for client in cluster.clients for _ in range(SERIES_PER_CLIENT)]
        writer = Writer(owner, mounts[0], "load", others=tuple(mounts[1:]))
        for move in run_moves(cluster, writer, count, limit_min * 60):
            moves.append(move)
            write_records(raw, [conditions, *map(asdict, moves)])
            said = f"{move.number}: {move.old} -> {move.new} {move.code}, longest write gap {move.gap_ms:.0f} ms"
            progress.console.print(said, markup=False, highlight=False)
            progress.advance(task)
        report = writer.stop()
        verdict = _verdict(cluster, writer)
    refused, stuck = len(report.errors), report.stuck
    _tell(moves, verdict, refused, stuck)
    told = {"kind": "verdict", **asdict(verdict), "errors": refused, "stuck": stuck}
    write_records(raw, [conditions, *map(asdict, moves), told])
    is_whole = verdict.is_good and not refused and not stuck
    raise typer.Exit(0 if is_whole and len(_done(moves)) == count else 1)


def _verdict(cluster: Cluster, writer: Writer) -> Verdict:
    """Read every acknowledged file back through a mount that has nothing cached."""
    try:
        return writer.verify(cluster.moosefs.mount(cluster.clients[0], "verify"))
    finally:
        cluster.moosefs.unmount(cluster.topology.host_directory(cluster.clients[0]) / "verify")


def _done(moves: list[Move]) -> list[Move]:
    return [move for move in moves if move.code == DONE]


def _tell(moves: list[Move], verdict: Verdict, refused: int, stuck: int) -> None:
    console = Console()
    done = _done(moves)
    spread = Spread.of([move.gap_ms for move in done])
    console.print(
        f"{len(done)} of {len(moves)} switchovers done; longest write gap {spread.text if spread else 'unknown'}"
    )
    lost = verdict.lost + verdict.short + verdict.wrong
    rest = f"{refused} operations refused, {stuck} files still waiting at the end"
    console.print(f"{verdict.checked} acknowledged files read back, {lost} lost; {rest}")
    table = Table(title="what the time goes into, on both hosts")
    for column in ("step", "median ms", "worst ms"):
        table.add_column(column, justify="left" if column == "step" else "right")
    names = dict.fromkeys(name for move in done for name, _ in move.steps_ms)
    for name in names:
        values = [float(ms) for move in done for step, ms in move.steps_ms if step == name]
        found = Spread.of(values)
        if found is not None:
            table.add_row(name, f"{found.median:.0f}", f"{found.worst:.0f}")
    console.print(table)
