"""pycarpctl: asks the pycarpd of this host how things are, and tells it what to do."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from pycarpd.cli.common import HELP_SETTINGS, ExitCode, control_socket, tell, write_line
from pycarpd.cli.doctor import diagnose, show
from pycarpd.cli.drilling import Following, outcome_text, trouble_of
from pycarpd.cli.render import history_table, make_console, status_screen
from pycarpd.cli.watching import watch_as_lines, watch_on_terminal
from pycarpd.config import DEFAULT_PATH
from pycarpd.control.client import ControlClient, Reply
from pycarpd.control.health import cluster_health
from pycarpd.control.reports import Report, closest, explanations, report
from pycarpd.control.status import CommandAnswer, DrillStatus, HistoryAnswer, Model, Status

M = TypeVar("M", bound=Model)

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
  pycarpctl pause                   this host does not take over, until resume
  pycarpctl doctor                  what could keep a takeover from succeeding, and what to do
  pycarpctl drill                   on a standby: rehearse the restore that a takeover needs
  pycarpctl switchover              on the master: move it to the best standby, nothing is lost
  pycarpctl resign                  on the master: give the role away, whatever that may lose
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
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="PYCARPD_CONFIG",
        help="The daemon's configuration. [default: /etc/pycarpd/pycarpd.toml]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON with a versioned schema instead of text.")]
LocalJson = Annotated[bool, typer.Option("--json", help="The same as --json before the command.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask, even on a terminal.")]


@app.callback()
def options(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take the options that stand before the command."""
    context.obj = Options(config, as_json)


