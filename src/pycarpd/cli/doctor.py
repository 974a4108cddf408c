"""``pycarpctl doctor``: everything that could keep this host, or the cluster as it hears it, from a takeover.

One report from three sources: the host checks of ``pycarpd check`` on the configuration file, what the running daemon
says of itself and of every member, and what follows from both.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from pycarpd.cli.check import check_host
from pycarpd.cli.common import ExitCode, write_line
from pycarpd.cli.host_checks.tools import run_tool
from pycarpd.cli.render import age_text, full_report, make_console
from pycarpd.control.health import findings
from pycarpd.control.reports import Report, Severity, report, worst
from pycarpd.control.status import Status

LATE_US = 50_000
"""A heartbeat that wakes so late may lose its lease (the election's own bound for a late wake-up)."""
MS_PER_S = 1000
AVERSE = {"host-vip-static"}
"""Checks whose answer the daemon knows better while it runs."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Every report, gravest first, and the status they come from; None where the daemon does not answer."""

    status: Status | None
    reports: tuple[Report, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Return 0 for nothing to do, 4 for warnings, 1 where something must be mended or nobody answers."""
        gravest = worst(self.reports)
        if self.status is None or gravest is Severity.ERROR:
            return ExitCode.FAILED
        return ExitCode.DEGRADED if gravest is Severity.WARNING else ExitCode.DONE


def diagnose(config: Path, answer: Status | Report) -> Diagnosis:
    """Return everything that is wrong: *answer* is the daemon's status, or why there is none."""
    reports = list(check_host(config).reports)
    status = answer if isinstance(answer, Status) else None
    if isinstance(answer, Report):
        reports.append(answer)
    if status is not None:
        reports = [each for each in reports if each.code not in AVERSE or not status.vip.held]
        reports += findings(status)
        reports += _daemon_reports(status)
    reports += _clock_reports()
    distinct = dict.fromkeys((each.code, each.key, each.message) for each in reports)
    kept = {(each.code, each.key, each.message): each for each in reversed(reports)}
    ordered = sorted((kept[key] for key in distinct), key=lambda each: -each.severity.rank)
    return Diagnosis(status, tuple(ordered))


def _daemon_reports(status: Status) -> Iterator[Report]:
    """Yield what the status implies and no report of the daemon says."""
    drill = status.drill
    if drill is not None and status.role == "BACKUP" and drill.at is None and drill.outcome == "never":
        when = "as soon as it has settled" if drill.interval_s else "only by `pycarpctl drill`: [drill] interval_s = 0"
        yield report("drill-never", f"it drills {when}")
    if status.lateness is not None and status.lateness.p99_us >= LATE_US:
        yield report("heartbeat-late", f"one wake-up in a hundred is {status.lateness.p99_us / MS_PER_S:.0f} ms late")
    if status.vip.fence_open is None and not status.is_witness:
        yield report("no-fence", "the kernel closes nothing when this node's lease ends")


def _clock_reports() -> Iterator[Report]:
    if shutil.which("timedatectl") is None:
        return
    outcome = run_tool("timedatectl", "show", "--property", "NTPSynchronized", "--value")
    if outcome.status == 0 and outcome.output == "no":
        yield report("clock-not-synchronised", "times in history and archives may not compare with other hosts'")


def show(diagnosis: Diagnosis, *, as_json: bool) -> None:
    """Write the diagnosis to standard output."""
    if as_json:
        reports = [each.as_json() for each in diagnosis.reports]
        name = diagnosis.status.node if diagnosis.status is not None else None
        write_line(json.dumps({"schema": 1, "node": name, "exit": int(diagnosis.exit_code), "reports": reports}))
        return
    console = make_console()
    for each in diagnosis.reports:
        console.print(full_report(each), soft_wrap=not console.is_terminal)
    for line in _facts(diagnosis.status):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(_summary(diagnosis)), soft_wrap=True)


def _facts(status: Status | None) -> list[str]:
    if status is None:
        return []
    ready = [each.name for each in status.members if each.role == "BACKUP" and each.freshness.promotable]
    lines = [f"{status.node} is {status.role}, term {status.term}; master {status.master or 'NONE'}"]
    lines.append(f"could take over now: {', '.join(ready) or 'nobody'}")
    drill = status.drill
    if drill is not None and drill.version is not None:
        age_s = status.freshness.drill_age_s
        age = age_text(None if age_s is None else age_s * MS_PER_S)
        took = (drill.duration_ms or 0) / MS_PER_S
        lines.append(f"last successful drill: version {drill.version}, {took:.1f} s, {age} ago")
    return lines


def _summary(diagnosis: Diagnosis) -> str:
    counts = {severity: sum(each.severity is severity for each in diagnosis.reports) for severity in Severity}
    if diagnosis.exit_code is ExitCode.DONE:
        return "nothing keeps this host or the cluster from a takeover"
    return f"{counts[Severity.ERROR]} to mend, {counts[Severity.WARNING]} to look at"
