"""The command ``./netns/demo``: the master's host dies while a client writes.

Another serves; the old one comes back.
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from netns.cluster import Cluster, Options
from netns.commands import LaboratoryError, boottime_ns, eventually
from netns.faults import heal, inject
from netns.observe import Line, Observer, View
from netns.owner import Owner, reap
from netns.pycarpd import Settings
from netns.timeline import Takeover, takeover
from netns.topology import VIP
from netns.writer import Verdict, Writer, WriterReport, read_log

GAP_LIMIT_MS: Final = {"default": 3000.0, "fast": 3000.0, "ucarp": 7000.0}
_FATES: Final = ("lost", "short", "wrong")
_CLIENTS: Final = 2
_CHUNKSERVERS: Final = 2
"""As many as a chunk has copies: MooseFS lets nobody write to less in the first ten seconds after a start."""
_FILES_BEFORE: Final = 100
_FILES_AFTER: Final = 100
_WRITES_WITHIN_S: Final = 30.0
_RETURN_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict."""

    what: str
    found: str
    wanted: str
    is_good: bool


@dataclass(slots=True)
class Story:
    """What the demonstration has found; filled in as it goes, judged at the end."""

    profile: str
    crashed: str = ""
    change: Takeover | None = None
    writer: WriterReport | None = None
    files: Verdict | None = None
    returned: dict[str, Any] = field(default_factory=dict)
    vip_holders: list[str] = field(default_factory=list)
    serving: list[str] = field(default_factory=list)
    trouble: str = ""

    def checks(self) -> list[Check]:
        """Return the verdict, line by line; nothing that was not reached is good."""
        gap = self.writer.longest_gap_ms if self.writer else None
        limit = GAP_LIMIT_MS.get(self.profile, 3000.0)
        owner = self.change.new_owner if self.change else None
        errors = len(self.writer.errors) if self.writer else None
        counts = self.files.counts() if self.files else {}
        checked = counts.get("checked")
        old = f"{self.returned.get('role') or 'no answer'}" + (
            ", promotable" if self.returned.get("promotable") else ""
        )
        metalogger = "runs" if self.returned.get("metalogger") else "does not run"
        stuck = self.writer.stuck if self.writer else None
        return [
            Check("the writer's longest gap", _ms(gap), f"below {_ms(limit)}", gap is not None and gap < limit),
            Check("files that wait for a lock", _count(stuck), "0", stuck == 0),
            Check("write errors at the client", _count(errors), "0", errors == 0),
            Check("acknowledged files checked", _count(checked), "all", bool(checked)),
            *(Check(f"  of them {fate}", _count(counts.get(fate)), "0", counts.get(fate) == 0) for fate in _FATES),
            Check("new owner of the VIP", owner or "none", f"not {self.crashed}", owner not in (None, self.crashed)),
            Check("hosts that have the VIP", _names(self.vip_holders), "one", self.vip_holders == [owner]),
            Check("hosts with a mfsmaster", _names(self.serving), "the same", self.serving == [owner]),
            Check(f"{self.crashed} after its return", old, "BACKUP, promotable", old == "BACKUP, promotable"),
            Check(f"mfsmetalogger on {self.crashed}", metalogger, "runs", metalogger == "runs"),
        ]

    @property
    def is_good(self) -> bool:
        """True when every line of the verdict is good."""
        return not self.trouble and all(check.is_good for check in self.checks())

    def as_json(self) -> str:
        """Return the whole outcome as one JSON object."""
        fields = {
            "schema": 1,
            "good": self.is_good,
            "profile": self.profile,
            "crashed": self.crashed,
            "new_owner": self.change.new_owner if self.change else None,
            "phases_ms": self.change.phases_ms if self.change else {},
            "longest_gap_ms": round(self.writer.longest_gap_ms, 1) if self.writer else None,
            "acknowledged": self.writer.acknowledged if self.writer else 0,
            "stuck": self.writer.stuck if self.writer else 0,
            "files": self.files.counts() if self.files else None,
            "returned": self.returned,
            "trouble": self.trouble,
            "checks": [asdict(check) for check in self.checks()],
        }
        return json.dumps(fields, indent=2)


