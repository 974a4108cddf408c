"""One data directory followed while MooseFS writes to it: what it can be restored to, known before it is asked.

The thread that watches a standby proves its files again and again; a takeover proves them once more, in another
thread. Both use the same index, so that the takeover reads only the lines of the last moments, however long the tail.
"""

import threading
from pathlib import Path

from pycarpd.moosefs.chain import Chain, ChainIndex, ChainRefusal
from pycarpd.moosefs.layout import TAIL_NAME, write_layout
from pycarpd.moosefs.metadata import MetadataWalk, walk
from pycarpd.moosefs.prepared import PreparedTail
from pycarpd.moosefs.release import Installed


class ChainFollower:
    """The index of *directory* and the copy of its tail below *prepared*; any thread may use it.

    *elsewhere* are directories outside, in which mfsmaster may have left an emergency save. With *installed* a base
    that this mfsmaster cannot read is refused.
    """

    def __init__(
        self,
        directory: Path,
        prepared: Path,
        elsewhere: tuple[Path, ...] = (),
        installed: Installed | None = None,
    ) -> None:
        self._installed = installed
        self._index = ChainIndex(directory, elsewhere)
        self._tail = PreparedTail(prepared / TAIL_NAME)
        self._lock = threading.Lock()

    def prove(self, *, expected_metaid: int | None) -> Chain | ChainRefusal:
        """Prove what the directory can be restored to at this moment; only what is new is read."""
        with self._lock:
            return self._prove(expected_metaid)

    def follow(self, *, expected_metaid: int | None) -> Chain | ChainRefusal:
        """Prove it, and bring the copy of the tail nearer to it: one round of a standby."""
        with self._lock:
            found = self._prove(expected_metaid)
            if isinstance(found, Chain):
                self._tail.follow(found)
            return found

    def lay_out(self, chain: Chain, directory: Path, owner: tuple[int, int] | None = None) -> None:
        """Write *chain* into *directory* as write_layout() does, from the copy as far as there is one."""
        with self._lock:
            write_layout(chain, directory, owner=owner, prepared=self._tail)

    def _prove(self, expected_metaid: int | None) -> Chain | ChainRefusal:
        found = self._index.prove(expected_metaid=expected_metaid)
        release = self._installed.release() if self._installed is not None else None
        if release is None or isinstance(found, ChainRefusal):
            return found
        base = walk(found.base)
        return (release.refusal(base) if isinstance(base, MetadataWalk) else None) or found
