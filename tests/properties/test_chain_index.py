"""An index that has followed a directory through its life says what a first look at it says."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pycarpd.moosefs.chain import Chain, ChainIndex, prove
from tests.unit.moosefs.files import METAID, line, log, metadata

FIRST = 95
KEPT = 4


class IndexAndFirstLook(RuleBasedStateMachine):
    """A metalogger's directory; every step is something that MooseFS, a crash or an operator does to it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.index = ChainIndex(self.directory)
        self.next = FIRST
        self.torn = b""

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @property
    def live(self) -> Path:
        return self.directory / "changelog_ml.0.mfs"

    def append(self, content: bytes) -> None:
        with self.live.open("ab") as file:
            file.write(content)

    @initialize()
    def begin(self) -> None:
        (self.directory / "metadata_ml.mfs.back").write_bytes(metadata(FIRST))

    @rule(count=st.integers(1, 40), kept=st.integers(0, 50))
    def changes_stream_in(self, count: int, kept: int) -> None:
        last = line(self.next + count)
        self.append(self.torn + log(self.next + bool(self.torn), self.next + count - 1) + last[:kept])
        self.torn = last[kept:] if 0 < kept < len(last) else b""
        self.next += count + (kept >= len(last))

    @rule()
    def the_rest_of_a_line_arrives(self) -> None:
        self.append(self.torn)
        self.next += bool(self.torn)
        self.torn = b""

    @rule(skipped=st.integers(0, 3))
    def the_metalogger_is_killed_and_starts_again(self, skipped: int) -> None:
        self.next += skipped + bool(self.torn)
        self.torn = b""

    @rule()
    def files_are_rotated(self) -> None:
        for number in range(KEPT, -1, -1):
            path = self.directory / f"changelog_ml.{number}.mfs"
            if path.exists():
                path.rename(self.directory / f"changelog_ml.{number + 1}.mfs")
        (self.directory / f"changelog_ml.{KEPT + 1}.mfs").unlink(missing_ok=True)

    @rule(back=st.integers(0, 60))
    def a_base_and_its_log_are_downloaded(self, back: int) -> None:
        version = max(FIRST, self.next - back)
        base = self.directory / "metadata_ml.mfs.back"
        os.replace(base, self.directory / "metadata_ml.mfs.back.1")  # noqa: PTH105 - the verb that MooseFS uses
        base.write_bytes(metadata(version))
        (self.directory / "changelog_ml_back.0.mfs").write_bytes(log(version, self.next - 1))

    @rule()
    def changelogs_are_unlinked(self) -> None:
        for path in self.directory.glob("changelog_ml.*.mfs"):
            path.unlink()
        self.torn = b""

    @rule(length=st.integers(0, 400))
    def the_live_file_loses_its_end(self, length: int) -> None:
        if self.live.exists():
            os.truncate(self.live, min(length, self.live.stat().st_size))
            self.torn = b""

    @rule(back=st.integers(1, 10))
    def an_older_master_takes_over(self, back: int) -> None:
        self.next = max(FIRST, self.next - back)
        self.torn = b""
        self.append(log(self.next, self.next + 2, history="x"))
        self.next += 3

    @rule(rubbish=st.binary(min_size=1, max_size=30))
    def rubbish_is_appended(self, rubbish: bytes) -> None:
        self.append(rubbish + b"\n")
        self.torn = b""

    @rule()
    def the_base_is_spoilt(self) -> None:
        (self.directory / "metadata_ml.mfs.back").write_bytes(metadata(self.next)[:-1])

    @invariant()
    def both_say_the_same(self) -> None:
        followed = self.index.prove(expected_metaid=METAID)
        assert followed == prove(self.directory, expected_metaid=METAID)
        if isinstance(followed, Chain):
            pieces = [p.path.read_bytes()[p.offset : p.end_offset] for p in followed.tail]
            numbers = [int(entry.split(b":")[0]) for entry in b"".join(pieces).splitlines()]
            assert numbers == list(range(followed.base_header.version, followed.version))


IndexAndFirstLook.TestCase.settings = settings(
    derandomize=True, max_examples=100, stateful_step_count=25, deadline=None
)
TestIndexAndFirstLook = IndexAndFirstLook.TestCase
