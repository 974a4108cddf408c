"""Which operations a former master had acknowledged and its successor does not know.

A changelog line's number is the metadata version before the operation, so every line of the own changelog from the
successor's version at its promotion onwards is lost (MooseFS changelog format, 1.6 to 4.59). A metalogger's files say
nothing of it: they may hold the successor's changes under the same numbers by now.
"""

from pathlib import Path

from pycarpd.linux.files import write_durably
from pycarpd.takeover.datafiles import is_own
from pycarpd.takeover.step import StepFault

LOST_FILE = "lost-operations.txt"
LINES_MAX = 1_000_000
"""More lost operations than this are counted and not listed; the archived changelogs still hold them."""
_MODE = 0o600


def list_lost_operations(archive: Path, successor_version: int) -> int | StepFault:
    """Write the lost operations of *archive*'s own changelogs to LOST_FILE, a line each, and return how many there are.

    One that stands in several files is one. Nothing lost writes no file. Faults: LOST_LIST_FAILED.
    """
    unlisted = 0
    lines: dict[int, bytes] = {}
    try:
        logs = [path for path in archive.iterdir() if path.name.startswith("changelog") and is_own(path.name)]
        for path in sorted(logs):
            unlisted += _collect(path, successor_version, lines)
        if lines:
            data = b"".join(lines[number] for number in sorted(lines))
            write_durably(archive / LOST_FILE, data, _MODE)
    except OSError as error:
        return StepFault("LOST_LIST_FAILED", f"{error.filename or archive}: {error.strerror}")
    return len(lines) + unlisted


def _collect(path: Path, successor_version: int, lines: dict[int, bytes]) -> int:
    """Add a changelog's lost lines to *lines*; return how many there was no room for."""
    unlisted = 0
    with path.open("rb") as file:
        for line in file:
            digits, colon, _ = line.partition(b": ")
            if not (colon and digits.isdigit() and line.endswith(b"\n")) or int(digits) < successor_version:
                continue
            if len(lines) < LINES_MAX:
                lines.setdefault(int(digits), line)
            elif int(digits) not in lines:
                unlisted += 1
    return unlisted
