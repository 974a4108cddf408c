"""mfsmaster's and mfsmetalogger's configuration files, read as those daemons read them (mfscommon/cfg.c).

``NAME = VALUE`` lines; a ``#`` in the first column is a comment, anywhere else it belongs to the value; the last of
equal names counts; a line that is none of this is passed over by MooseFS with a warning, and is a fault here.
Defaults are those of Debian's build.
"""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_FILE_BYTES_MAX = 1024 * 1024
_DEFINITION = re.compile(r"[ \t]*([!-<>-~]+)[ \t]*=[ \t]*([^\x00-\x1f]*)")
_BLANK = re.compile(r"[ \t]*(?:[\x00-\x20].*)?")
_PORT_MAX = 65535

_DEFAULTS = {
    "DATA_PATH": "/var/lib/mfs",
    "WORKING_USER": "mfs",
    "WORKING_GROUP": "",
    "EXPORTS_FILENAME": "/etc/mfs/mfsexports.cfg",
    "MATOML_LISTEN_HOST": "*",
    "MATOML_LISTEN_PORT": "9419",
    "MATOCS_LISTEN_HOST": "*",
    "MATOCS_LISTEN_PORT": "9420",
    "MATOCL_LISTEN_HOST": "*",
    "MATOCL_LISTEN_PORT": "9421",
    "MASTER_HOST": "mfsmaster",
    "MASTER_PORT": "9419",
    "META_DOWNLOAD_FREQ": "24",
    "BACK_LOGS": "50",
    "REPLICATIONS_DELAY_INIT": "60",
}


class ConfigFaultCode(Enum):
    """What is wrong with a MooseFS configuration file."""

    UNREADABLE = "unreadable"
    BAD_LINE = "bad-line"
    BAD_VALUE = "bad-value"


@dataclass(frozen=True, slots=True)
class MfsConfigFault:
    """A fault of *path*; ``line`` counts from 1, 0 stands for the whole file."""

    code: ConfigFaultCode
    path: Path
    line: int
    detail: str


@dataclass(frozen=True, slots=True)
class MfsConfig:
    """A configuration file's settings as the daemon will use them, for master and metalogger alike.

    ``working_group`` empty: the user's own group. ``download_hours`` 0: the metalogger never downloads by itself.
    """

    path: Path
    data_path: Path
    working_user: str
    working_group: str
    exports_path: Path
    matoml_listen_host: str
    matoml_listen_port: int
    matocs_listen_host: str
    matocs_listen_port: int
    matocl_listen_host: str
    matocl_listen_port: int
    master_host: str
    master_port: int
    download_hours: int
    back_logs: int
    replications_delay_init: int
    defined: tuple[tuple[str, str], ...]


def read_mfs_config(path: Path) -> MfsConfig | tuple[MfsConfigFault, ...]:
    """Return the settings of *path*, or every fault in it at once."""
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX).decode("latin-1")
    except OSError as error:
        detail = error.strerror or str(error)
        return (MfsConfigFault(ConfigFaultCode.UNREADABLE, path, 0, detail),)
    faults: list[MfsConfigFault] = []
    defined: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        match = _DEFINITION.match(line)
        if match and not line.startswith("#"):
            defined[match[1]] = (match[2].rstrip(" "), number)
        elif not line.startswith("#") and not _BLANK.fullmatch(line):
            faults.append(MfsConfigFault(ConfigFaultCode.BAD_LINE, path, number, f"no NAME = VALUE: {line!r}"))
    values = _Values(path, defined, faults)
    config = values.config()
    return tuple(faults) if faults else config


class _Values:
    """Definitions with the defaults behind them; a value that is no number is noted as a fault."""

    def __init__(self, path: Path, defined: dict[str, tuple[str, int]], faults: list[MfsConfigFault]) -> None:
        self._path = path
        self._defined = defined
        self._faults = faults

    def text(self, name: str) -> str:
        return self._defined.get(name, (_DEFAULTS[name], 0))[0]

    def number(self, name: str, maximum: int) -> int:
        text = self.text(name)
        try:
            # MooseFS reads numbers by strtoul with base 0: 0x10 and 010 are numbers too.
            number = int(text, 8) if re.fullmatch(r"0[0-7]+", text) else int(text, 0)
        except ValueError:
            number = -1
        if not 0 <= number <= maximum:
            detail = f"{name} = {text!r} is not a number from 0 to {maximum}"
            line = self._defined.get(name, ("", 0))[1]
            self._faults.append(MfsConfigFault(ConfigFaultCode.BAD_VALUE, self._path, line, detail))
        return number

    def config(self) -> MfsConfig:
        return MfsConfig(
            path=self._path,
            data_path=Path(self.text("DATA_PATH")),
            working_user=self.text("WORKING_USER"),
            working_group=self.text("WORKING_GROUP"),
            exports_path=Path(self.text("EXPORTS_FILENAME")),
            matoml_listen_host=self.text("MATOML_LISTEN_HOST"),
            matoml_listen_port=self.number("MATOML_LISTEN_PORT", _PORT_MAX),
            matocs_listen_host=self.text("MATOCS_LISTEN_HOST"),
            matocs_listen_port=self.number("MATOCS_LISTEN_PORT", _PORT_MAX),
            matocl_listen_host=self.text("MATOCL_LISTEN_HOST"),
            matocl_listen_port=self.number("MATOCL_LISTEN_PORT", _PORT_MAX),
            master_host=self.text("MASTER_HOST"),
            master_port=self.number("MASTER_PORT", _PORT_MAX),
            download_hours=self.number("META_DOWNLOAD_FREQ", _PORT_MAX),
            back_logs=self.number("BACK_LOGS", _PORT_MAX),
            replications_delay_init=self.number("REPLICATIONS_DELAY_INIT", 2**32 - 1),
            defined=tuple((name, value) for name, (value, _line) in self._defined.items()),
        )