class Screen:
    """Where the story is told: line by line; on a terminal with what the hosts do now kept below the newest line."""

    def __init__(self, *, is_plain: bool, to_stderr: bool) -> None:
        self.console = Console(stderr=to_stderr, highlight=False)
        self.began_ns = boottime_ns()
        self.observer: Observer | None = None
        self._live = (
            None
            if is_plain
            else Live(console=self.console, get_renderable=self._render, refresh_per_second=8, transient=True)
        )

    def say(self, text: str) -> None:
        """Add a line of the story, now."""
        line = Line(boottime_ns(), f"[bold]{text}[/bold]")
        if self.observer is None:
            self.tell(line)
        else:
            self.observer.put(line)

    def tell(self, line: Line) -> None:
        """Add a line with a moment of its own."""
        self.console.print(f"{(line.at_ns - self.began_ns) / 1e9:7.2f} s  {line.text}", soft_wrap=self._live is None)

    def start(self) -> None:
        """Begin to show."""
        if self._live is not None:
            self._live.start()

    def stop(self) -> None:
        """End the live part; the lines of the story stay."""
        if self._live is not None:
            self._live.stop()

    def _render(self) -> Group:
        table = Table(title="as seen from outside", title_justify="left", box=SIMPLE_HEAD)
        for heading in ("host", "role on the wire", "term", "last advert", "VIP"):
            table.add_column(heading)
        now_ns = boottime_ns()
        view = self.observer.view if self.observer else View()
        for name, host in view.hosts.items():
            heard = f"{(now_ns - host.heard_ns) / 1e9:.1f} s ago" if host.heard_ns else ""
            table.add_row(name, host.role, str(host.term or ""), heard, "yes" if host.has_vip else "")
        waiting = f", the last {(now_ns - view.written_ns) / 1e9:.1f} s ago" if view.files else ""
        written = Text(f"client: {view.files} files written{waiting}")
        return Group(table, written)


def tell_story(cluster: Cluster, owner: Owner, story: Story, screen: Screen) -> None:
    """Play the demonstration and fill the story in; raises LaboratoryError where it cannot go on."""
    cluster.start(screen.say)
    story.crashed = cluster.wait_ready(_RETURN_WITHIN_S)
    client = cluster.clients[0]
    others = tuple(cluster.mounts[each] for each in cluster.clients[1:])
    writer = Writer(owner, cluster.mounts[client], others=others)
    writer.wait_for(_FILES_BEFORE, _WRITES_WITHIN_S)
    began_ns = boottime_ns()
    try:
        screen.say(f"{story.crashed} dies: no frame passes any more and every process on it is killed")
        began_ns = inject(cluster, "crash", story.crashed).at_ns
        _fail_over(cluster, story, writer, began_ns)
        screen.say(f"booting {story.crashed} again")
        _come_back(cluster, story)
    finally:
        if screen.observer is not None:
            screen.observer.view.is_done = True
        story.writer = writer.stop()
        story.change = _takeover(cluster, writer, began_ns)
    screen.say("reading every acknowledged file back through a fresh mount")
    story.vip_holders = cluster.topology.holders_of(VIP)
    story.serving = cluster.moosefs.serving_hosts()
    story.files = writer.verify(cluster.moosefs.mount(client, "verify"))


def _fail_over(cluster: Cluster, story: Story, writer: Writer, began_ns: int) -> None:
    def has_new_owner() -> bool:
        return _takeover(cluster, writer, began_ns).written_ns is not None

    eventually(has_new_owner, _WRITES_WITHIN_S, f"another host serves after {story.crashed} died", every_s=0.2)
    writer.wait_for(len(read_log(writer.log)[0]) + _FILES_AFTER, _WRITES_WITHIN_S)


