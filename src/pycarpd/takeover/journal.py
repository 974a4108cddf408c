"""The journal file: what is written is on disk before the plan goes on.

Theory of operation. A plan writes before each of its steps, and a takeover waits for every write. A file that grows
costs a commit of the file system's journal each time; to write into blocks that are there costs one flush of the disk.
So the file is made whole, with zeros behind its records; a plan's records go behind those of the plan before it, and
the file is made anew at a plan's end, once it holds a few of them. What has no room makes the file longer, which is
slower and no less safe.

Only zeros are ever written over. Whatever else lies behind the last whole line is what a crash has left of a write that
nobody was told of: the file is made anew without it before anything is appended. So it is after a write that the disk
has refused, since the page cache may show what is not on it, and where the file was taken away or replaced: from the
records that were acknowledged.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from pycarpd.linux.files import write_durably
from pycarpd.takeover.records import OpenPlan, PlanClosed, PlanOpened, Record, decode, encode, open_plan
from pycarpd.takeover.step import STEPS_MAX, StepFault

logger = logging.getLogger(__name__)

FILE_BYTES = 65_536
KEPT_BYTES = 8192
"""A file that holds more when a plan ends, some two plans, is made anew: an earlier version reads 260 records only."""
_MODE = 0o600
_FILE_BYTES_MAX = FILE_BYTES + (4 * STEPS_MAX + 4) * 65_536


@dataclass(slots=True)
class _Opened:
    """The file while it is open: which one it is, and where its lines end."""

    descriptor: int
    identity: tuple[int, int]
    end: int


class Journal:
    """One journal file; used by one thread at a time, in one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: _Opened | None = None
        self._records: tuple[Record, ...] | None = None
        """Those of the newest plan that are on disk; None until the file was looked at."""

    def write(self, records: tuple[Record, ...]) -> StepFault | None:
        """Put *records* on stable storage."""
        try:
            opened = self._open()
            self._append(opened, records)
        except OSError as error:
            self._let_go()
            return StepFault("JOURNAL_NOT_WRITTEN", f"{self._path}: {error.strerror}")
        if isinstance(records[-1], PlanClosed) and opened.end > KEPT_BYTES:
            self._begin_anew()
        return None

    def recover(self) -> OpenPlan | StepFault | None:
        """Return the plan that is open, None when there is none, or why the file cannot be read.

        The file is made ready to be written to where that can be done; where it cannot, write() will say so.
        """
        try:
            self._open()
        except OSError as refusal:
            logger.warning("the journal cannot be made ready error=%s", refusal)
        if self._records is not None:
            return open_plan(self._records)
        try:
            return open_plan(self._look()[0])
        except OSError as error:
            return StepFault("JOURNAL_NOT_READ", f"{self._path}: {error.strerror}")

    def close(self) -> None:
        """Let the file go; the next use looks at it anew."""
        self._let_go()
        self._records = None

    def _let_go(self) -> None:
        if self._opened is not None:
            os.close(self._opened.descriptor)
            self._opened = None

    def _append(self, opened: _Opened, records: tuple[Record, ...]) -> None:
        data = b"".join(encode(record) for record in records)
        if os.pwrite(opened.descriptor, data, opened.end) != len(data):
            raise OSError(0, "a record was not written whole")
        opened.end += len(data)
        self._records = _newest((*(self._records or ()), *records))

    def _begin_anew(self) -> None:
        try:
            self._renew(self._records or ())
        except OSError as error:  # the plan's end is on disk, and what comes next has room behind it
            logger.warning("the journal is not begun anew error=%s", error)

    def _open(self) -> _Opened:
        """Return the file that has the name now: made anew unless only zeros stand behind what is known to be there."""
        try:
            identity = _identity(self._path.stat())
        except FileNotFoundError:
            identity = None
        if self._opened is not None and self._opened.identity == identity:
            return self._opened
        if self._records is not None:
            return self._renew(self._records)
        records, end, is_ready = self._look()
        return self._use(records, end) if is_ready else self._renew(records)

    def _renew(self, records: tuple[Record, ...]) -> _Opened:
        """Replace the file by one with these records and zeros behind them, and use it."""
        lines = b"".join(encode(record) for record in records)
        write_durably(self._path, lines.ljust(FILE_BYTES, b"\0"), _MODE)
        return self._use(records, len(lines))

    def _use(self, records: tuple[Record, ...], end: int) -> _Opened:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_DSYNC | os.O_CLOEXEC)
        self._let_go()
        self._records = records
        self._opened = _Opened(descriptor, _identity(os.fstat(descriptor)), end)
        return self._opened

    def _look(self) -> tuple[tuple[Record, ...], int, bool]:
        """Return the newest plan's records, where the lines end, and whether the file can be appended to."""
        try:
            with self._path.open("rb") as file:
                data = file.read(_FILE_BYTES_MAX)
        except FileNotFoundError:
            data = b""
        records, end = decode(data)
        return _newest(records), end, len(data) >= FILE_BYTES and not data[end:].strip(b"\0")


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _newest(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Return the records of the newest plan."""
    begun = [index for index, record in enumerate(records) if isinstance(record, PlanOpened)]
    return records[begun[-1] :] if begun else ()
