"""How a status looks on a terminal: one screen of 80 columns and 24 lines for a cluster of three.

Only drawing is done here; what is well and what is not is decided by ``control.health``.
"""

import os
import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pycarpd.control.health import findings
from pycarpd.control.reports import Report, Severity
from pycarpd.control.status import MemberStatus, Status, Transition

PLAIN_WIDTH = 80
"""Output that is not a terminal is laid out for this, or for COLUMNS where it is set."""
REPORTS_SHOWN_MAX = 8
PHASES_SHOWN_MAX = 5
OLD_MS = 5000
SILENT_STATES = ("late", "lost", "never heard")

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
    """Return how many versions a member is behind the newest known, or a dash; and how old that is, when it is old."""
    version, age_ms = member.freshness.version, member.freshness.age_ms
    if version is None or newest is None:
        return "-"
    return str(newest - version) + (f" ({age_text(age_ms)})" if age_ms is not None and age_ms >= OLD_MS else "")


def status_screen(status: Status) -> RenderableType:
    """Return the whole screen: header, members, footers."""
    parts: list[RenderableType] = [_header(status), _member_table(status), *_vip_lines(status)]
    if status.last_transition is not None:
        parts += _transition_lines(status.last_transition)
    parts += report_lines(findings(status))
    return Group(*parts)


def wall_time(iso: str) -> str:
    """Return an ISO 8601 time to the second, with a space, as people read it; the zone is UTC everywhere."""
    return iso[:19].replace("T", " ")


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
    for name in ("Term", "Prio", "Version", "Behind", "Heard"):
        table.add_column(name, justify="right", no_wrap=True)
    # The one column that gives way on a narrow terminal; the whole sentence stands among the reports.
    table.add_column(Text("Takeover", no_wrap=True, overflow="ellipsis"))
    newest = max((each.freshness.version or 0 for each in status.members), default=0) or None
    for member in status.members:
        table.add_row(*_member_row(member, newest))
    return table


def _member_row(member: MemberStatus, newest: int | None) -> tuple[str | Text, ...]:
    heard = {"self": "self", "never heard": "never"}.get(member.state, age_text(member.last_heard_ms))
    fresh = member.freshness
    return (
        member.name,
        member.address,
        _role_text(member),
        _number(member.term),
        _number(member.priority),
        _number(fresh.version),
        behind_text(member, newest),
        Text(heard, "bold red" if member.state in ("lost", "never heard") else ""),
        takeover_text(member),
    )


def _role_text(member: MemberStatus) -> Text:
    """Return the role; that of a member that has fallen silent is only what it was when it was last heard."""
    role = member.role or "-"
    if member.state in SILENT_STATES and member.role is not None:
        return Text(f"({role})", "dim")
    return Text(role, _ROLE_STYLE.get(role, ""))


def takeover_text(member: MemberStatus) -> Text:
    """Return whether the member could take over right now: serves, yes, or no with the reason."""
    if member.is_witness:
        words, style = "witness", ""
    elif member.state in ("lost", "never heard"):
        words, style = "no: not heard", "red"
    elif member.role == "MASTER":
        words, style = "serves", "green"
    elif member.role in ("PROMOTING", "DEMOTING", "SUSPENDED", "FAULT"):
        words, style = f"no: {member.role}", "red"
    elif member.paused:
        words, style = "no: paused", "yellow"
    elif not member.freshness.promotable:
        words, style = f"no: {member.freshness.why_not or 'no reason is known'}", "red"
    else:
        words, style = ("yes, demoted" if member.demotion else "yes"), "green"
    return Text(words, style, no_wrap=True, overflow="ellipsis")


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _vip_lines(status: Status) -> list[Text]:
    fence = {True: "fence open", False: "fence closed", None: "no fence"}[status.vip.fence_open]
    held = "held here" if status.vip.held else "not here"
    lease = "" if status.lease_remaining_ms is None else f", lease {status.lease_remaining_ms} ms"
    quorum = f"{status.quorum.heard} of {len(status.members)} heard, {status.quorum.needed} needed"
    lines = [Text(f"VIP {held}, {fence}{lease}; quorum {'yes' if status.quorum.has else 'NO'}: {quorum}")]
    fresh = status.freshness
    if fresh.metaid is not None:
        drill = "" if fresh.drill_age_s is None else f", drill {age_text(fresh.drill_age_s * 1000)} ago"
        proved = "" if not fresh.proved_version else f", proved {fresh.proved_version}"
        lines.append(Text(f"metadata {fresh.metaid}, version {fresh.version}{proved}{drill}"))
    return lines


def _transition_lines(last: Transition) -> list[RenderableType]:
    change = f"{last.from_role} -> {last.to_role}, term {last.term}"
    lines = [Text(f"last change here: {change}, {wall_time(last.time)} UTC"), Text(f"because: {cause_text(last)}")]
    if last.phases:
        # A takeover has more steps than a line has room for: the slowest are what one wants to see.
        slowest = set(sorted(last.phases, key=lambda name: -last.phases[name])[:PHASES_SHOWN_MAX])
        shown = ", ".join(f"{name} {ms}" for name, ms in last.phases.items() if name in slowest)
        lines.append(Text(f"took {sum(last.phases.values())} ms: {shown}"))
    if last.failed_step is not None:
        lines.append(Text(f"failed at: {last.failed_step}", "bold red"))
    if last.operations_lost:
        lines.append(Text(f"operations lost: {last.operations_lost}", "bold red"))
    return [lines[0], *(Padding(line, (0, 0, 0, 2)) for line in lines[1:])]


def cause_text(change: Transition) -> str:
    """Return why the role changed; of a promotion also why it began."""
    return change.cause if change.opened_by is None else f"{change.opened_by}; {change.cause}"


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
    """Return the transitions as a table, newest last; what each came from is the row above."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("Time (UTC)", "Role"):
        table.add_column(name, no_wrap=True)
    for name in ("Term", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Cause", overflow="fold")
    for each in transitions:
        took = str(sum(each.phases.values())) if each.phases else "-"
        role = Text(each.to_role, _ROLE_STYLE.get(each.to_role, ""))
        table.add_row(wall_time(each.time), role, str(each.term), took, _history_cause(each))
    return table


def _history_cause(each: Transition) -> Text:
    failed = "" if each.failed_step is None else f" ({each.failed_step})"
    text = Text(each.cause + failed)
    if each.operations_lost:
        text.append(f"; operations lost: {each.operations_lost}", "bold red")
    return text
