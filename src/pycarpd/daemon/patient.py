"""Watching this host's MooseFS from a thread of its own: may it serve, does it serve, who is connected.

On a standby the chain of its files is proved again and again, so that "could this host take over?" has an answer
before it is asked. On the serving host mfsmaster itself is asked: a mfsmaster that is stopped, or has not answered for
the hang timeout, is lost like one that died (a connection that is accepted proves nothing, the kernel does that).
"""

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from pycarpd.daemon.connections import KEPT_MAX
from pycarpd.daemon.host import Host
from pycarpd.election.model import Freshness, PeerConnection
from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.connections import list_connections
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.inotify import DirectoryWatch
from pycarpd.moosefs.bases import UNKNOWABLE_METAID
from pycarpd.moosefs.chain import Chain
from pycarpd.moosefs.probe import LiveMaster, probe
from pycarpd.moosefs.proof import RefusalCode
from pycarpd.takeover.datafiles import is_own

logger = logging.getLogger(__name__)

_METAID = re.compile(r"[0-9a-f]{16}\n?")
NS_PER_S = 1_000_000_000
NO_METALOGGER = "its mfsmetalogger is not running"
ROUND_S = 0.5
QUICK_ROUND_S = 0.1
"""A busy metalogger writes a hundred times a second; each look costs some milliseconds."""
PROBE_TIMEOUT_S = 2.0
LOOK_TIMEOUT_S = 1.0
"""Shorter than the hang timeout by far: what counts is for how long one look after the other gets no answer."""
STOPPED_ROUNDS_MAX = 2
ASKED_MAX = 3
"""Asked so often, a mfsmaster has six seconds to answer: less than the ten that peers wait for a restart."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What one look at the patient found; ``operations`` is how many plans had ended on it when the look began."""

    freshness: Freshness | None
    why_not: str
    connections: tuple[PeerConnection, ...] = ()
    hangs: bool = False
    lacks_metalogger: bool = False
    has_gap: bool = False
    exports_digest: int = 0
    operations: int = 0


