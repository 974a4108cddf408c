"""What a directory can be restored to, found again in the most simple-minded way, to compare the proof with.

Everything is read into memory, every line is looked at by itself, numbers are counted one by one. Nothing here is
shared with pycarpd.
"""

import re
from pathlib import Path

_CHANGELOG = re.compile(r"changelog(_ml|_ml_back)?\.\d+\.mfs")
_LINE = re.compile(rb"([1-9]\d*): \d+\|[A-Z0-9]+\([^()\x00-\x1f]*\)[^()\x00-\x1f]*")
_SECTION = re.compile(rb"[A-Z]{4} \d\.\d")


def reference(directory: Path, metaid: int | None) -> int | None:
    """Return the one version that the files of *directory* prove, or None if they prove none."""
    bases = [found for path in directory.iterdir() if (found := _base(path)) is not None]
    changes = _changes(directory)
    ids = {base_id for _version, base_id in bases} | _ids_set(changes)
    if len(ids) != 1 or not bases or (metaid is not None and ids != {metaid}):
        return None
    if any(len(contents) > 1 for contents in changes.values()):
        return None
    reached = {version: _count_on(version, changes) for version, _id in bases}
    best = max(reached.values())
    if any(number >= best for number in changes):
        return None
    if all(version % 2497 == 0 and version < best for version, end in reached.items() if end == best):
        return None
    return best


def _base(path: Path) -> tuple[int, int] | None:
    if not path.name.startswith("metadata") or path.name.endswith(".tmp") or not path.is_file():
        return None
    content = path.read_bytes()
    if content[:8] != b"MFSM 2.0" or content[-16:] != b"[MFS EOF MARKER]":
        return None
    rest = content[24:-16]
    while rest:
        length = int.from_bytes(rest[8:16])
        if not _SECTION.fullmatch(rest[:8]) or length > len(rest) - 16:
            return None
        rest = rest[16 + length :]
    return int.from_bytes(content[8:16]), int.from_bytes(content[16:24])


def _changes(directory: Path) -> dict[int, set[bytes]]:
    changes: dict[int, set[bytes]] = {}
    for path in directory.iterdir():
        if _CHANGELOG.fullmatch(path.name) and path.is_file():
            for line in path.read_bytes().split(b"\n")[:-1]:
                match = _LINE.fullmatch(line)
                if match and len(line) < 200_000:
                    changes.setdefault(int(match[1]), set()).add(line)
    return changes


def _ids_set(changes: dict[int, set[bytes]]) -> set[int]:
    return {
        int(match[1])
        for contents in changes.values()
        for line in contents
        if (match := re.search(rb"\|SETMETAID\((\d+)\)", line))
    }


def _count_on(version: int, changes: dict[int, set[bytes]]) -> int:
    while version in changes:
        version += 1
    return version
