"""The worker's writes: what the election must not forget, one after the other, and beside it what may take long.

Votes wait for the disk, so nothing slow stands before them: files are preserved in a thread of their own. (A metalogger
that meets an older master unlinks its changelogs; a copy that has begun is not hurt by that.)
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pycarpd.daemon.bugs import end_if_raised
from pycarpd.daemon.identity import VOTES_FILE
from pycarpd.daemon.votes import VoteFile
from pycarpd.election.model import Persistent
from pycarpd.linux.realtime import come_first

logger = logging.getLogger(__name__)

RETRY_S = 1.0


class Disk:
    """Writes in the background for the worker's event loop.

    ``written`` hears of each state on disk at once, in the thread that has written it: the election waits for that, and
    the loop may be busy. ``is_urgent``: that thread comes before processes that only compute.
    """

    def __init__(self, state_dir: Path, written: Callable[[Persistent], None], *, is_urgent: bool = False) -> None:
        self._votes = VoteFile(state_dir / VOTES_FILE)
        self._written = written
        begin = come_first if is_urgent else None
        self._in_order = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk", initializer=begin)
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="preserve")
        self._newest: Persistent | None = None

    def persist(self, persistent: Persistent) -> None:
        """Put the election's state on disk; what depends on it is not sent before ``written`` has heard of it.

        A disk that refuses (it is full) is tried again each second, unless there is a newer state by then.
        """
        self._newest = persistent
        loop = asyncio.get_running_loop()

        def write() -> None:
            try:
                self._votes.write(persistent)
            except OSError as error:
                logger.critical("cannot write the election's state, nobody can be elected here error=%s", error)
                loop.call_soon_threadsafe(loop.call_later, RETRY_S, self._persist_again, persistent)
                return
            self._written(persistent)

        self._in_order.submit(write).add_done_callback(end_if_raised)

    def _persist_again(self, persistent: Persistent) -> None:
        if persistent == self._newest:
            self.persist(persistent)

    def write(self, what: str, work: Callable[[], None]) -> None:
        """Do something short, after what was asked for before; a disk that refuses is only logged."""
        self._in_order.submit(_guarded(what, work)).add_done_callback(end_if_raised)

    def copy(self, what: str, work: Callable[[], None]) -> None:
        """Do something that may take long, while everything else goes on; a disk that refuses is only logged."""
        self._beside.submit(_guarded(what, work)).add_done_callback(end_if_raised)

    def close(self) -> None:
        """Finish what was begun; nothing is tried again."""
        self._newest = None
        self._in_order.shutdown(wait=True)
        self._beside.shutdown(wait=True)


def _guarded(what: str, work: Callable[[], None]) -> Callable[[], None]:
    def guarded() -> None:
        try:
            work()
        except OSError as error:
            logger.warning("cannot %s error=%s", what, error)

    return guarded
