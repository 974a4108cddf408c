"""How quickly changelogs are proved: read whole, and at a takeover on a host that has followed them.

The changelogs are made here, with the mixture of operations of a busy file system. Scanning is measured in processor
time, since it is to be known for one core of a machine that does other things too; what a takeover waits for, proving
and laying out, in real time: once by a process that begins with nothing, and once by one that has followed the files,
after some more changes have come. Both must prove the same version, or there is no figure.
"""

import json
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pycarpd.moosefs.chain import Chain, ChainRefusal
from pycarpd.moosefs.changelog import scan as scan_changelog
from pycarpd.moosefs.follower import ChainFollower

_FIRST = 10_000_000
_METAID = 77
_MS = 1_000_000
_SOME_MORE = 5_000
_WRITE_LINES = 100_000
_OPERATIONS = (
    "CREATE(1,file{0},1,420,18,0,0,0):{0}",
    "ACCESS({0})",
    "WRITE({0},0,1,0):{0}",
    "LENGTH({0},1024,0,1)",
    "UNLINK(1,some%20name{0}):{0}",
    "ATTR({0},420,0,0,1795405401,1795405401,0,0)",
)
_ODD = "CREATE(1,a: b|c{0},1,420,18,0,0,0):{0}"


@dataclass(frozen=True, slots=True)
class Scanned:
    """One cold scan of a changelog: megabytes (10^6) a second of one core, and by how much the process grew."""

    what: str
    lines: int
    megabytes: float
    megabytes_per_s: float
    grown_mb: float


@dataclass(frozen=True, slots=True)
class Assembled:
    """What a takeover waits for between stopping the metalogger and starting mfsmaster, in milliseconds."""

    lines: int
    megabytes: float
    cold_prove_ms: float
    cold_lay_out_ms: float
    followed_prove_ms: float
    followed_lay_out_ms: float


def measure_scans(directory: Path, lines: int, rounds: int) -> Iterator[Scanned]:
    """Yield the scan of usual lines, and of lines of which one in a hundred has a name that looks like a line."""
    for what, odd_every in (("usual names", 0), ("1 name in 100 with ': ' and '|'", 100)):
        path = directory / "changelog_ml.0.mfs"
        write_log(path, _FIRST, lines, odd_every)
        size = path.stat().st_size / 1e6
        scans = [_scan_apart(path, lines) for _ in range(rounds)]
        speed, grown = statistics.median(size / seconds for seconds, _ in scans), max(grown for _, grown in scans)
        yield Scanned(what, lines, round(size, 1), round(speed), round(grown, 1))
        path.unlink()


def measure_takeover(directory: Path, lines: int) -> Assembled:
    """Return what proving and laying out *lines* changes costs cold, and after having followed them."""
    data = directory / "data"
    data.mkdir()
    live = data / "changelog_ml.0.mfs"
    (data / "metadata_ml.mfs.back").write_bytes(_base(_FIRST))
    write_log(live, _FIRST, lines)
    followed = ChainFollower(data, directory / "prepared")
    _follow_all(followed, directory)
    write_log(live, _FIRST + lines, _SOME_MORE, append=True)
    total = lines + _SOME_MORE
    warm = _take_over(followed, directory / "warm", total)
    cold = _take_over(ChainFollower(data, directory / "none"), directory / "cold", total)
    size = live.stat().st_size / 1e6
    for name in ("data", "warm", "cold", "prepared"):
        shutil.rmtree(directory / name, ignore_errors=True)
    return Assembled(total, round(size, 1), *cold, *warm)


def write_log(path: Path, first: int, lines: int, odd_every: int = 0, *, append: bool = False) -> None:
    """Write *lines* changes from number *first* on; of *odd_every* one has a name that looks like a line's head."""
    with path.open("a" if append else "w", encoding="ascii") as file:
        for begin in range(first, first + lines, _WRITE_LINES):
            numbers = range(begin, min(begin + _WRITE_LINES, first + lines))
            file.write("".join(_line(number, odd_every) for number in numbers))


def _line(number: int, odd_every: int) -> str:
    is_odd = odd_every and number % odd_every == 0
    # Mixed by multiplication, so that neighbours differ without a rhythm, and every run writes the same.
    operation = _ODD if is_odd else _OPERATIONS[(number * 2_654_435_761 >> 8) % len(_OPERATIONS)]
    return f"{number}: {1_795_405_401 + number // 1000}|{operation.format(number)}\n"


def _base(version: int) -> bytes:
    nodes = struct.pack(">II", 2, 1) + bytes(64)
    return (
        b"MFSM 2.0"
        + struct.pack(">QQ", version, _METAID)
        + b"NODE 1.4"
        + struct.pack(">Q", len(nodes))
        + nodes
        + b"[MFS EOF MARKER]"
    )


