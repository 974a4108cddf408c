"""A clock of its own for the mfsmaster of one host, by a command of that name which pycarpd finds before the other.

libfaketime answers mfsmaster's questions for CLOCK_REALTIME from a file, read anew each time; timeouts, which mfsmaster
takes from CLOCK_MONOTONIC, stay true. So what mfsmaster does on the full hour can be played at any minute without the
clock of the machine, which all hosts share.
"""

from pathlib import Path
from typing import Final

from netns.commands import LaboratoryError
from netns.topology import Topology

REAL: Final = Path("/usr/sbin/mfsmaster")
_LIBRARIES: Final = Path("/usr/lib")
_LIBRARY: Final = "*/faketime/libfaketimeMT.so.1"
_COMMAND: Final = """\
#!/bin/sh
export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={offset} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
exec {real} "$@"
"""


def commands(topology: Topology, host: str) -> Path:
    """Return the directory in which pycarpd on a host looks for commands first; it may not be there."""
    return topology.host_directory(host) / "bin"


def put_off(topology: Topology, host: str, seconds: int) -> None:
    """Put the clock of a host's mfsmaster off, from its next start on; one that runs by its own clock at once."""
    library = next(_LIBRARIES.glob(_LIBRARY), None)
    if library is None:
        raise LaboratoryError("libfaketime is not installed")
    command, offset = commands(topology, host) / REAL.name, _offset(topology, host)
    # Replaced in one go: mfsmaster may read it at any moment.
    fresh = offset.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}\n")
    fresh.replace(offset)
    command.parent.mkdir(exist_ok=True)
    command.write_text(_COMMAND.format(library=library, offset=offset, real=REAL))
    command.chmod(0o755)


def put_right(topology: Topology, host: str) -> None:
    """Let a host's mfsmaster go by the machine's clock again."""
    command = commands(topology, host) / REAL.name
    if command.exists():
        put_off(topology, host, 0)
        command.unlink()


def _offset(topology: Topology, host: str) -> Path:
    return topology.host_directory(host) / "clock-of-mfsmaster"
