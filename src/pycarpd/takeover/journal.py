"""The journal file: the records of the newest plan, each write fsynced before the plan goes on.

A new plan replaces the file, so it stays as small as one plan. A torn last line is what a crash in the middle
of a write leaves; it is cut off before anything is appended.
"""

import os
from pathlib import Path

from pycarpd.linux.files import write_durably
from pycarpd.takeover.records import OpenPlan, PlanOpened, Record, decode, encode, open_plan
from pycarpd.takeover.step import STEPS_MAX, StepFault

_MODE = 0o600
_FILE_BYTES_MAX = (4 * STEPS_MAX + 4) * 65_536


class Journal:
    """One journal file; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, records: tuple[Record, ...]) -> StepFault | None:
        """Put *records* on stable storage; a PlanOpened at the head begins the file anew."""
        data = b"".join(encode(record) for record in records)
        try:
            if isinstance(records[0], PlanOpened):
                write_durably(self._path, data, _MODE)
            else:
                self._append(data)
        except OSError as error:
            return StepFault("JOURNAL_NOT_WRITTEN", f"{self._path}: {error.strerror}")
        return None

    def recover(self) -> OpenPlan | StepFault | None:
        """Return the plan a crash has left open, None when there is none, or why the file cannot be read."""
        try:
            with self._path.open("rb") as file:
                data = file.read(_FILE_BYTES_MAX)
        except FileNotFoundError:
            return None
        except OSError as error:
            return StepFault("JOURNAL_NOT_READ", f"{self._path}: {error.strerror}")
        records, _ = decode(data)
        return open_plan(records)

    def _append(self, data: bytes) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            _, whole = decode(os.pread(descriptor, _FILE_BYTES_MAX, 0))
            os.ftruncate(descriptor, whole)
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, whole)
                whole += written
                view = view[written:]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