def _takeover(cluster: Cluster, writer: Writer, began_ns: int) -> Takeover:
    seen = list(cluster.capture.sightings()) if cluster.capture else []
    return takeover(began_ns, seen, cluster.changes(), read_log(writer.log)[0])


def _come_back(cluster: Cluster, story: Story) -> None:
    heal(cluster, "crash", story.crashed)
    try:
        cluster.wait_standby(story.crashed, _RETURN_WITHIN_S)
    finally:
        status = cluster.daemons.status(story.crashed)
        runs = cluster.moosefs.lock_holder(story.crashed, "mfsmetalogger") is not None
        story.returned = {"role": status.role, "promotable": status.is_promotable, "metalogger": runs}


def _verdict(story: Story) -> Group:
    phases = Table(title="the takeover, from the crash", title_justify="left", box=SIMPLE_HEAD)
    phases.add_column("phase")
    phases.add_column("after", justify="right")
    for name, after_ms in (story.change.phases_ms if story.change else {}).items():
        phases.add_row(name, _ms(after_ms))
    table = Table(title="verdict", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("", "found", "wanted", ""):
        table.add_column(heading)
    for check in story.checks():
        table.add_row(check.what, check.found, check.wanted, "[green]good[/]" if check.is_good else "[red]BAD[/]")
    return Group(phases, table)


def _ms(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.0f} ms"


def _count(value: int | None) -> str:
    return "not known" if value is None else str(value)


def _names(values: list[str]) -> str:
    return ", ".join(values) or "none"


def play(story: Story, options: Options, screen: Screen, *, keep: bool) -> None:
    """Build the cluster, play, take it down; trouble becomes part of the story.

    Files stay when asked or in trouble.
    """
    with Owner(keep_files=keep, handle_signals=True) as owner:
        screen.say(f"building {', '.join(options.names)} in {owner.directory}")
        cluster = Cluster.build(owner, options)
        try:
            with Observer(cluster, screen.tell) as observer:
                screen.observer = observer
                tell_story(cluster, owner, story, screen)
            screen.observer = None
        except LaboratoryError as error:
            story.trouble = str(error)
        owner.keep_files = keep or not story.is_good
        screen.stop()
        if owner.keep_files:
            screen.console.print(f"logs, captures and data stay in {owner.directory}")


def demo(
    hosts: Annotated[int, typer.Option(min=2, max=9, help="Metadata hosts.")] = 3,
    profile: Annotated[str, typer.Option(help="default, fast or ucarp.")] = "default",
    arbiter: Annotated[str, typer.Option(help="majority or none; two hosts can have no majority.")] = "majority",
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON; the timeline to stderr.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep logs, captures and data (kept anyway when bad).")] = False,
) -> None:
    """Crash the master of a real MooseFS while a client writes, and judge the takeover from outside.

    Three metadata hosts, two chunkservers and two clients with real mounts, each in a network namespace. Ends with 0
    when the clients waited less than the limit, every acknowledged file is whole, and the crashed host came back
    as a BACKUP that could take over.
    """
    reap()
    screen = Screen(is_plain=as_json or not sys.stdout.isatty(), to_stderr=as_json)
    story = Story(profile)
    screen.start()
    try:
        settings = Settings(profile, arbiter, huge_pages=True)
        options = Options(hosts=hosts, chunkservers=_CHUNKSERVERS, clients=_CLIENTS, settings=settings)
        play(story, options, screen, keep=keep)
    finally:
        screen.stop()
    screen.console.print(_verdict(story))
    if story.trouble:
        screen.console.print(f"the story ended early: {story.trouble}", style="red", markup=False, soft_wrap=True)
    if as_json:
        print(story.as_json())
    raise typer.Exit(0 if story.is_good else 1)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(demo)
    app(prog_name="./netns/demo")
