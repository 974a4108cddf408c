"""Following a drill from its begin to its end: a live line on a terminal, a line for each phase on a pipe."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pycarpd.cli.common import write_line
from pycarpd.cli.render import make_console
from pycarpd.control.reports import Report, report
from pycarpd.control.status import DrillStatus, Status

POLL_S = 0.2
MISSES_MAX = 50
"""A daemon that does not answer for ten seconds has other troubles; the drill goes on or not without this command."""
MIB = 1 << 20
WORDS = {
    "begin": "beginning",
    "prove": "proving the files and laying them out",
    "restore": "restoring, by mfsmaster in a directory of its own",
    "check": "checking what was restored",
}

Look = Callable[[], Status | Report]


@dataclass(frozen=True, slots=True)
class Following:
    """Where to look, and which drill: the first with a number above ``before``."""

    look: Look
    before: int

    def on_terminal(self) -> DrillStatus | Report:
        """Show a spinner with the phase, its time and mfsmaster's memory; returns the outcome."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=make_console(), transient=True) as progress:
            task = progress.add_task(WORDS["begin"], total=None)
            return self._until_over(lambda drill: progress.update(task, description=_line(drill)))

    def as_lines(self) -> DrillStatus | Report:
        """Write a line for each phase; returns the outcome."""
        told: list[str] = []

        def tell(drill: DrillStatus) -> None:
            words = WORDS.get(drill.phase or "", drill.phase or "")
            if words not in told[-1:]:
                told.append(words)
                write_line(words)

        return self._until_over(tell)

    def silently(self) -> DrillStatus | Report:
        """Return the outcome."""
        return self._until_over(lambda _: None)

    def _until_over(self, show: Callable[[DrillStatus], None]) -> DrillStatus | Report:
        misses = 0
        while True:
            answer = self.look()
            if isinstance(answer, Report):
                misses += 1
                if misses > MISSES_MAX:
                    return answer
            elif answer.drill is None:
                return report("drill-not-standby", "this node is a witness")
            elif answer.drill.number > self.before and answer.drill.phase is None:
                return answer.drill
            else:
                misses = 0
                show(answer.drill)
            time.sleep(POLL_S)


def _line(drill: DrillStatus) -> str:
    memory = f", {drill.memory_bytes // MIB} MiB" if drill.memory_bytes else ""
    return WORDS.get(drill.phase or "", drill.phase or "") + memory


def outcome_text(drill: DrillStatus) -> str:
    """Return what a successful drill has shown, in a sentence."""
    seconds = (drill.duration_ms or 0) / 1000
    memory = (drill.memory_bytes or 0) // MIB
    what = f"version {drill.version} with {drill.inode_count} inodes was restored as the files prove it"
    return f"{what}: {seconds:.1f} s, {memory} MiB"


def trouble_of(drill: DrillStatus) -> Report | None:
    """Return why the drill has not shown that this host could take over, None if it has."""
    if drill.outcome_number != drill.number:
        return report("drill-cancelled", "something more important came up")
    match drill.outcome:
        case "ok":
            return None
        case "skipped":
            return report("drill-skipped", drill.why or "")
        case _:
            return report("drill-failed", drill.why or "", value=drill.code)
