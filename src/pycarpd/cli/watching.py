"""The live status: a screen that redraws itself, or lines for a pipe. A daemon that is away is shown, not fatal."""

import itertools
import time
from collections.abc import Callable, Iterator

from rich.console import RenderableType
from rich.live import Live

from pycarpd.cli.common import write_line
from pycarpd.cli.render import full_report, make_console, status_screen
from pycarpd.control.reports import Report
from pycarpd.control.status import CommandAnswer, Status

Look = Callable[[], Status | Report]


def watch_on_terminal(look: Look, interval_s: float, count: int) -> None:
    """Redraw the status screen every *interval_s* until Ctrl-C, or *count* times."""
    console = make_console()
    with Live(console=console, screen=count == 0, auto_refresh=False) as live:
        for answer in _looks(look, interval_s, count):
            live.update(_screen(answer), refresh=True)


def watch_as_lines(look: Look, interval_s: float, count: int, *, as_json: bool) -> None:
    """Write one JSON object a look, or one line for each look that differs from the one before."""
    previous = ""
    for answer in _looks(look, interval_s, count):
        line = _json_line(answer) if as_json else _text_line(answer)
        if as_json or line != previous:
            stamp = "" if as_json or isinstance(answer, Report) else f"{answer.time} "
            write_line(stamp + line)
        previous = line


def _looks(look: Look, interval_s: float, count: int) -> Iterator[Status | Report]:
    for number in itertools.count(1):
        yield look()
        if number == count:
            return
        time.sleep(interval_s)


def _screen(answer: Status | Report) -> RenderableType:
    return full_report(answer) if isinstance(answer, Report) else status_screen(answer)


def _json_line(answer: Status | Report) -> str:
    if isinstance(answer, Status):
        return answer.model_dump_json(by_alias=True)
    return CommandAnswer(done=False, reports=(answer,)).model_dump_json(by_alias=True)


def _text_line(answer: Status | Report) -> str:
    if isinstance(answer, Report):
        return answer.line
    vip = "held" if answer.vip.held else "away"
    members = " ".join(f"{each.name}={each.role or '-'}" for each in answer.members)
    return f"{answer.node} {answer.role} term {answer.term} master {answer.master or 'NONE'} VIP {vip} {members}"
