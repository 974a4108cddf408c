"""The worker's own writes: what is short one after the other, and beside it what may take long.

Files are preserved in a thread of their own. (A metalogger that meets an older master unlinks its changelogs; a copy
that has begun is not hurt by that.) Votes have a thread and a channel to themselves: see scribe.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pycarpd.daemon.bugs import end_if_raised

logger = logging.getLogger(__name__)


class Disk:
    """Writes in the background for the worker's event loop."""

    def __init__(self) -> None:
        self._in_order = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="preserve")

    def write(self, what: str, work: Callable[[], None]) -> None:
        """Do something short, after what was asked for before; a disk that refuses is only logged."""
        self._in_order.submit(_guarded(what, work)).add_done_callback(end_if_raised)

    def copy(self, what: str, work: Callable[[], None]) -> None:
        """Do something that may take long, while everything else goes on; a disk that refuses is only logged."""
        self._beside.submit(_guarded(what, work)).add_done_callback(end_if_raised)

    def close(self) -> None:
        """Finish what was begun."""
        self._in_order.shutdown(wait=True)
        self._beside.shutdown(wait=True)


def _guarded(what: str, work: Callable[[], None]) -> Callable[[], None]:
    def guarded() -> None:
        try:
            work()
        except OSError as error:
            logger.warning("cannot %s error=%s", what, error)

    return guarded
