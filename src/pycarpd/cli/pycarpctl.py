"""pycarpctl: asks the pycarpd of this host how things are, and tells it what to do."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from pycarpd.cli.common import HELP_SETTINGS, ExitCode, control_socket, tell, write_line
from pycarpd.cli.render import history_table, make_console, status_screen
from pycarpd.cli.watching import watch_as_lines, watch_on_terminal
from pycarpd.control.client import ControlClient, Reply
from pycarpd.control.health import cluster_health
from pycarpd.control.reports import Report, closest, explanations, report
from pycarpd.control.status import CommandAnswer, HistoryAnswer, Model, Status

PAUSE_MAX_S = 7 * 86_400
M = TypeVar("M", bound=Model)
_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

EPILOG = """\b
EXIT STATUS
  0  done; for status: the cluster is healthy
  1  refused or failed; the reports say why
  2  wrong usage
  3  no master is known (status)
  4  degraded: there is a master, and something needs attention (status)

\b
FILES
  /etc/pycarpd/pycarpd.toml   the daemon's configuration; only node.run_dir is read from it
  /run/pycarpd/control.sock   the control socket, in node.run_dir; root only

\b
EXAMPLES
  pycarpctl status                  who is master and why, and who could take over
  pycarpctl --json status           the same for scripts; the names in it are stable
  pycarpctl watch                   the same, live; Ctrl-C ends it
  pycarpctl pause                   no automatic takeover while you work on the network
  pycarpctl resign                  on the master: give the role to the next candidate
  pycarpctl explain config-two-nodes
"""

app = typer.Typer(
    name="pycarpctl",
    help="Ask the pycarpd of this host how things are, and tell it what to do.",
    epilog=EPILOG,
    context_settings=dict(HELP_SETTINGS),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True, slots=True)
class Options:
    """The options that stand before the command."""

    config: Path | None
    as_json: bool


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The daemon's configuration. [default: /etc/pycarpd/pycarpd.toml]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON with a versioned schema instead of text.")]
LocalJson = Annotated[bool, typer.Option("--json", help="The same as --json before the command.")]
TtlOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="For how long: a number with s, m, h or d; at most 7d. [default: until resume]"),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask, even on a terminal.")]


@app.callback()
def options(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take the options that stand before the command."""
    context.obj = Options(config, as_json)


@app.command(short_help="Show who is master and why, and each member.")
def status(context: typer.Context, as_json: LocalJson = False) -> None:
    """Show who is master and why, each member, and what needs attention.

    Behind counts metadata versions after the newest known; Age is how old that knowledge is; Why not says why a
    member could not take over right now. Exits 0 when healthy, 3 without a master, 4 when degraded.
    """
    as_json = as_json or context.obj.as_json
    answer = _ask_model(context, "/status", Status)
    if isinstance(answer, Report):
        _fail((answer,), as_json=as_json)
    if as_json:
        write_line(answer.model_dump_json(by_alias=True))
    else:
        make_console().print(status_screen(answer))
    raise typer.Exit(cluster_health(answer).value)


@app.command()
def watch(
    context: typer.Context,
    interval: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds between two looks.")] = 1.0,
    count: Annotated[int, typer.Option(min=0, help="End after that many looks; 0 means never.")] = 0,
    as_json: LocalJson = False,
) -> None:
    """Show the status live. On a pipe: one line for each change, or one JSON object for each look."""
    as_json = as_json or context.obj.as_json

    def look() -> Status | Report:
        return _ask_model(context, "/status", Status)

    try:
        if sys.stdout.isatty() and not as_json:
            watch_on_terminal(look, interval, count)
        else:
            watch_as_lines(look, interval, count, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.DONE) from None


@app.command(short_help="Show this node's changes of role.")
def history(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many changes to show.")] = 20,
    as_json: LocalJson = False,
) -> None:
    """Show this node's changes of role: when, why, how long they took, what they cost."""
    as_json = as_json or context.obj.as_json
    answer = _ask_model(context, "/history", HistoryAnswer)
    if isinstance(answer, Report):
        _fail((answer,), as_json=as_json)
    kept = answer.model_copy(update={"transitions": answer.transitions[-last:]})
    if as_json:
        write_line(kept.model_dump_json(by_alias=True))
        return
    make_console().print(history_table(kept.transitions))
    if kept.damaged_lines:
        tell((report("history-damaged", f"{kept.damaged_lines} lines were skipped"),), as_json=False)


