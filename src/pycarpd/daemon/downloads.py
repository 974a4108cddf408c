"""Closing a gap in a standby's files: its metalogger is made to download anew.

A metalogger that is started beside a master at work copies the master's changelogs as they are on its disk, and hears
of every change from then on. What the master had not written yet is in neither. Such a host is not promotable, and
would stay so until the metalogger's next download, within the hour. A restart of the metalogger is a new download.
"""

import logging
from pathlib import Path
from typing import Final

from pycarpd.daemon.disk import Disk
from pycarpd.daemon.host import Host
from pycarpd.daemon.patient import Findings
from pycarpd.linux.clock import boottime_ns, realtime_ns

logger = logging.getLogger(__name__)

NS_PER_S: Final = 1_000_000_000
WAIT_NS: Final = 5 * NS_PER_S
"""A download takes a moment, in which there is a gap between the older base and the newer lines."""
WAIT_MAX_NS: Final = 600 * NS_PER_S
STOP_TIMEOUT_S: Final = 5.0
DOWNLOADING: Final = ("metadata_ml.tmp", "changelog_ml.tmp")
"""Where a metalogger of MooseFS 1.6 to 4.59 puts what it is downloading."""
DOWNLOAD_STALE_NS: Final = 60 * NS_PER_S


class Downloads:
    """Has the metalogger restarted while its files keep a gap, ever less often; use from one event loop only."""

    def __init__(self, host: Host, disk: Disk) -> None:
        self._host = host
        self._disk = disk
        self._gap_since_ns: int | None = None
        self._wait_ns = WAIT_NS

    def tick(self, found: Findings, *, has_master: bool) -> None:
        """Take in a look at the files; *has_master*: there is one to download from, and nothing else under way."""
        if found.freshness is not None:
            self._wait_ns = WAIT_NS
        if not found.has_gap or found.lacks_metalogger or not has_master:
            self._gap_since_ns = None
            return
        now_ns = boottime_ns()
        self._gap_since_ns = self._gap_since_ns or now_ns
        if now_ns - self._gap_since_ns < self._wait_ns or self._is_downloading():
            return
        self._gap_since_ns = None
        self._wait_ns = min(2 * self._wait_ns, WAIT_MAX_NS)
        logger.warning("making the metalogger download anew why=%s", found.why_not)
        self._disk.copy("restart the metalogger", self._stop)

    def _is_downloading(self) -> bool:
        return any(_is_growing(self._host.takeover.data_path / name) for name in DOWNLOADING)

    def _stop(self) -> None:
        """Stop the metalogger; a standby's is started again by whoever finds it missing."""
        fault = self._host.metalogger.stop(STOP_TIMEOUT_S)
        if fault is not None:
            logger.warning("metalogger not stopped code=%s detail=%s", fault.code.value, fault.detail)


def _is_growing(path: Path) -> bool:
    try:
        written_ns = path.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return abs(realtime_ns() - written_ns) < DOWNLOAD_STALE_NS
