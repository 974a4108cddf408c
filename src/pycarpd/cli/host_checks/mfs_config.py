"""The keys of a MooseFS configuration file, as far as a check wants to see them: ``KEY = VALUE``, ``#`` comments."""

from dataclasses import dataclass
from pathlib import Path

from pycarpd.control.reports import Report, report

FILE_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class MfsKeys:
    """The keys that a file sets; MooseFS takes the last of several lines."""

    values: dict[str, str]

    def get(self, key: str, default: str) -> str:
        """Return the value of *key*, or *default* where the file does not set it."""
        return self.values.get(key) or default


def read_keys(path: Path) -> MfsKeys | Report:
    """Return the keys that *path* sets, or why it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX).decode("utf-8", errors="replace")
    except OSError as error:
        return report("host-mfs-config", error.strerror or str(error), key=str(path))
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return MfsKeys({name.strip(): value.strip() for name, equals, value in pairs if equals})