class Patient:
    """Looks at MooseFS twice a second, at a standby's files also when they change, and tells what it found.

    ``is_serving`` says which way to look.
    """

    def __init__(
        self,
        host: Host,
        hang_timeout_s: int,
        expected_metaid: Callable[[], int | None],
        tell: Callable[[Findings], None],
    ) -> None:
        self._host = host
        self._hang_timeout_ns = hang_timeout_s * NS_PER_S
        self._expected_metaid = expected_metaid
        self._tell = tell
        self._stop = threading.Event()
        self._watch = DirectoryWatch(host.takeover.data_path)
        self._answered_ns = boottime_ns()
        self._stopped_rounds = 0
        self._is_operated_on = False
        self._operations = 0
        self.is_serving = False

    @property
    def is_operated_on(self) -> bool:
        """Tell whether a plan moves the files or mfsmaster at present; nobody looks meanwhile."""
        return self._is_operated_on

    @is_operated_on.setter
    def is_operated_on(self, is_operated_on: bool) -> None:
        self._operations += self._is_operated_on and not is_operated_on
        self._is_operated_on = is_operated_on

    def is_current(self, found: Findings) -> bool:
        """Tell whether no plan has ended since that look began: it may have moved what was looked at."""
        return found.operations == self._operations

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._main, name="patient", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._watch.wake()

    def serve(self, *, is_serving: bool) -> None:
        """Watch a mfsmaster that serves from now on, or the files of a standby."""
        self._answered_ns = boottime_ns()
        self._stopped_rounds = 0
        self.is_serving = is_serving
        self.look_now()

    def look_now(self) -> None:
        """Look at once, not only when it is time again."""
        self._watch.wake()

    def _main(self) -> None:
        while not self._stop.is_set():
            operations = self._operations  # before the question whether there is one: it may begin and end meanwhile
            if not self.is_operated_on:
                found = self._look_at_master() if self.is_serving else self._look_at_files()
                self._tell(replace(found, exports_digest=self._host.exports.digest(), operations=operations))
            # The files of a standby are looked at when they have grown; a mfsmaster's own say nothing of its health.
            self._watch.wait(ROUND_S if self.is_serving else QUICK_ROUND_S, ROUND_S)

    def _look_at_files(self) -> Findings:
        has_mfsmaster = self._host.mfsmaster.is_running()
        lacks_metalogger = not has_mfsmaster and not self._host.metalogger.is_running()
        chain = self._host.follower.follow(expected_metaid=self._expected_metaid())
        if not isinstance(chain, Chain):
            has_gap = chain.code is RefusalCode.GAP
            return Findings(None, chain.text, lacks_metalogger=lacks_metalogger, has_gap=has_gap)
        freshness = Freshness(chain.metaid, chain.version)
        # A former master's own files are complete without a metalogger; the package's empty metadata.mfs is none.
        is_complete = is_own(chain.base.name) or not lacks_metalogger
        why_not = "" if is_complete else NO_METALOGGER
        return Findings(freshness, why_not, lacks_metalogger=lacks_metalogger)

    def _look_at_master(self) -> Findings:
        if self._is_stopped():
            # Seen at once; asked, it would only be silent for the time of the probe.
            self._stopped_rounds += 1
            logger.warning("mfsmaster is stopped by a signal")
            return Findings(None, "its mfsmaster is stopped", hangs=self._stopped_rounds >= STOPPED_ROUNDS_MAX)
        self._stopped_rounds = 0
        takeover = self._host.takeover
        live = probe(takeover.probe_host, takeover.ports.clients, LOOK_TIMEOUT_S)
        now_ns = boottime_ns()
        if isinstance(live, LiveMaster):
            self._answered_ns = now_ns
            return Findings(Freshness(live.metaid, live.version), "", self._connections())
        is_silent = now_ns - self._answered_ns >= self._hang_timeout_ns
        logger.warning("mfsmaster does not answer code=%s detail=%s", live.code.value, live.detail)
        return Findings(None, "its mfsmaster does not answer", hangs=is_silent)

    def _is_stopped(self) -> bool:
        pid = self._host.mfsmaster.lock_holder()
        try:
            return pid is not None and psutil.Process(pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def _connections(self) -> tuple[PeerConnection, ...]:
        """Return who is connected, clients last: a successor waits for chunkservers, and not all may find room."""
        takeover = self._host.takeover
        ports = (takeover.ports.metaloggers, takeover.ports.chunkservers, takeover.ports.clients)
        found: list[PeerConnection] = []
        for vip in takeover.virtual_addresses:
            listed = list_connections(ports, vip)
            if isinstance(listed, SystemFault):
                logger.warning("cannot list connections fault=%s", listed)
            else:
                found += [PeerConnection(*each) for each in listed]
        found.sort(key=lambda each: ports.index(each.service_port))
        return tuple(found[:KEPT_MAX])


def finds_serving(host: Host, expected_metaid: int | None) -> bool:
    """Tell whether a mfsmaster runs on this host that may be adopted: it answers, and with the expected file system.

    One that holds its lock and is only too busy to answer (each hour it forks, whole) is asked again: not to adopt it
    means to end it. One of another file system, such as an empty one that the host's boot has started, is not adopted.
    """
    takeover = host.takeover
    for _ in range(ASKED_MAX):
        live = probe(takeover.probe_host, takeover.ports.clients, PROBE_TIMEOUT_S)
        if isinstance(live, LiveMaster):
            if expected_metaid in (None, live.metaid):
                return True
            text = "the mfsmaster that runs here serves another file system, it is ended metaid=%016x expected=%016x"
            logger.error(text, live.metaid, expected_metaid)
            return False
        if not host.mfsmaster.is_running():
            return False
        logger.warning("mfsmaster runs and does not answer code=%s detail=%s", live.code.value, live.detail)
    return False


def remembered_metaid(path: Path) -> int | None:
    """Return the metaid of the file system that this host has served, None if it has served none yet.

    A file that cannot be read any more is not the same as none: then no file system is known to be the right one, and
    UNKNOWABLE_METAID is returned, with which nothing is proved and nothing is adopted.
    """
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        logger.exception("the remembered metaid cannot be read path=%s", path)
        return UNKNOWABLE_METAID
    if _METAID.fullmatch(text):
        return int(text, 16)
    hint = "set [moosefs] expected_metaid, or remove the file"
    logger.error("the remembered metaid is damaged path=%s text=%r hint=%s", path, text[:40], hint)
    return UNKNOWABLE_METAID
