"""The status page for a browser: the same facts as ``pycarpctl status``, refreshed by itself, without scripts."""

from html import escape

from pycarpd.control.health import findings
from pycarpd.control.status import MemberStatus, Status

REFRESH_S = 2

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}"
    ".MASTER{font-weight:700}.error{color:#c22}.warning{color:#a60}:root{color-scheme:light dark}"
)
_COLUMNS = ("Node", "Address", "Role", "Term", "Priority", "Version", "Heard", "Why not")


def html_page(status: Status) -> str:
    """Return the page; every value is escaped, whoever it came from."""
    title = f"{status.node}: {status.role}"
    rows = "".join(_row(member) for member in status.members)
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    notes = "".join(f'<li class="{each.severity}">{escape(each.line)}</li>' for each in findings(status))
    vips = ", ".join(status.vip.addresses)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="refresh" content="{REFRESH_S}"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><p>VHID {status.vhid}, VIP {escape(vips)}, term {status.term}, "
        f"master {escape(status.master or 'none')}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><ul>{notes}</ul>"
        f"<p>{escape(status.time)}</p></body></html>\n"
    )


def _row(member: MemberStatus) -> str:
    heard = member.state if member.last_heard_ms is None else f"{member.last_heard_ms} ms ago"
    role = member.role or "-"
    cells = (
        member.name,
        member.address,
        role,
        member.term,
        member.priority,
        member.freshness.version,
        heard,
        member.freshness.why_not,
    )
    text = "".join(f"<td>{escape('-' if cell is None else str(cell))}</td>" for cell in cells)
    return f'<tr class="{role}">{text}</tr>'
