"""pycarpd simulate: rehearse whole clusters under faults, and tell which rule was broken by which seed."""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pycarpd.cli.common import ExitCode
from pycarpd.cli.render import make_console
from pycarpd.election.model import Arbiter
from pycarpd.sim import coverage, shrink
from pycarpd.sim.rehearsal import Result, draw, perform
from pycarpd.sim.world import WorldOptions

SEEDS_MAX = 10_000_000
JOBS_MAX = 256
CHUNK = 20
SHRUNK_MAX = 3
"""How many failing seeds are made smaller; the others are only named."""
NS_PER_MS = 1_000_000
COMPLETE_FROM = 3000
"""From how many seeds on a branch that never occurred is told as a fault of the rehearsal."""


SIMULATE_EPILOG = f"""\b
WHAT IS TOLD
  A progress bar with the time that is left, then the share of seeds in which each fault, change of role and rare
  branch occurred. Of each broken rule its seed, its name and the smallest list of faults found that breaks it too,
  with all that happened. S1 to S13 are the safety rules, P1 is of pauses, L1 to L3 ask that somebody serves in the
  end and that the others could, B1 is a bug that was noticed.

\b
EXIT STATUS
  0  no rule was broken
  1  a rule was broken, or in {COMPLETE_FROM} seeds or more something that was to be rehearsed never occurred
  2  wrong usage

\b
EXAMPLES
  pycarpd simulate --seeds 20000 --jobs 2
  pycarpd simulate --seeds 5000 --first 20000 --arbiter none
  pycarpd simulate --seed 4711 --transcript
"""


class Umpire(Enum):
    """Who decides in the rehearsed clusters."""

    DRAWN = "drawn"
    MAJORITY = "majority"
    ETCD = "etcd"
    NONE = "none"


def umpires() -> dict[Umpire, Arbiter | None]:
    """Return whom each word means; None: the seed draws it."""
    return {Umpire.DRAWN: None, Umpire.MAJORITY: Arbiter.MAJORITY, Umpire.ETCD: Arbiter.ETCD, Umpire.NONE: Arbiter.NONE}


def option_of(arbiter: Arbiter | None) -> str:
    """Return the option that rehearses a seed again as it was."""
    return "" if arbiter is None else f" --arbiter {arbiter.value}"


@dataclass(slots=True)
class Account:
    """What a campaign has found so far."""

    seeds: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)
    exposed: int = 0
    exposure_max_ns: int = 0
    slowest_ns: int = 0

    def add(self, result: Result) -> None:
        """Count one rehearsal."""
        self.seeds += 1
        self.counted.update(set(result.marks))
        self.exposed += bool(result.exposure_ns)
        self.exposure_max_ns = max(self.exposure_max_ns, result.exposure_max_ns)
        self.slowest_ns = max(self.slowest_ns, result.converged_ns)
        if result.violation:
            self.failures.append(result)