def _scan_apart(path: Path, lines: int) -> tuple[float, float]:
    """Scan in a process of its own; returns its processor seconds, and by how many megabytes it grew at most."""
    ran = subprocess.run(
        (sys.executable, "-m", "benchmarks.scan", str(path), str(lines)),
        stdout=subprocess.PIPE,
        timeout=600,
        check=True,
    )
    seconds, grown = json.loads(ran.stdout)
    return float(seconds), float(grown)


def scan_here(path: Path, lines: int) -> tuple[float, float]:
    """Scan *path*; see _scan_apart(). RuntimeError when it was not read for what it is."""
    before_mb = _peak_mb()
    began = time.process_time()
    found = scan_changelog(path)
    took = time.process_time() - began
    if len(found.segments) != 1 or found.segments[0].last != _FIRST + lines - 1:
        raise RuntimeError("the changelog was not read for what it is: the figure would be of something else")
    return took, _peak_mb() - before_mb


def _peak_mb() -> float:
    """Return the most memory that this program has had; what getrusage(2) tells is as large as its parent was."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def _follow_all(follower: ChainFollower, directory: Path) -> None:
    """Let the follower do as many rounds as a standby would until its copy is complete."""
    copied = -1
    while True:
        _proved(follower.follow(expected_metaid=_METAID))
        size = sum(path.stat().st_size for path in (directory / "prepared").glob("*"))
        if size == copied:
            return
        copied = size


def _take_over(follower: ChainFollower, staging: Path, lines: int) -> tuple[float, float]:
    began_ns = time.perf_counter_ns()
    chain = _proved(follower.prove(expected_metaid=_METAID))
    proved_ns = time.perf_counter_ns()
    follower.lay_out(chain, staging)
    ended_ns = time.perf_counter_ns()
    if chain.version != _FIRST + lines:
        raise RuntimeError(f"version {chain.version} was proved")
    return round((proved_ns - began_ns) / _MS, 1), round((ended_ns - proved_ns) / _MS, 1)


def _proved(found: Chain | ChainRefusal) -> Chain:
    if isinstance(found, ChainRefusal):
        raise TypeError(found.text)
    return found


def scan(
    lines: Annotated[list[int] | None, typer.Option(help="Length of a tail; give it several times.")] = None,
    scanned: Annotated[int, typer.Option(min=1000, help="Lines of a cold scan.")] = 3_000_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Scans of each kind.")] = 5,
    directory: Annotated[Path | None, typer.Option(help="Where to write: three times 55 bytes a line.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Where the raw figures go, a JSON line each.")] = None,
) -> None:
    """Measure how quickly changelogs are proved: whole, and at a takeover after having followed them."""
    console = Console()
    scratch = Path(tempfile.mkdtemp(prefix="pycarpd-scan-", dir=directory))
    try:
        with console.status("writing and scanning"):
            scans = list(measure_scans(scratch, scanned, rounds))
        console.print(_scan_table(scans))
        takeovers = []
        for count in lines or [100_000, 1_000_000, 10_000_000]:
            with console.status(f"taking over {count} changes"):
                takeovers.append(measure_takeover(scratch, count))
        console.print(_takeover_table(takeovers))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if as_json is not None:
        records = [asdict(each) for each in scans] + [asdict(each) for each in takeovers]
        as_json.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")


def _scan_table(scans: list[Scanned]) -> Table:
    table = Table(title=f"cold scan, Python {platform.python_version()} on {platform.machine()}")
    for column in ("lines", "MB", "MB/s of a core", "grown by MB"):
        table.add_column(column, justify="right")
    table.add_column("names")
    for each in scans:
        table.add_row(
            f"{each.lines}", f"{each.megabytes:.0f}", f"{each.megabytes_per_s:.0f}", f"{each.grown_mb}", each.what
        )
    return table


def _takeover_table(takeovers: list[Assembled]) -> Table:
    table = Table(title="milliseconds of a takeover: prove + lay out")
    for column in ("changes", "MB", "beginning with nothing", "having followed"):
        table.add_column(column, justify="right")
    for each in takeovers:
        cold = f"{each.cold_prove_ms:.0f} + {each.cold_lay_out_ms:.0f}"
        warm = f"{each.followed_prove_ms:.0f} + {each.followed_lay_out_ms:.0f}"
        table.add_row(f"{each.lines}", f"{each.megabytes:.0f}", cold, warm)
    return table


if __name__ == "__main__":
    sys.stdout.write(json.dumps(scan_here(Path(sys.argv[1]), int(sys.argv[2]))))
