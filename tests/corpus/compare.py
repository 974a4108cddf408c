"""What pycarpd and ``mfsmaster -a`` make of the same damaged directories: ``python tests/corpus/compare.py``, as root.

For each directory of the corpus: what pycarpd proves, and whether a real mfsmaster restores exactly that, file for
file; beside it what ``mfsmaster -a start`` does with it when it is left to itself.
"""

import argparse
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console
from rich.table import Table

from pycarpd.moosefs.chain import Chain, ChainIndex, ChainRefusal, RefusalCode, write_layout
from pycarpd.moosefs.metadata import MetadataHeader, read_header
from tests.corpus.damages import CASES, LOAD_FAILS, Case, Expected
from tests.corpus.history import History, recorded
from tests.corpus.mfs import Ran, restore, start, tree_of
from tests.own_network import own_network

_JOBS = 2
_FIRST_PORT = 10_000
_ports = count(_FIRST_PORT, 10)


class Verdict(Enum):
    """What is to be thought of an outcome."""

    RIGHT = "right"
    REFUSED = "refused"
    GUESSED = "guessed"
    WRONG = "silently wrong"


@dataclass(frozen=True, slots=True)
class Compared:
    """One directory's outcomes; ``ours`` is a version, a refusal's code or LOAD_FAILS."""

    case: Case
    ours: Expected
    our_verdict: Verdict
    theirs: str
    their_verdict: Verdict


@dataclass(slots=True)
class Trees:
    """The file trees of the undamaged history by version, restored once each."""

    history: History
    scratch: Path
    _known: dict[int, list[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, version: int) -> list[str]:
        """Return the tree of *version*, restored by mfsmaster from one base and one whole changelog."""
        with self._lock:
            if version not in self._known:
                data = self.scratch / f"tree-{version}"
                data.mkdir()
                (data / "metadata.mfs.back").write_bytes(self.history.bases[2000])
                (data / "changelog.0.mfs").write_bytes(self.history.log(2000, version - 1))
                if not restore(data):
                    raise RuntimeError(f"mfsmaster does not restore the history to {version}")
                self._known[version] = tree_of(data / "metadata.mfs")
            return self._known[version]


def proved(case: Case, history: History, data: Path, home: Path) -> Chain | ChainRefusal:
    """Build *case* in *data* and *home*, and prove it as a takeover would."""
    case.build(history).write(data, home)
    return ChainIndex(data, (home,)).prove(expected_metaid=history.metaid if case.knows_metaid else None)


def restored(chain: Chain, trees: Trees, data: Path) -> Expected:
    """Lay *chain* out in *data* and let mfsmaster restore it: its version if it is that very file tree."""
    write_layout(chain, data)
    if not restore(data):
        return LOAD_FAILS
    header = read_header(data / "metadata.mfs")
    is_right = isinstance(header, MetadataHeader) and header.version == chain.version and header.metaid == chain.metaid
    if not is_right or tree_of(data / "metadata.mfs") != trees.at(chain.version):
        return f"not what was proved: {header}"
    return chain.version


def compare(case: Case, history: History, trees: Trees, scratch: Path) -> Compared:
    """Let both work on the same directory."""
    here = scratch / case.name
    home = here / "home"
    found = proved(case, history, here / "data", home)
    ours = restored(found, trees, here / "ours") if isinstance(found, Chain) else found.code
    expected = case.outcome(history)
    our_verdict = Verdict.WRONG if ours != expected else Verdict.RIGHT if isinstance(ours, int) else Verdict.REFUSED
    ran = start(here / "data", next(_ports), home)
    theirs, their_verdict = _judge(ran, expected, history)
    shutil.rmtree(here)
    return Compared(case, ours, our_verdict, theirs, their_verdict)


def _judge(ran: Ran, expected: Expected, history: History) -> tuple[str, Verdict]:
    if ran.exit_status is None:
        return "hangs", Verdict.REFUSED
    if ran.exit_status != 0:
        return f"exit status {ran.exit_status}", Verdict.REFUSED
    if ran.live_version is None:
        return "exit status 0, nothing runs", Verdict.WRONG
    complete = expected if isinstance(expected, int) else history.last + 1
    text = f"serves {ran.live_version}"
    if ran.live_metaid != history.metaid:
        return f"{text} of another file system", Verdict.WRONG
    if expected is RefusalCode.DIVERGED:
        return f"{text}, of two histories", Verdict.GUESSED
    return text, Verdict.RIGHT if ran.live_version == complete else Verdict.WRONG


def compare_all(cases: list[Case]) -> Iterator[Compared]:
    """Compare every one of *cases*, in a network of its own."""
    history = recorded()
    scratch = Path(tempfile.mkdtemp(prefix="pycarpd-corpus-"))
    trees = Trees(history, scratch)
    try:
        with own_network(), ThreadPoolExecutor(_JOBS) as pool:
            yield from pool.map(lambda case: compare(case, history, trees, scratch), cases)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> int:
    """Print the table; returns 1 when pycarpd was not right about one directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="the damages whose names have it")
    only = parser.parse_args().only
    cases = [case for case in CASES if only in case.name]
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"{len(cases)} damaged directories; the complete version is {recorded().last + 1}")
    for column in ("damage", "pycarpd", "mfsmaster -a start", ""):
        table.add_column(column)
    results = []
    with console.status("restoring"):
        for each in compare_all(cases):
            results.append(each)
            ours = f"serves {each.ours}" if isinstance(each.ours, int) else f"refuses: {_words(each.ours)}"
            mark = {Verdict.WRONG: "[red]", Verdict.GUESSED: "[yellow]"}.get(each.their_verdict, "")
            table.add_row(each.case.name, ours, each.theirs, f"{mark}{each.their_verdict.value}")
    console.print(table)
    for name, verdicts in (
        ("pycarpd", [each.our_verdict for each in results]),
        ("mfsmaster -a", [each.their_verdict for each in results]),
    ):
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict.value}" for verdict in Verdict)
        console.print(f"{name}: {counts}")
    return int(any(each.our_verdict is Verdict.WRONG for each in results))


def _words(refusal: Expected) -> str:
    return refusal.value if isinstance(refusal, RefusalCode) else str(refusal)


if __name__ == "__main__":
    sys.exit(main())
