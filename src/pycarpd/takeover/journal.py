"""The journal file: what is written is on disk before the plan goes on.

Theory of operation. A plan writes before each of its steps, and a takeover waits for every write. A file that grows
costs a commit of the file system's journal each time; to write into blocks that are there costs one flush of the disk.
So the file is made whole, with zeros behind its records; a plan's records go behind those of the plan before it, and
when half of the room is used the file is made anew, after a plan's end, when nobody waits for it. What has no room
makes the file longer, which is slower and no less safe.

Only zeros are ever written over. Whatever else lies behind the last whole line is what a crash, or a disk that refused,
has left of a write that nobody was told of: the file is made anew without it before anything is appended.
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
"""Room for some ten plans."""
_MODE = 0o600
_FILE_BYTES_MAX = FILE_BYTES + (4 * STEPS_MAX + 4) * 65_536


@dataclass(slots=True)
class _Opened:
    """The file while it is open: which one it is, where its lines end, and the records of its newest plan."""

    descriptor: int
    identity: tuple[int, int]
    end: int
    records: tuple[Record, ...]


class Journal:
    """One journal file; used by one thread at a time, in one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: _Opened | None = None

    def write(self, records: tuple[Record, ...]) -> StepFault | None:
        """Put *records* on stable storage."""
        try:
            opened = self._open()
            self._append(opened, records)
        except OSError as error:
            self.close()  # what lies there now is looked at before the next write
            return StepFault("JOURNAL_NOT_WRITTEN", f"{self._path}: {error.strerror}")
        if isinstance(records[-1], PlanClosed) and opened.end > FILE_BYTES // 2:
            self._begin_anew(opened)
        return None

    def recover(self) -> OpenPlan | StepFault | None:
        """Return the plan that is open, None when there is none, or why the file cannot be read.

        The file is made ready to be written to where that can be done; where it cannot, write() will say so.
        """
        try:
            return open_plan(self._open().records)
        except OSError as refusal:
            return self._read_only(refusal)

    def close(self) -> None:
        """Let the file go; it is opened again by the next use."""
        if self._opened is not None:
            os.close(self._opened.descriptor)
            self._opened = None

    def _read_only(self, refusal: OSError) -> OpenPlan | StepFault | None:
        logger.warning("the journal cannot be made ready error=%s", refusal)
        try:
            return open_plan(_newest(decode(self._read())[0]))
        except OSError as error:
            return StepFault("JOURNAL_NOT_READ", f"{self._path}: {error.strerror}")

    def _append(self, opened: _Opened, records: tuple[Record, ...]) -> None:
        data = b"".join(encode(record) for record in records)
        if os.pwrite(opened.descriptor, data, opened.end) != len(data):
            raise OSError(0, "a record was not written whole")
        opened.end += len(data)
        opened.records = _newest((*opened.records, *records))

    def _begin_anew(self, opened: _Opened) -> None:
        try:
            self._make(opened.records)
            self._open()
        except OSError as error:  # the plan's end is on disk, and what comes next has room all the same
            logger.warning("the journal is not begun anew error=%s", error)

    def _open(self) -> _Opened:
        """Return the file that has the name now, made anew unless there are only zeros behind its lines."""
        try:
            identity = _identity(self._path.stat())
        except FileNotFoundError:
            self._make(())
            identity = _identity(self._path.stat())
        if self._opened is not None and self._opened.identity == identity:
            return self._opened
        self.close()
        records, end, is_ready = self._look()
        if not is_ready:
            end = self._make(records)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_DSYNC | os.O_CLOEXEC)
        self._opened = _Opened(descriptor, _identity(os.fstat(descriptor)), end, records)
        return self._opened

    def _look(self) -> tuple[tuple[Record, ...], int, bool]:
        """Return the newest plan's records, where the lines end, and whether the file can be appended to."""
        data = self._read()
        records, end = decode(data)
        return _newest(records), end, len(data) >= FILE_BYTES and not data[end:].strip(b"\0")

    def _read(self) -> bytes:
        """Return what the file holds, nothing where there is none."""
        try:
            with self._path.open("rb") as file:
                return file.read(_FILE_BYTES_MAX)
        except FileNotFoundError:
            return b""

    def _make(self, records: tuple[Record, ...]) -> int:
        """Replace the file by one with these records and zeros behind them; returns where they end."""
        lines = b"".join(encode(record) for record in records)
        write_durably(self._path, lines.ljust(FILE_BYTES, b"\0"), _MODE)
        return len(lines)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _newest(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Return the records of the newest plan."""
    begun = [index for index, record in enumerate(records) if isinstance(record, PlanOpened)]
    return records[begun[-1] :] if begun else ()
