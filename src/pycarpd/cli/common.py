"""What both commands share: exit codes, where the control socket is, how refusals are told."""

import json
import os
import sys
import tomllib
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Final

from pycarpd.cli.render import full_report, make_console
from pycarpd.config import DEFAULT_PATH
from pycarpd.control.reports import Report, report

SOCKET_NAME = "control.sock"
RUN_DIR_DEFAULT = "/run/pycarpd"
HELP_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class ExitCode(IntEnum):
    """The exit status of both commands; monitoring scripts rely on it."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_MASTER = 3
    DEGRADED = 4


def control_socket(config: Path | None) -> Path | Report:
    """Return the daemon's socket: from ``node.run_dir`` of the file, or the default where there is no file.

    Only that one key is read, so that a running daemon can be asked although its file has been broken since.
    """
    path = config or Path(DEFAULT_PATH)
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError as error:
        if config is None:
            return Path(RUN_DIR_DEFAULT, SOCKET_NAME)
        return report("config-unreadable", error.strerror or str(error), key=str(path))
    except OSError as error:
        return report("config-unreadable", error.strerror or str(error), key=str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return report("config-not-toml", str(error), key=str(path))
    node = document.get("node")
    run_dir = node.get("run_dir", RUN_DIR_DEFAULT) if isinstance(node, dict) else RUN_DIR_DEFAULT
    return Path(str(run_dir), SOCKET_NAME)


def tell(reports: Iterable[Report], *, as_json: bool) -> None:
    """Show reports with rule and next step: as JSON on standard output, else as text on standard error."""
    if as_json:
        write_line(json.dumps({"schema": 1, "reports": [each.as_json() for each in reports]}))
        return
    console = make_console(to_stderr=True)
    for each in reports:
        console.print(full_report(each), soft_wrap=not console.is_terminal)


def write_line(text: str) -> None:
    """Write a line of machine-readable output, unwrapped; a reader who has gone away is no fault of ours."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
