"""How a status looks on a terminal: one screen of 80 columns and 24 lines for a cluster of three.

Only drawing is done here; what is well and what is not is decided by ``control.health``.
"""

import os
import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pycarpd.control.health import findings
from pycarpd.control.reports import Report, Severity
from pycarpd.control.status import MemberStatus, Status, Transition

PLAIN_WIDTH = 80
"""Output that is not a terminal is laid out for this, or for COLUMNS where it is set."""
REPORTS_SHOWN_MAX = 8
PHASES_SHOWN_MAX = 8

_ROLE_STYLE = {
    "MASTER": "bold green",
    "PROMOTING": "bold yellow",
    "DEMOTING": "yellow",
    "SUSPENDED": "bold red",
    "FAULT": "bold red",
}
_SEVERITY_STYLE = {Severity.INFO: "dim", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"))


def make_console(*, to_stderr: bool = False) -> Console:
    """Return a console that colours a terminal and writes plain text anywhere else."""
    stream = sys.stderr if to_stderr else sys.stdout
    if stream.isatty():
        return Console(file=stream, highlight=False)
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isascii() and columns.isdigit() and int(columns) > 0 else PLAIN_WIDTH
    return Console(file=stream, width=width, color_system=None, force_terminal=False, highlight=False)


def age_text(milliseconds: int | None) -> str:
    """Return an age in at most five characters: 250ms, 3.2s, 14m, 2h, 9d; a dash for none."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:  # noqa: PLR2004  one second
        return f"{milliseconds}ms"
    seconds = milliseconds / 1000
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:.1f}s"


def behind_text(member: MemberStatus, newest: int | None) -> str:
    """Return how many versions a member is behind the newest known, or a dash."""
    version = member.freshness.version
    return "-" if version is None or newest is None else str(newest - version)


def status_screen(status: Status) -> RenderableType:
    """Return the whole screen: header, members, footers."""
    parts: list[RenderableType] = [_header(status), _member_table(status), *_vip_lines(status)]
    if status.last_transition is not None:
        parts += _transition_lines(status.last_transition)
    parts += report_lines(findings(status))
    return Group(*parts)


def _header(status: Status) -> Text:
    text = Text()
    text.append(f"{status.node} ", "bold")
    text.append(status.role, _ROLE_STYLE.get(status.role, ""))
    master = status.master or "NONE"
    text.append(f"  term {status.term}  master ")
    text.append(master, "bold" if status.master else "bold red")
    text.append(f"  VHID {status.vhid}  VIP {', '.join(status.vip.addresses)} on {status.interface}")
    return text


def _member_table(status: Status) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("Node", "Address", "Role"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in ("Term", "Prio", "Version", "Behind", "Age", "Heard"):
        table.add_column(name, justify="right", no_wrap=True)
    # The one column that gives way on a narrow terminal; the whole sentence stands among the reports.
    table.add_column(Text("Why not", no_wrap=True, overflow="ellipsis"))
    newest = max((each.freshness.version or 0 for each in status.members), default=0) or None
    for member in status.members:
        table.add_row(*_member_row(member, newest))
    return table


def _member_row(member: MemberStatus, newest: int | None) -> tuple[str | Text, ...]:
    role = member.role or "-"
    heard = {"self": "self", "never heard": "never"}.get(member.state, age_text(member.last_heard_ms))
    fresh = member.freshness
    return (
        member.name,
        member.address,
        Text(role, _ROLE_STYLE.get(role, "")),
        _number(member.term),
        _number(member.priority),
        _number(fresh.version),
        behind_text(member, newest),
        age_text(fresh.age_ms),
        Text(heard, "bold red" if member.state in ("lost", "never heard") else ""),
        Text("witness" if member.is_witness else fresh.why_not or "", no_wrap=True, overflow="ellipsis"),
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _vip_lines(status: Status) -> list[Text]:
    fence = {True: "open", False: "closed", None: "none"}[status.vip.fence_open]
    held = "held here" if status.vip.held else "not here"
    lease = "" if status.lease_remaining_ms is None else f", lease {status.lease_remaining_ms} ms"
    quorum = f"{status.quorum.heard} heard of {status.quorum.needed} needed"
    lines = [Text(f"VIP {held}, fence {fence}{lease}; quorum {'yes' if status.quorum.has else 'no'} ({quorum})")]
    fresh = status.freshness
    if fresh.metaid is not None:
        drill = "never drilled" if fresh.drill_age_s is None else f"drill {age_text(fresh.drill_age_s * 1000)} ago"
        proved = "" if not fresh.proved_version else f", proved {fresh.proved_version}"
        lines.append(Text(f"metadata {fresh.metaid} version {fresh.version}{proved}, {drill}"))
    return lines


def _transition_lines(last: Transition) -> list[Text]:
    lines = [Text(f"last change {last.time}: {last.from_role} -> {last.to_role}, term {last.term}, {last.cause}")]
    if last.phases:
        # A takeover has more steps than a line has room for: the slowest are what one wants to see.
        slowest = set(sorted(last.phases, key=lambda name: -last.phases[name])[:PHASES_SHOWN_MAX])
        shown = "  ".join(f"{name} {ms}" for name, ms in last.phases.items() if name in slowest)
        lines.append(Text(f"  phases (ms): {shown}  total {sum(last.phases.values())}"))
    if last.failed_step is not None:
        lines.append(Text(f"  failed at: {last.failed_step}", "bold red"))
    if last.operations_lost:
        lines.append(Text(f"  operations lost: {last.operations_lost}", "bold red"))
    return lines


def report_lines(reports: tuple[Report, ...]) -> list[Text]:
    """Return one line a report, gravest first, bounded; the rest is counted, never silently dropped."""
    ordered = sorted(reports, key=lambda each: -each.severity.rank)
    lines = [Text(each.line, _SEVERITY_STYLE[each.severity]) for each in ordered[:REPORTS_SHOWN_MAX]]
    if len(ordered) > REPORTS_SHOWN_MAX:
        lines.append(Text(f"and {len(ordered) - REPORTS_SHOWN_MAX} more: see --json"))
    return lines


def full_report(each: Report) -> Text:
    """Return a report with its rule and hint, as refusals and checks show it."""
    text = Text(each.line, _SEVERITY_STYLE[each.severity])
    for label, words in (("rule", each.rule), ("next", each.hint)):
        if words:
            text.append(f"\n    {label}: {words}", "none")
    if each.force_code:
        text.append(f"\n    overridden by: --force {each.force_code}", "none")
    return text


def history_table(transitions: tuple[Transition, ...]) -> Table:
    """Return the transitions as a table, newest last."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("Time", "From", "To"):
        table.add_column(name, no_wrap=True)
    table.add_column("Term", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("Lost", justify="right", no_wrap=True)
    table.add_column("Cause", overflow="fold")
    for each in transitions:
        took = str(sum(each.phases.values())) if each.phases else "-"
        cause = each.cause if each.failed_step is None else f"{each.cause} ({each.failed_step})"
        row = (each.time, each.from_role, each.to_role, str(each.term), took, _number(each.operations_lost), cause)
        table.add_row(*row)
    return table
