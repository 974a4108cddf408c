"""pycarpd: runs the daemon, and checks and prepares a host for it."""

import errno
import importlib
import os
import secrets
from importlib import resources
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pycarpd.cli.check import check_host, show_findings
from pycarpd.cli.common import HELP_SETTINGS, ExitCode, tell, write_line
from pycarpd.cli.simulate import SIMULATE_EPILOG, simulate
from pycarpd.cli.ucarp import ucarp
from pycarpd.config import DEFAULT_PATH
from pycarpd.control.reports import Report, Severity, report, worst
from pycarpd.wire.keys import KEY_BYTES_MIN, generate_key_line

EPILOG = """\b
EXIT STATUS
  0  done; run: a clean stop; check: nothing that would keep the daemon from working
  1  failed, or refused; check: at least one error
  2  wrong usage

\b
FILES
  /etc/pycarpd/pycarpd.toml   the configuration
  /etc/pycarpd/key            the cluster's keys, mode 0600, the same on every member
  /var/lib/pycarpd            terms, votes, journal, history
  /run/pycarpd/control.sock   the control socket that pycarpctl talks to

\b
EXAMPLES
  pycarpd keygen --output /etc/pycarpd/key     once; then copy the file to every member
  pycarpd check                                every problem of file and host at once
  pycarpd systemd-unit > /etc/systemd/system/pycarpd.service
  pycarpd run --config /etc/pycarpd/pycarpd.toml

\b
SEE ALSO
  pycarpctl --help
"""

app = typer.Typer(
    name="pycarpd",
    help="Failover for the MooseFS metadata master.",
    epilog=EPILOG,
    context_settings=dict(HELP_SETTINGS),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path,
    typer.Option("--config", metavar="FILE", envvar="PYCARPD_CONFIG", help="The configuration.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON with a versioned schema instead of text.")]


@app.callback()
def pycarpd() -> None:
    """Failover for the MooseFS metadata master."""


@app.command(short_help="Run the daemon in the foreground.")
def run(config: ConfigOption = Path(DEFAULT_PATH)) -> None:
    """Run the daemon in the foreground until SIGTERM; SIGHUP reloads the configuration.

    Tells systemd when it is ready. On SIGTERM a master hands over before the daemon ends with 0.
    """
    # The supervisor is imported by this command alone: every other one works without the daemon's rooms.
    supervisor = importlib.import_module("pycarpd.daemon.supervisor")
    raise typer.Exit(int(supervisor.run(config)))


@app.command(short_help="Check configuration and host: every problem at once.")
def check(config: ConfigOption = Path(DEFAULT_PATH), as_json: JsonOption = False) -> None:
    """Check the configuration, the secret files and this host: every problem at once.

    Changes nothing and may run beside a working daemon. Prints the times that follow from the settings. Exits 1 if
    there is an error; warnings alone leave 0.
    """
    findings = check_host(config)
    show_findings(findings, as_json=as_json)
    raise typer.Exit(ExitCode.FAILED if worst(findings.reports) is Severity.ERROR else ExitCode.DONE)


@app.command(short_help="Make a key for the cluster.")
def keygen(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write there, mode 0600; never overwritten.")
    ] = None,
) -> None:
    """Make a key for the cluster: one line of 64 hexadecimal digits.

    Without --output the line is printed, to be put at the top of an existing key file.
    """
    line = generate_key_line(secrets.token_bytes(KEY_BYTES_MIN))
    if output is None:
        write_line(line)
        return
    fault = write_new_secret(output, line + "\n")
    if fault is not None:
        _fail(fault)


app.command(short_help="Rehearse clusters under faults in virtual time.", epilog=SIMULATE_EPILOG)(simulate)


@app.command(
    "ucarp",
    short_help="Play the part of a ucarp, with its own options.",
    # Every word is ucarp's, --help included.
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
def play_ucarp(context: typer.Context) -> None:
    """Play the part of a ucarp: the same options, scripts, signals and log lines."""
    ucarp(context.args)


@app.command("systemd-unit")
def systemd_unit() -> None:
    """Print a systemd unit for the daemon."""
    unit = resources.files("pycarpd.cli").joinpath("pycarpd.service").read_text(encoding="utf-8")
    write_line(unit.rstrip("\n"))


def write_new_secret(path: Path, text: str) -> Report | None:
    """Create *path* with mode 0600 and write *text* durably; an existing file is left as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o600)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        code = "file-exists" if error.errno in (errno.EEXIST, errno.ELOOP) else "file-not-written"
        return report(code, error.strerror or str(error), key=str(path))
    return None


def _fail(fault: Report) -> NoReturn:
    tell((fault,), as_json=False)
    raise typer.Exit(ExitCode.FAILED)


def main() -> None:
    """Run the command line; the exit status is one of ExitCode."""
    app()
