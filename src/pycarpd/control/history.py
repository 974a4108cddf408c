"""The history of role changes: JSON lines, fsynced one by one, bounded, readable after any crash.

A torn or damaged line is skipped and counted, never a reason to lose the others. A line that repeats the time, term and
roles of an earlier one takes its place: what a change has cost is known only later. The file is rewritten whole, by
a temporary file and a rename, when it has grown past its bound by ``SLACK_LINES``.
"""

import os
from collections import deque
from pathlib import Path

from pydantic import ValidationError

from pycarpd.control.status import Transition

KEPT_MAX = 1000
SLACK_LINES = 100
AMENDABLE = 16
"""What a change has cost is known before so many others have followed it."""
LINE_BYTES_MAX = 65_536
FILE_MODE = 0o640


class History:
    """The last transitions of this node, in a file; raises OSError when the disk refuses, and nothing else.

    Safe for one process at a time; not for threads.
    """

    def __init__(self, path: Path, kept_max: int = KEPT_MAX) -> None:
        self._path = path
        self._kept_max = kept_max
        self._entries: deque[Transition] = deque(maxlen=kept_max)
        self._lines = 0
        self.damaged_lines = 0
        self._read()

    @property
    def entries(self) -> tuple[Transition, ...]:
        """Return the kept transitions, oldest first."""
        return tuple(self._entries)

    def append(self, transition: Transition) -> None:
        """Add a transition; it is on disk when this returns."""
        self._entries.append(transition)
        self._write(transition)

    def amend(self, transition: Transition) -> None:
        """Replace the transition of the same time, term and roles, or add it; it is on disk when this returns."""
        self._put(transition)
        self._write(transition)

    def _put(self, transition: Transition) -> None:
        """Add an entry, or put it in the place of the one that it amends."""
        newest = len(self._entries) - 1
        for index in range(newest, max(newest - AMENDABLE, -1), -1):
            if _key(self._entries[index]) == _key(transition):
                self._entries[index] = transition
                return
        self._entries.append(transition)

    def _write(self, transition: Transition) -> None:
        if self._lines >= self._kept_max + SLACK_LINES:
            self._rewrite()
            return
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "rb+", buffering=0) as file:
            # A line torn by a crash is ended first, so that it spoils nothing but itself.
            file.write((b"" if _ends_whole(descriptor) else b"\n") + _line(transition))
            os.fsync(descriptor)
        self._lines += 1
        if is_new:
            _fsync_directory(self._path.parent)

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                while line := file.readline(LINE_BYTES_MAX):
                    self._lines += 1
                    self._take(line)
        except FileNotFoundError:
            return

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            self._put(Transition.model_validate_json(line))
        except ValidationError:
            self.damaged_lines += 1

    def _rewrite(self) -> None:
        temporary = self._path.with_name(self._path.name + ".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(map(_line, self._entries))
            file.flush()
            os.fsync(descriptor)
        temporary.replace(self._path)
        _fsync_directory(self._path.parent)
        self._lines, self.damaged_lines = len(self._entries), 0


def _key(transition: Transition) -> tuple[str, int, str, str]:
    return (transition.time, transition.term, transition.from_role, transition.to_role)


def _line(transition: Transition) -> bytes:
    return transition.model_dump_json(by_alias=True).encode() + b"\n"


def _ends_whole(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