def rehearse_all(seeds: range, arbiter: Arbiter | None, jobs: int) -> Iterator[list[Result]]:
    """Rehearse the seeds in chunks, in *jobs* processes; a chunk's results come when it is done."""
    chunks = (seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK))
    if jobs == 1:
        yield from (rehearse(chunk, arbiter) for chunk in chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        # Only so many are handed out at a time that an endless campaign fits into memory.
        while batch := list(islice(chunks, 4 * jobs)):
            yield from pool.map(rehearse, batch, [arbiter] * len(batch))


def rehearse(seeds: range, arbiter: Arbiter | None) -> list[Result]:
    """Rehearse some seeds; of those that broke no rule nobody wants to read the history."""
    results = (perform(draw(seed, arbiter)) for seed in seeds)
    return [result if result.violation else replace(result, history=()) for result in results]


def simulate(
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="Rehearse this one alone, and tell it.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, max=SEEDS_MAX, help="How many.")] = 1000,
    first: Annotated[int, typer.Option("--first", metavar="N", min=0, help="The first seed.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=0, max=JOBS_MAX, help="Processes; 0: all.")] = 0,
    arbiter: Annotated[Umpire, typer.Option("--arbiter", help="Who decides; drawn: the seed says.")] = Umpire.DRAWN,
    transcript: Annotated[
        bool, typer.Option("--transcript", help="With --seed: tell every fault and change of role.")
    ] = False,
) -> None:
    """Rehearse clusters in virtual time, their faults drawn from seeds, and check every rule after every event.

    Each seed is a cluster of its own: how many nodes and witnesses, who decides, how fast disks and clocks are, which
    versions take part, and some kinds of faults with their moments: lost, late, doubled, replayed and forged adverts,
    cuts in one direction or two, stopped processes, machines that stand still with their clocks, power that is lost in
    the middle of a write, steps that fail or hang, operators. The real election, codec and takeover runner run on
    simulated hosts, and what is checked is what is true there: whose address answers, which files lie where. Then a
    majority is mended, and has to converge within a bound that follows from the settings.

    The same seed gives the same rehearsal. Nothing on this host is touched.
    """
    decides = umpires()[arbiter]
    if seed is not None:
        _tell_one(seed, decides, is_long=transcript)
        return
    account = _campaign(range(first, first + seeds), decides, jobs or os.cpu_count() or 1)
    never = _tell_shares(account, decides)
    _tell_failures(account, decides)
    if account.failures or (never and account.seeds >= COMPLETE_FROM):
        raise typer.Exit(ExitCode.FAILED)


def _campaign(seeds: range, arbiter: Arbiter | None, jobs: int) -> Account:
    account = Account()
    columns = (TextColumn("rehearsals"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=make_console(to_stderr=True)) as progress:
        task = progress.add_task("", total=len(seeds))
        for results in rehearse_all(seeds, arbiter, jobs):
            for result in results:
                account.add(result)
            progress.update(task, advance=len(results), description=f"{len(account.failures)} failed")
    return account


def _tell_one(seed: int, arbiter: Arbiter | None, *, is_long: bool) -> None:
    console = make_console()
    scenario, result = shrink.shrink(seed, arbiter)
    if not result.violation:
        console.print(f"seed {seed}: no rule was broken; converged after {result.converged_ns / NS_PER_MS:.0f} ms")
        if is_long:
            console.print("\n".join(result.history), highlight=False, soft_wrap=True)
        return
    console.print(f"seed {seed}: {result.violation}", highlight=False, soft_wrap=True)
    console.print(f"{_cluster(scenario.options)}; faults needed:", highlight=False)
    console.print("\n".join(shrink.describe(scenario.moments)) or "none", highlight=False)
    console.print("what happened:")
    console.print("\n".join(result.history), highlight=False, soft_wrap=True)
    raise typer.Exit(ExitCode.FAILED)


def _cluster(options: WorldOptions) -> str:
    witnesses = f", {len(options.witnesses)} of them witnesses" if options.witnesses else ""
    preempting = ", preempting" if options.preempt else ""
    return f"{options.nodes} nodes{witnesses}, arbiter {options.arbiter.value}{preempting}"


def _tell_shares(account: Account, arbiter: Arbiter | None) -> list[str]:
    """Show how often what occurred; return what never did, though it should."""
    who = "drawn" if arbiter is None else arbiter.value
    table = Table("what occurred", "share of seeds", title=f"{account.seeds} rehearsals, arbiter {who}")
    never = []
    for name, share in coverage.shares(account.counted, account.seeds, arbiter):
        table.add_row(name, f"{share:.2%}")
        if not share:
            never.append(name)
    console = make_console()
    console.print(table)
    if never:
        mood = "nothing can be said of" if account.seeds >= COMPLETE_FROM else "not met by so few seeds"
        console.print(f"{mood}: {'; '.join(never)}")
    console.print(f"slowest convergence of a mended majority: {account.slowest_ns / NS_PER_MS:.0f} ms")
    if account.exposed:
        console.print(
            f"two served at once after a host's clock had stood still: in {account.exposed} rehearsals, "
            f"for {account.exposure_max_ns / NS_PER_MS:.0f} ms at most (see README: frozen virtual machines)"
        )
    return never


def _tell_failures(account: Account, arbiter: Arbiter | None) -> None:
    console = make_console()
    if not account.failures:
        console.print(f"no rule was broken in {account.seeds} rehearsals")
        return
    for result in account.failures:
        console.print(f"seed {result.seed}: {result.violation[:200]}", highlight=False, soft_wrap=True)
        console.print(f"  pycarpd simulate --seed {result.seed}{option_of(arbiter)}", highlight=False)
    for result in account.failures[:SHRUNK_MAX]:
        scenario, smaller = shrink.shrink(result.seed, arbiter)
        console.print(f"seed {result.seed}: {_cluster(scenario.options)}, with {len(scenario.moments)} faults:")
        lines = [*shrink.describe(scenario.moments), *smaller.history]
        console.print("\n".join(lines), highlight=False, soft_wrap=True)
