"""Where the changes that a chain lacks might be: the copies that takeovers have kept on this host, named.

Every takeover keeps the files of its moment below the data directory. They are never used unasked, since they may be
of a history that was given up; but when changes are missing, whoever has to find them should be told which of these
files hold them. Only the first and the last line of each are read.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pycarpd.moosefs.metadata import MetadataHeader, read_header

_KEPT = ("pycarpd/preserved", "pycarpd/archive")
_LOOKED_AT_MAX = 400
_NAMED_MAX = 5
_END_BYTES = 64 * 1024
_NUMBER = re.compile(rb"([1-9][0-9]{0,19}): [0-9]+\|")


def holders(directory: Path, first: int, last: int | None) -> tuple[str, ...]:
    """Return which kept files below *directory* hold changes from *first* to *last* (None: any later), newest first.

    Paths are relative to *directory*. What cannot be read is passed over: this is advice.
    """
    found: list[str] = []
    for path in _kept_files(directory):
        span = _span_of(path)
        if span is not None and span[1] >= first and (last is None or span[0] <= last + 1):
            found.append(str(path.relative_to(directory)))
            if len(found) == _NAMED_MAX:
                break
    return tuple(found)


def _kept_files(directory: Path) -> Iterator[Path]:
    looked_at = 0
    for kept in _KEPT:
        for path in sorted((directory / kept).glob("*/*"), reverse=True):
            if path.name.startswith(("changelog", "metadata")) and looked_at < _LOOKED_AT_MAX:
                looked_at += 1
                yield path


def _span_of(path: Path) -> tuple[int, int] | None:
    """Return the first and last number of a changelog; of a metadata file the change before its version, twice."""
    if path.name.startswith("metadata"):
        header = read_header(path)
        is_use = isinstance(header, MetadataHeader) and not header.is_empty_new
        return (header.version - 1, header.version - 1) if isinstance(header, MetadataHeader) and is_use else None
    try:
        with path.open("rb") as file:
            head = file.read(_END_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _END_BYTES))
            tail = file.read(_END_BYTES)
    except OSError:
        return None
    first = _NUMBER.match(head)
    whole = tail[: tail.rfind(b"\n") + 1].splitlines()
    last = _NUMBER.match(whole[-1]) if whole else None
    return (int(first[1]), int(last[1])) if first and last else None
