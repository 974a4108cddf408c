"""Metadata that mfsmaster saved outside its directory because it could not save inside.

When a save fails, as on a full disk, mfsmaster writes ``metadata.mfs.emergency`` to the first of a list of places
where it can, and ``mfsmaster -a`` takes it from there again, unasked, if it has the metaid and a higher version than
every file of the directory (MooseFS 3.0.117 and 4.x metadata.c). Some of these places are everybody's to write to,
and a save may be of a history that was given up since, so it is not used here. But a base that it would supplant
is not proved to be served either: refused, until somebody has moved the save into the directory, or away.
"""

import contextlib
import pwd
from collections.abc import Iterable
from pathlib import Path

from pycarpd.moosefs.metadata import MetadataFault, MetadataFaultCode, MetadataWalk, walk
from pycarpd.moosefs.proof import Chain, ChainRefusal, RefusalCode

EMERGENCY_NAME = "metadata.mfs.emergency"
_PLACES = ("", "tmp", "var", "usr", "usr/share", "usr/local", "usr/local/var", "usr/local/share")
_IGNORED_BY_MFSMASTER = (MetadataFaultCode.NO_END_MARK, MetadataFaultCode.TOO_SHORT, MetadataFaultCode.UNREADABLE)


def emergency_directories(data_path: Path, uid: int) -> tuple[Path, ...]:
    """Return where a mfsmaster that runs as user *uid* looks for emergency saves outside *data_path*."""
    places = [Path("/", place) for place in _PLACES]
    with contextlib.suppress(KeyError):
        places.append(Path(pwd.getpwuid(uid).pw_dir))
    return tuple(place for place in places if place.resolve() != data_path.resolve())


def in_the_way(chain: Chain, elsewhere: Iterable[Path]) -> ChainRefusal | None:
    """Refuse *chain* when mfsmaster would load an emergency save from *elsewhere* in the place of its base."""
    for directory in elsewhere:
        path = directory / EMERGENCY_NAME
        match walk(path):
            case MetadataWalk(header):
                found = (header.metaid, header.version)
            case MetadataFault(code, _path, _detail, int(version), int(metaid)) if code not in _IGNORED_BY_MFSMASTER:
                found = (metaid, version)
            case _:
                continue
        metaid, version = found
        if metaid == chain.metaid and version > chain.base_header.version:
            detail = (
                f"mfsmaster would load {path} (version {version}) in the place of {chain.base.name}: "
                "move it into the data directory to use it, or away"
            )
            return ChainRefusal(RefusalCode.EMERGENCY_SAVE, detail, where=(str(path),))
    return None
