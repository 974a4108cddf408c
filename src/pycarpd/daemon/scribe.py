"""The worker's thread for votes: it puts on disk what the heartbeat must not forget, and does nothing else.

The heartbeat asks it over a channel of their own, since an election waits for the answer: nothing that the worker does,
in its event loop or on its disk, stands before a vote.
"""

import logging
import select
import sys
import threading
from pathlib import Path

from pycarpd.daemon.channel import Channel, Closed
from pycarpd.daemon.identity import VOTES_FILE
from pycarpd.daemon.messages import Persisted, PersistRequest
from pycarpd.daemon.votes import VoteFile
from pycarpd.election.model import Persistent
from pycarpd.invariant import invariant
from pycarpd.linux.realtime import come_before_all

logger = logging.getLogger(__name__)

RETRY_MS = 1000
_END_WITHIN_S = 5.0
_SWITCH_S = 0.0002
"""How long another thread of this process may keep the interpreter from a vote that is to be written: else 5 ms."""


class Scribe:
    """Writes states in the order in which they are asked for, and tells each when it is on disk.

    ``is_urgent``: its thread comes before everything that has no real-time priority.
    """

    def __init__(self, state_dir: Path, heartbeat: Channel, *, is_urgent: bool = False) -> None:
        self._votes = VoteFile(state_dir / VOTES_FILE)
        self._heartbeat = heartbeat
        self._is_urgent = is_urgent
        self._thread = threading.Thread(target=self._run, name="votes", daemon=True)

    def start(self) -> None:
        """Begin to listen; it ends by itself when the heartbeat is gone."""
        sys.setswitchinterval(_SWITCH_S)
        self._thread.start()

    def close(self) -> None:
        """Wait, for a while, until what was asked for is written and the heartbeat has gone."""
        if self._thread.is_alive():
            self._thread.join(_END_WITHIN_S)

    def _run(self) -> None:
        if self._is_urgent:
            come_before_all()  # what is refused the worker has said for itself
        ready = select.poll()
        ready.register(self._heartbeat.fileno(), select.POLLIN)
        refused: Persistent | None = None
        while True:
            if not ready.poll(None if refused is None else RETRY_MS):
                refused = refused and self._write(refused)
                continue
            match self._heartbeat.receive():
                case PersistRequest(persistent=persistent):
                    refused = self._write(persistent)
                case Closed.CLOSED:
                    self._votes.close()
                    return
                case other:
                    invariant(other is None, "only states are asked of the scribe")

    def _write(self, persistent: Persistent) -> Persistent | None:
        """Put the state on disk and tell it; one that a full disk refuses is returned, to be tried again."""
        try:
            self._votes.write(persistent)
        except OSError as error:
            logger.critical("cannot write the election's state, nobody can be elected here error=%s", error)
            return persistent
        self._heartbeat.send(Persisted(persistent))
        return None
