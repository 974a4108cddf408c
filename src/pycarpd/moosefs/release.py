"""Which MooseFS is installed, and whether it can read a metadata file: found out by looking, before it is needed.

mfsmaster loads a section only if it would itself write that section in this or a later version, and no section that it
does not know (metadata.c of 3.0.117 and 4.x). So metadata of a newer MooseFS, on a standby that was not upgraded with
the master, is a takeover that fails; here it is a host that says beforehand why it cannot take over.

What is refused is known; what is not known (a release between those below, a version that cannot be asked for) is left
to the start of mfsmaster, whose live version is compared in any case.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pycarpd.linux.process import run
from pycarpd.moosefs.metadata import MetadataWalk
from pycarpd.moosefs.proof import ChainRefusal, RefusalCode

_VERSION = re.compile(rb"version: ([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,6})")
_ASK_TIMEOUT_S = 5.0
_SECTIONS_3 = frozenset(
    ("SESS", "LABS", "SCLA", "NODE", "EDGE", "FREE", "QUOT", "XATR", "PACL", "OPEN", "FLCK", "PLCK", "CSDB", "CHNK")
)


@dataclass(frozen=True, slots=True)
class Edition:
    """A line of releases with one way to be restored.

    ``refused``: why none of it can be taken over, "" if it can. ``newest_sections``: the versions that the release
    ``newest`` writes, which are the highest that it and its elders read.
    """

    name: str
    refused: str = ""
    sections: frozenset[str] = frozenset()
    newest: tuple[int, int, int] = (0, 0, 0)
    newest_sections: tuple[str, ...] = ()


EDITIONS = {
    # From its source (1.6.27) only.
    1: Edition(
        "1.x",
        "its metadata has no metaid and it tells no version while it runs, so that nothing of a restore can be proved "
        "(mfsmetarestore reports success when writing has failed, and sessions_ml.mfs has to be copied by hand)",
    ),
    2: Edition("2.x", sections=_SECTIONS_3),
    # Seen on 3.0.117, whose sections these are.
    3: Edition(
        "3.x",
        sections=_SECTIONS_3,
        newest=(3, 0, 117),
        newest_sections=(
            *("SESS 1.5", "SCLA 1.6", "NODE 1.4", "EDGE 1.1", "FREE 1.0", "QUOT 1.1", "XATR 1.0"),
            *("PACL 1.1", "OPEN 1.0", "FLCK 1.0", "PLCK 1.0", "CSDB 1.3", "CHNK 1.1"),
        ),
    ),
    # From its source (4.59.2), and its loader as it was built.
    4: Edition("4.x", sections=_SECTIONS_3 | {"PATT"}),
}


@dataclass(frozen=True, slots=True)
class Release:
    """An installed MooseFS."""

    version: tuple[int, int, int]

    @property
    def edition(self) -> Edition | None:
        """Return what is known of its line, None for one that came later than this."""
        return EDITIONS.get(self.version[0])

    def refusal(self, base: MetadataWalk) -> ChainRefusal | None:
        """Return why a mfsmaster of this release cannot load *base*, None if nothing is known against it."""
        text = ".".join(map(str, self.version))
        edition = self.edition
        if edition is None:
            return ChainRefusal(RefusalCode.RELEASE_UNSUPPORTED, f"mfsmaster {text} is of a line that is not known")
        if edition.refused:
            return ChainRefusal(RefusalCode.RELEASE_UNSUPPORTED, f"mfsmaster {text} is installed: {edition.refused}")
        for section in base.sections:
            if section.name[:4] not in edition.sections or self._is_newer(section.name, edition):
                detail = f"the metadata has a section {section.name!r} that the installed mfsmaster {text} cannot read"
                return ChainRefusal(RefusalCode.RELEASE_OLDER, f"{detail}: upgrade MooseFS on this host")
        return None

    def _is_newer(self, name: str, edition: Edition) -> bool:
        """Say whether a section is of a later version than this release, or a younger one, writes."""
        if self.version > edition.newest:
            return False
        return any(known[:4] == name[:4] and known < name for known in edition.newest_sections)


def parse_release(said: bytes) -> Release | None:
    """Return the release from what ``mfsmaster -v`` prints, None if it does not say."""
    found = _VERSION.search(said)
    return Release((int(found[1]), int(found[2]), int(found[3]))) if found else None


class Installed:
    """The program *binary* as it is installed now: asked for its version again whenever it has changed."""

    def __init__(self, binary: str = "mfsmaster") -> None:
        self._binary = binary
        self._stamp: tuple[str, int, int] | None = None
        self._release: Release | None = None

    def release(self) -> Release | None:
        """Return its release; None when it is not there or does not say."""
        stamp = self._look()
        if stamp != self._stamp:
            self._release = self._ask(stamp[0]) if stamp is not None else None
            self._stamp = stamp if self._release is not None else None
        return self._release

    def _look(self) -> tuple[str, int, int] | None:
        path = shutil.which(self._binary)
        try:
            status = Path(path).stat() if path is not None else None
        except OSError:
            return None
        return (str(path), status.st_ino, status.st_mtime_ns) if status is not None else None

    @staticmethod
    def _ask(path: str) -> Release | None:
        completed = run([path, "-v"], _ASK_TIMEOUT_S)
        return parse_release(completed.stdout + completed.stderr)