@app.command(short_help="Show who is master and why, and each member.")
def status(context: typer.Context, as_json: LocalJson = False) -> None:
    """Show who is master and why, each member, and what needs attention.

    Behind counts the metadata versions that would be lost if this member took over now; Takeover says whether it
    could, or why not. A role in brackets is the last one heard of. Exits 0 when healthy, 3 without a master, 4 when
    degraded.
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


@app.command(short_help="Move the master to another host without losing an operation.")
def switchover(
    context: typer.Context,
    to: Annotated[str | None, typer.Option("--to", metavar="NODE", help="Who succeeds. [default: the best]")] = None,
    yes: YesOption = False,
    as_json: LocalJson = False,
) -> None:
    """Move the master to another host, asked of the master.

    Clients are held, not refused, while the successor's files become level with the master's to the last version; only
    then the old mfsmaster is ended and the successor promoted. Where anything is not level the master serves on and the
    exit status is 1. Without --to the freshest standby succeeds, among equals the one with the highest priority. On a
    terminal it asks first. It begins within five seconds, when the chunkservers will be back soonest, and ends when the
    successor serves.
    """
    _confirm(f"The master moves to {to or 'the best standby'}; clients wait for about a second. Go on?", yes=yes)
    arguments = {} if to is None else {"to": to}
    with make_console(to_stderr=True).status("clients are held, files are made level, the successor starts ..."):
        answer = _ask_command(context, "switchover", arguments)
    _tell_answer(answer, as_json=as_json or context.obj.as_json)


@app.command(short_help="Rehearse on this standby whether it could take over.")
def drill(context: typer.Context, as_json: LocalJson = False) -> None:
    """Restore this standby's metadata in a scratch directory, by mfsmaster itself, and compare the version.

    The running mfsmaster, the files and the service are not touched; it runs at the lowest priority and waits for
    everything else. Shows how far it is, and exits 0 when the restore came to the version that the files prove.
    """
    as_json = as_json or context.obj.as_json

    def look() -> Status | Report:
        return _ask_model(context, "/status", Status)

    before = look()
    number = before.drill.number if isinstance(before, Status) and before.drill is not None else 0
    answer = _ask_command(context, "drill", {})
    if isinstance(answer, Report) or not answer.done:
        _tell_answer(answer, as_json=as_json)
    following = Following(look, number)
    if as_json:
        outcome = following.silently()
    else:
        outcome = following.on_terminal() if sys.stdout.isatty() else following.as_lines()
    if isinstance(outcome, Report):
        _fail((outcome,), as_json=as_json)
    _tell_drill(outcome, as_json=as_json)


def _tell_drill(outcome: DrillStatus, *, as_json: bool) -> NoReturn:
    trouble = trouble_of(outcome)
    if as_json:
        write_line(outcome.model_dump_json())
    elif trouble is None:
        write_line(outcome_text(outcome))
    else:
        tell((trouble,), as_json=False)
    raise typer.Exit(ExitCode.DONE if trouble is None else ExitCode.FAILED)


@app.command(short_help="Report everything that could keep this host from taking over.")
def doctor(context: typer.Context, as_json: LocalJson = False) -> None:
    """Report everything that could keep this host or the cluster from a takeover, each with what to do.

    Looks at the configuration and the host as `pycarpd check` does, at the running daemon, and at every member as this
    node hears it. Changes nothing. Exits 0 when there is nothing to do, 4 for warnings, 1 for what has to be mended.
    """
    config = context.obj.config or Path(DEFAULT_PATH)
    diagnosis = diagnose(config, _ask_model(context, "/status", Status))
    show(diagnosis, as_json=as_json or context.obj.as_json)
    raise typer.Exit(diagnosis.exit_code)


@app.command(short_help="Make a new, empty file system: only where there is none.")
def bootstrap(
    context: typer.Context,
    yes: YesOption = False,
    force: Annotated[
        str | None, typer.Option("--force", metavar="CODE", help="Answer for what the refusal of that code names.")
    ] = None,
    as_json: LocalJson = False,
) -> None:
    """Make the metadata of a new, empty file system on this host, which then becomes its master.

    Refused when any member has metadata of a file system, or is not heard and might have. On a terminal it asks first;
    anywhere else it needs --yes.
    """
    as_json = as_json or context.obj.as_json
    if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        _fail((report("bootstrap-unconfirmed", "--yes is missing"),), as_json=as_json)
    _confirm("This makes a NEW, EMPTY file system. Go on?", yes=yes)
    _tell_answer(_ask_command(context, "bootstrap", {} if force is None else {"force": force}), as_json=as_json)


@app.command(short_help="Make this host's master give its role away.")
def resign(context: typer.Context, yes: YesOption = False, as_json: LocalJson = False) -> None:
    """Make the master of this host give its role to the next candidate.

    mfsmaster is stopped here and another host promotes; clients wait meanwhile. Refused where nobody could take over.
    On a terminal it asks first.
    """
    _confirm("mfsmaster on this host is stopped and another host takes over. Go on?", yes=yes)
    _command(context, "resign", as_json=as_json)


@app.command(short_help="Keep this host from taking over.")
def pause(context: typer.Context, yes: YesOption = False, as_json: LocalJson = False) -> None:
    """Keep this host from taking over, until resume; neither a restart of pycarpd nor of the host ends it.

    A host that is paused votes, and counts in the quorum.

    A master that is paused goes on serving. Where every host is paused nobody takes over if the master is lost. The
    status of every member says who is paused.
    """
    _confirm("This host votes, and does not take over, until `pycarpctl resume`. Go on?", yes=yes)
    _command(context, "pause", as_json=as_json)


@app.command()
def resume(context: typer.Context, as_json: LocalJson = False) -> None:
    """End this host's pause."""
    _command(context, "resume", as_json=as_json)


@app.command("confirm-dead", short_help="Say that a lost member is dead for certain.")
def confirm_dead(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The member, by its name under cluster.members.")],
    yes: YesOption = False,
    as_json: LocalJson = False,
) -> None:
    """Say that a lost member is dead for certain, so that this host may serve although it could not be fenced.

    Only where cluster.fence_command is set and has failed. Holds for ten minutes, or until the member is heard again.
    On a terminal it asks first.
    """
    _confirm(f"If {node} serves still, there are two masters and one history is lost. Is it off for certain?", yes=yes)
    _tell_answer(_ask_command(context, "confirm-dead", {"node": node}), as_json=as_json or context.obj.as_json)


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


def _command(context: typer.Context, name: str, *, as_json: bool) -> None:
    _tell_answer(_ask_command(context, name, {}), as_json=as_json or context.obj.as_json)


def _ask_command(context: typer.Context, name: str, arguments: dict[str, str]) -> CommandAnswer | Report:
    client = _client(context)
    reply = client if isinstance(client, Report) else client.post(f"/{name}", arguments)
    return reply if isinstance(reply, Report) else _parsed(reply, CommandAnswer)


def _tell_answer(answer: CommandAnswer | Report, *, as_json: bool) -> NoReturn:
    if isinstance(answer, Report):
        _fail((answer,), as_json=as_json)
    if as_json:
        write_line(answer.model_dump_json(by_alias=True))
    else:
        tell(answer.reports, as_json=False)
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