@app.command(short_help="Make this host's master give its role away.")
def resign(context: typer.Context, yes: YesOption = False, as_json: LocalJson = False) -> None:
    """Make the master of this host give its role to the next candidate.

    mfsmaster is stopped here and another host promotes; clients wait meanwhile. Refused where nobody could take over.
    On a terminal it asks first.
    """
    _confirm("mfsmaster on this host is stopped and another host takes over. Go on?", yes=yes)
    _command(context, "resign", {}, as_json=as_json)


@app.command(short_help="Stop automatic takeover for a while.")
def pause(
    context: typer.Context,
    ttl: TtlOption = None,
    yes: YesOption = False,
    as_json: LocalJson = False,
) -> None:
    """Stop automatic takeover in the whole cluster until resume, or for a while.

    The master goes on serving. If it is lost meanwhile nobody takes over. Every status says that it is paused.
    """
    seconds = None if ttl is None else parse_duration(ttl)
    if ttl is not None and seconds is None:
        raise typer.BadParameter("a number with s, m, h or d, from 1s to 7d, such as 30m", param_hint="--ttl")
    _confirm(f"Nobody takes over {f'for {ttl}' if ttl else 'until resume'} if the master is lost. Go on?", yes=yes)
    args = {} if seconds is None else {"ttl_s": seconds}
    _command(context, "pause", args, as_json=as_json)


@app.command()
def resume(context: typer.Context, as_json: LocalJson = False) -> None:
    """End a pause before its time."""
    _command(context, "resume", {}, as_json=as_json)


@app.command(short_help="Explain a report's code.")
def explain(
    context: typer.Context,
    code: Annotated[str | None, typer.Argument(metavar="[CODE]", help="As it stands in a report's brackets.")] = None,
) -> None:
    """Explain a report's code at length; without a code, list them all."""
    known = explanations()
    if code is None:
        for each in known.values():
            write_line(f"{each.code:34} {each.summary}")
        return
    if code not in known:
        near = closest(code, known)
        hint = f"did you mean {near!r}?" if near else None
        _fail((report("unknown-code", f"{code!r} is not known", hint=hint),), as_json=context.obj.as_json)
    found = known[code]
    write_line(f"{found.code} ({found.severity})\n\n{found.summary}.\n\n{found.text}\n\nWhat to do: {found.hint}.")
    if found.force_code:
        write_line(f"Overridden by: --force {found.force_code}")


def parse_duration(text: str) -> int | None:
    """Return seconds of a number with its unit (90s, 30m, 1h, 2d) between 1 second and 7 days, or None."""
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNIT_S[found[2]] if found else 0
    return seconds if 1 <= seconds <= PAUSE_MAX_S else None


def _client(context: typer.Context) -> ControlClient | Report:
    path = control_socket(context.obj.config)
    return path if isinstance(path, Report) else ControlClient(path)


def _ask_model(context: typer.Context, target: str, model: type[M]) -> M | Report:
    client = _client(context)
    reply = client if isinstance(client, Report) else client.get(target)
    return reply if isinstance(reply, Report) else _parsed(reply, model)


def _parsed(reply: Reply, model: type[M]) -> M | Report:
    try:
        return TypeAdapter(model).validate_json(reply.text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "answer"
        return report("control-bad-answer", f"HTTP {reply.status}, {where}: {first['msg']}")


def _command(context: typer.Context, name: str, args: dict[str, int], *, as_json: bool) -> None:
    as_json = as_json or context.obj.as_json
    client = _client(context)
    reply = client if isinstance(client, Report) else client.post(f"/{name}", args)
    answer = reply if isinstance(reply, Report) else _parsed(reply, CommandAnswer)
    if isinstance(answer, Report):
        _fail((answer,), as_json=as_json)
    if as_json:
        write_line(answer.model_dump_json(by_alias=True))
    else:
        tell(answer.reports, as_json=False)
        if answer.done:
            write_line("done")
    raise typer.Exit(ExitCode.DONE if answer.done else ExitCode.FAILED)


def _fail(reports: tuple[Report, ...], *, as_json: bool) -> NoReturn:
    tell(reports, as_json=as_json)
    raise typer.Exit(ExitCode.FAILED)


def _confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal only: a script has decided already."""
    if not yes and sys.stdin.isatty() and sys.stdout.isatty() and not typer.confirm(question):
        raise typer.Exit(ExitCode.FAILED)


def main() -> None:
    """Run the command line; the exit status is one of ExitCode."""
    app()
