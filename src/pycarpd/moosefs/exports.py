"""mfsexports.cfg as far as other hosts' must be the same: a digest of what mfsmaster reads of it.

A client that the old master let in and the new one refuses loses its file system with the takeover. Comments, blank
lines and the amount of white space do not count, the order of the lines does. Source: mfsexports.cfg(5).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

BYTES_MAX = 4 << 20
UNKNOWN = 0


@dataclass(slots=True)
class ExportsFile:
    """One file; it is read again when it has changed."""

    path: Path
    _seen: tuple[int, int, int] | None = None
    _digest: int = UNKNOWN

    def digest(self) -> int:
        """Return 64 bits over what the file says, UNKNOWN where it cannot be read or is no such file."""
        try:
            found = self.path.stat()
            key = (found.st_ino, found.st_mtime_ns, found.st_size)
            if key != self._seen:
                self._digest = digest_of(self.path.read_bytes()) if found.st_size <= BYTES_MAX else UNKNOWN
                self._seen = key
        except OSError:
            self._seen, self._digest = None, UNKNOWN
        return self._digest


def digest_of(content: bytes) -> int:
    """Return 64 bits over the lines that count, never UNKNOWN."""
    lines = (b" ".join(line.partition(b"#")[0].split()) for line in content.splitlines())
    text = b"\n".join(line for line in lines if line)
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") or 1
