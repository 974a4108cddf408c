"""The command ``./benchmarks/run``."""

import typer

from benchmarks.drill import drill
from benchmarks.election import election
from benchmarks.everything import everything
from benchmarks.hotpath_command import hotpath
from benchmarks.lease_commands import fence, jitter
from benchmarks.report import report
from benchmarks.rpo import rpo
from benchmarks.scale import scale
from benchmarks.scan import scan
from benchmarks.switchover import switchover
from benchmarks.takeover_command import takeover

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command()(takeover)
app.command()(election)
app.command()(hotpath)
app.command()(fence)
app.command()(jitter)
app.command()(scan)
app.command()(switchover)
app.command()(report)
app.command("all")(everything)
app.command()(drill)
app.command()(rpo)
app.command()(scale)


@app.callback()
def main() -> None:
    """Measure pycarpd; each command is bounded in time and says on which machine it ran."""


if __name__ == "__main__":
    app()
