"""``pycarpd check``: the configuration, its secret files and the host, judged together."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.text import Text

from pycarpd.cli.common import write_line
from pycarpd.cli.host_checks import host_reports
from pycarpd.cli.render import full_report, make_console
from pycarpd.config import Config, DerivedTimes, Loaded, check_files, derived_times, load
from pycarpd.control.reports import Report, Severity


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a check found; ``config`` and ``times`` are None where the configuration itself is refused."""

    path: Path
    config: Config | None
    times: DerivedTimes | None
    reports: tuple[Report, ...]


def check_host(path: Path) -> Findings:
    """Return every problem of the configuration in *path*, its secret files and this host."""
    loaded = load(path)
    if not isinstance(loaded, Loaded):
        return Findings(path, None, None, loaded)
    config = loaded.config
    reports = loaded.notes + check_files(config) + host_reports(config)
    return Findings(path, config, derived_times(config), reports)


def show_findings(findings: Findings, *, as_json: bool) -> None:
    """Write the findings to standard output: gravest first, then the derived times, then a count."""
    if as_json:
        write_line(_json(findings))
        return
    console = make_console()
    for each in sorted(findings.reports, key=lambda one: -one.severity.rank):
        console.print(full_report(each), soft_wrap=not console.is_terminal)
    if findings.config is not None and findings.times is not None:
        for line in _facts(findings.config, findings.times):
            console.print(Text(line), soft_wrap=True)
    console.print(Text(_summary(findings)), soft_wrap=True)


def _json(findings: Findings) -> str:
    times = None if findings.times is None else asdict(findings.times)
    reports = [each.as_json() for each in findings.reports]
    return json.dumps({"schema": 1, "file": str(findings.path), "times": times, "reports": reports})


def _facts(config: Config, times: DerivedTimes) -> list[str]:
    cluster = config.cluster
    witnesses = len(cluster.witnesses)
    vips = ", ".join(cluster.virtual_addresses)
    lines = [
        f"node {config.node.name}, VHID {cluster.vhid} on {cluster.interface}, VIP {vips}",
        f"members {len(cluster.members)}, of which witnesses {witnesses}; arbiter {cluster.arbiter}",
        f"advert interval {times.advert_interval_ms} ms, skew {times.skew_ms:.1f} ms",
        f"master-down interval {times.master_down_ms:.1f} ms",
        f"worst-case detection {times.worst_detection_ms:.1f} ms, by the last {times.last_turn_ms:.1f} ms",
    ]
    if cluster.arbiter == "none":
        lines.append('this cluster can split: arbiter = "none"')
    return lines


def _summary(findings: Findings) -> str:
    count = {severity: sum(each.severity is severity for each in findings.reports) for severity in Severity}
    if not count[Severity.ERROR] and not count[Severity.WARNING]:
        return f"{findings.path}: no problem found"
    words = (_counted(count[severity], severity) for severity in (Severity.ERROR, Severity.WARNING))
    return f"{findings.path}: {', '.join(words)}"


def _counted(number: int, severity: Severity) -> str:
    return f"{number} {severity}" if number == 1 else f"{number} {severity}s"
