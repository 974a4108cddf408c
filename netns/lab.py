"""The command ``./netns/lab``: clusters that stay, with a shell into any host and faults by name."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from netns.cluster import REPOSITORY, Cluster, Options
from netns.commands import LaboratoryError, end, eventually, spawn
from netns.exposure import chosen, run, table
from netns.faults import FAULTS, heal, inject
from netns.moosefs import answers
from netns.owner import Owner, Record, reap, records
from netns.pycarpd import COMMANDS, Settings

_UP_WITHIN_S: Final = 180.0
_DOWN_WITHIN_S: Final = 60.0
HOSTS_OF_A_MAJORITY: Final = 3
"""Of two hosts none is a majority: that cluster has to be able to split, or stands still when one dies."""

EPILOG: Final = """\b
HOSTS
  m1 m2 m3     192.0.2.11-13   metadata hosts: pycarpd, and mfsmaster or mfsmetalogger
  cs1 ...      192.0.2.21-     chunkservers
  c1 ...       192.0.2.31-     clients, each with the file system mounted
  the VIP      192.0.2.100     `mfsmaster` on every host

\b
FILES
  /tmp/pc<pid>-*/              everything of one cluster: configurations, data, logs, switch.pcap, netlink.jsonl
  /run/pycarpd-lab/*.json      which clusters stand, and whose they are

\b
EXAMPLES
  ./netns/lab up --background          a cluster of three metadata hosts that stays until `down`
  ./netns/lab status                   who is MASTER, who has the VIP, does the mount answer
  ./netns/lab fault crash m1           the host of the master dies
  ./netns/lab heal crash m1            it is booted again
  ./netns/lab shell m2                 a shell on m2: `pycarpctl watch`, `ip addr`, `tcpdump`
  ./netns/lab exec m2 pycarpctl status
  ./netns/lab down
"""

app = typer.Typer(
    name="lab",
    help="Clusters in network namespaces with a real MooseFS: put up, look into, break, take down.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

LabOption = Annotated[str, typer.Option("--lab", metavar="PREFIX", help="Which cluster, when there are several.")]
HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="m1.., cs1.. or c1..")]
FaultArgument = Annotated[str, typer.Argument(metavar="FAULT", help="A name from `./netns/lab faults`.")]
ValueArgument = Annotated[str, typer.Argument(metavar="[ARGUMENT]", help="What the fault takes, if anything.")]


@app.command()
def up(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    hosts: Annotated[int, typer.Option(min=1, max=9, help="Metadata hosts.")] = 3,
    chunkservers: Annotated[int, typer.Option(min=1, max=9, help="Chunkservers.")] = 1,
    clients: Annotated[int, typer.Option(min=1, max=9, help="Clients with a mount.")] = 1,
    profile: Annotated[str, typer.Option(help="default, fast or ucarp.")] = "default",
    arbiter: Annotated[
        str, typer.Option(help="majority or none. [default: majority; none below three hosts]", show_default=False)
    ] = "",
    manual: Annotated[bool, typer.Option("--manual", help="MooseFS started by hand on m1; no pycarpd.")] = False,
    small_disks: Annotated[bool, typer.Option("--small-disks", help="DATA_PATH on 96 MB, for disk-full.")] = False,
    background: Annotated[bool, typer.Option("--background", help="Return when the cluster is ready.")] = False,
) -> None:
    """Put a cluster up and hold it until Ctrl-C, or in the background until `down`."""
    for prefix in reap():
        console.print(f"cleared away what {prefix} had left")
    if background:
        _up_in_background([word for word in sys.argv[1:] if word != "--background"])
        return
    settings = Settings(profile, arbiter or ("majority" if hosts >= HOSTS_OF_A_MAJORITY else "none"))
    size_mb = 96 if small_disks else 0
    options = Options(hosts, chunkservers, clients, small_disk_mb=size_mb, settings=settings)
    with contextlib.suppress(KeyboardInterrupt), Owner(handle_signals=True, is_standing=True) as owner:
        _hold(owner, options, is_manual=manual)


@app.command()
def status(lab: LabOption = "") -> None:
    """Say who is MASTER, who has the VIP, where mfsmaster runs and whether each mount answers."""
    cluster = _attach(lab)
    table = Table(title=f"{cluster.topology.prefix} in {cluster.directory}", title_justify="left")
    for heading in ("host", "address", "role", "could take over", "VIP", "mfsmaster"):
        table.add_column(heading)
    serving, holding = cluster.moosefs.serving_hosts(), cluster.topology.holders_of()
    for host, said in cluster.statuses().items():
        promotable = "yes" if said.is_promotable else said.why_not or "no"
        marks = ("yes" if host in holding else "", "runs" if host in serving else "")
        address = cluster.topology.hosts[host].address
        table.add_row(host, address, said.role or "(no answer)", "" if said.role == "MASTER" else promotable, *marks)
    console.print(table)
    for client in cluster.clients:
        point = cluster.topology.host_directory(client) / "mnt"
        console.print(f"{client}: {point} {'answers' if answers(point) else 'does not answer'}")


@app.command()
def shell(host: HostArgument, lab: LabOption = "") -> None:
    """Open a shell on a host."""
    cluster = _attach(lab)
    environment = _environment(cluster, host) | {"PS1": f"{cluster.topology.prefix} {host}# "}
    console.print(f"this is {host}; try `pycarpctl status`; `exit` leaves it as it is")
    argv = cluster.topology.inside(host, "bash", "--norc", "-i")
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - the person's own shell takes this process over


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(host: HostArgument, command: Annotated[list[str], typer.Argument()], lab: LabOption = "") -> None:
    """Run a command on a host and end with its exit status."""
    cluster = _attach(lab)
    argv = cluster.topology.inside(host, *command)
    os.execvpe(argv[0], argv, _environment(cluster, host))  # noqa: S606 - the command takes this process over


@app.command()
def faults() -> None:
    """List the faults and what each takes."""
    table = Table(box=None, pad_edge=False)
    table.add_column("fault", no_wrap=True)
    table.add_column("what it does")
    for entry in FAULTS.values():
        table.add_row(entry.name, entry.summary)
        if entry.argument:
            usual = f" [default: {entry.default}]" if entry.default else ""
            table.add_row("", Text(f"  {entry.argument}{usual}"))
    console.print(table)


@app.command()
def fault(name: FaultArgument, host: HostArgument, argument: ValueArgument = "", lab: LabOption = "") -> None:
    """Bring a fault about on a host."""
    event = inject(_attach(lab), name, host, argument)
    console.print(f"{host}: {f'{name} {event.argument}'.strip()}; `./netns/lab heal {name} {host}` mends it")


@app.command("heal")
def heal_command(name: FaultArgument, host: HostArgument, argument: ValueArgument = "", lab: LabOption = "") -> None:
    """Mend a fault on a host."""
    heal(_attach(lab), name, host, argument)
    console.print(f"{host}: {name} is mended")


@app.command()
def down(
    lab: LabOption = "",
    every: Annotated[bool, typer.Option("--all", help="Every cluster that `up` has put up.")] = False,
) -> None:
    """Take a cluster down; what owners that are gone have left is cleared away as well."""
    for prefix in reap():
        console.print(f"{prefix} was left behind and is gone")
    for record in _standing() if every else [_record(lab)]:
        os.kill(record.pid, signal.SIGTERM)
        _wait_gone(record)
        console.print(f"{record.prefix} is gone")


@app.command()
def exposure(
    words: Annotated[
        str, typer.Option("--only", metavar="WORDS", help="Scenarios with these words in their names.")
    ] = "",
    long: Annotated[bool, typer.Option("--long", help="Every duration of a pause, and a minute of flapping.")] = False,
    as_json: Annotated[Path | None, typer.Option("--json", help="Append the figures there, a line each.")] = None,
) -> None:
    """Play the scenarios of split brain and measure how long two hosts answered for the VIP in each."""
    reap()
    seen = []
    try:
        for outcome in run(chosen(words, is_long=long), as_json, console.print):
            seen.append(outcome)
            console.print(f"  exposure {outcome.exposure_ms:.1f} ms, the client waited {outcome.gap_ms:.0f} ms")
    finally:
        console.print(table(seen))


def _wait_gone(record: Record) -> None:
    eventually(lambda: not record.path.exists(), _DOWN_WITHIN_S, f"{record.prefix} is taken down")


def _hold(owner: Owner, options: Options, *, is_manual: bool) -> NoReturn:
    began = time.monotonic()
    console.print(f"putting {', '.join(options.names)} up in {owner.directory}")
    cluster = Cluster.build(owner, options)
    (cluster.start_manual if is_manual else cluster.start)(console.print)
    _mark_ready(owner)
    console.print(f"ready after {time.monotonic() - began:.1f} s; Ctrl-C or `./netns/lab down` takes it down")
    while True:
        signal.pause()


def _mark_ready(owner: Owner) -> None:
    options: dict[str, Any] = owner.record.options or {}
    owner.describe(owner.record.hosts, options | {"is_ready": True})


def _up_in_background(arguments: list[str]) -> None:
    # Outside the laboratory's directory: when the cluster cannot be put up, that one is gone again.
    number, name = tempfile.mkstemp(prefix="pycarpd-lab-", suffix=".log")
    os.close(number)
    process = spawn([sys.executable, "-m", "netns.lab", *arguments], Path(name), cwd=REPOSITORY)

    def settled() -> bool:
        return process.poll() is not None or _is_ready(process)

    try:
        eventually(settled, _UP_WITHIN_S, "the cluster is ready", every_s=0.1)
    except LaboratoryError:
        end(process, gently_s=_DOWN_WITHIN_S)
        raise
    print(Path(name).read_text(), end="")
    if process.poll() is not None:
        raise LaboratoryError(f"the cluster could not be put up; see {name}")


def _is_ready(process: subprocess.Popen[bytes]) -> bool:
    return any(r.pid == process.pid and (r.options or {}).get("is_ready") for r in records())


def _standing() -> list[Record]:
    return [record for record in records() if record.is_standing]


def _record(prefix: str) -> Record:
    standing = [record for record in records() if record.prefix == prefix] if prefix else _standing()
    if not standing:
        raise LaboratoryError("no such cluster stands; `./netns/lab up` puts one up")
    if len(standing) > 1:
        raise LaboratoryError(
            f"several stand, say which with --lab after the command's name: {', '.join(r.prefix for r in standing)}"
        )
    return standing[0]


def _attach(prefix: str) -> Cluster:
    return Cluster.attach(_record(prefix))


def _environment(cluster: Cluster, host: str) -> dict[str, str]:
    if host not in cluster.topology.hosts:
        raise LaboratoryError(f"there is no host {host!r}; there are: {', '.join(cluster.topology.hosts)}")
    path = f"{COMMANDS}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    return dict(os.environ) | {"PATH": path, "PYCARPD_CONFIG": str(cluster.daemons.config(host))}


def main() -> None:
    """Run the command; a laboratory's fault is one line and exit status 1."""
    try:
        app(prog_name="./netns/lab")
    except LaboratoryError as error:
        print(f"lab: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
