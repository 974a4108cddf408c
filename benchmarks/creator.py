"""Creates empty files as fast as the master acknowledges them, and remembers each acknowledgement outside the mount.

``python -m benchmarks.creator DIRECTORY LOG STOP COUNT``: COUNT processes, each with a directory and a log of its own,
until the file STOP appears. A log has a line for each file: its name and when it was acknowledged (CLOCK_BOOTTIME). It
is written before the next file is asked for, so a line is a promise that MooseFS has given.
"""

import contextlib
import os
import sys
import time
from multiprocessing import Process
from pathlib import Path
from typing import Final

_AFTER_ERROR_S: Final = 0.05
_STUCK_AFTER_S: Final = 10.0


def _create(directory: Path, log_path: Path, stop: Path) -> None:
    directory.mkdir(exist_ok=True)
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    number = 0
    while not stop.exists():
        for _ in range(20):
            number += 1
            name = f"{number:08d}"
            try:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=at))
            except OSError:
                time.sleep(_AFTER_ERROR_S)
                continue
            os.write(log, b"%b %d\n" % (name.encode(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)))


def main(arguments: list[str]) -> None:
    """Create files, as the module's text says."""
    directory, log, stop = map(Path, arguments[:3])
    creators = [
        Process(target=_create, args=(directory / f"d{n}", log.with_name(f"{log.name}.{n}"), stop), daemon=True)
        for n in range(int(arguments[3]))
    ]
    directory.mkdir(exist_ok=True)
    for creator in creators:
        creator.start()
    while not stop.exists():
        time.sleep(_AFTER_ERROR_S)
    deadline = time.monotonic() + _STUCK_AFTER_S
    for creator in creators:
        creator.join(max(0.0, deadline - time.monotonic()))
    for creator in creators:
        with contextlib.suppress(ProcessLookupError):
            creator.kill()  # one that waits for a hung mount does not end by itself


if __name__ == "__main__":
    main(sys.argv[1:])
