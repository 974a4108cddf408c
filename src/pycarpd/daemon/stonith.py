"""Who has to be dead before this node may serve, and what makes it so: the fence command, or a human's word.

A member has to be dead when it was last heard serving, or about to, and is not heard any more: it did not resign, so
nothing but its own fence keeps it from serving on. With ``arbiter = "none"``, where nobody's lease ends for want of
votes, that holds as well for a candidate that was never heard at all.

The command is run as ``COMMAND... NAME ADDRESS`` and says by exit status 0 that this member is dead. Anything else
stops the promotion; the next attempt runs it again. ``pycarpctl confirm-dead NAME`` stands in for it, for ten minutes
or until the member is heard again.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pycarpd.control.reports import Report, report
from pycarpd.daemon.messages import PeerNews, StatusNews
from pycarpd.election.model import Arbiter, Role
from pycarpd.linux.clock import boottime_ns
from pycarpd.linux.process import Completed, run
from pycarpd.settings import DaemonSettings
from pycarpd.takeover.step import StepFault

logger = logging.getLogger(__name__)

COMMAND = "confirm-dead"
CONFIRMED_FOR_NS = 600_000_000_000
NS_PER_MS = 1_000_000
DANGEROUS = frozenset({Role.PROMOTING, Role.MASTER, Role.SUSPENDED, Role.DEMOTING})
OUTPUT_MAX = 4096
WORDS_MAX = 300


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a promotion was asked for with, and the status that had been told before."""

    at_ns: int
    peers: tuple[PeerNews, ...]
    before: StatusNews | None


class Stonith:
    """Fences on behalf of a promotion; ``fence`` runs in a step's thread, the rest in the worker's event loop."""

    def __init__(self, settings: Callable[[], DaemonSettings], news: Callable[[], StatusNews | None]) -> None:
        self._settings = settings
        self._news = news
        self._confirmed_ns: dict[str, int] = {}
        self._asked: _Asked | None = None

    def ask(self, peers: tuple[PeerNews, ...] | None) -> None:
        """Take in how the other members were heard up to the moment in which a promotion is asked for.

        The status that was told before it says of the master that was lost since that it is well.
        """
        self._asked = _Asked(boottime_ns(), peers, self._news()) if peers is not None else None

    def fence(self, cancel: threading.Event) -> StepFault | None:
        """See to it that everybody who has to be dead is; a fault names the first who may live still."""
        if self._asked is None:
            return StepFault("NOT_FENCED", "how the other members are heard is not known; the next attempt asks anew")
        told_ns, peers = self._newest(self._asked)
        for peer in self._suspects(peers):
            if self._is_confirmed(peer, told_ns):
                logger.warning("fenced by a human's word node=%s", peer.name)
                continue
            fault = self._run(peer, cancel)
            if fault is not None:
                return fault
        return None

    def confirm(self, args: Mapping[str, Any]) -> tuple[Report, ...]:
        """Take a human's word that a member is dead, unless it is heard, or nothing asks for it."""
        name = str(args.get("node", ""))
        settings, news = self._settings(), self._news()
        peer = next((p for p in news.peers if p.name == name), None) if news is not None else None
        if set(args) != {"node"} or peer is None:
            return (report("command-bad-argument", "takes the name of another member", key=COMMAND, value=name),)
        if not settings.fence_command:
            return (report("no-fence-command", "nobody asks for it: cluster.fence_command is not set", key=name),)
        if self._is_heard(peer):
            return (report("not-dead", f"was heard {peer.heard_ms} ms ago", key=name),)
        self._confirmed_ns[name] = boottime_ns()
        logger.warning("a human says that a member is dead node=%s", name)
        return (report("confirmed-dead", f"is taken for dead for {CONFIRMED_FOR_NS // 10**9} s", key=name),)

    def _newest(self, asked: "_Asked") -> tuple[int, tuple[PeerNews, ...]]:
        """Return how the members were heard last, and when that was told: the plan may have waited for another."""
        news = self._news()
        if news is None or news is asked.before:
            return asked.at_ns, asked.peers
        return boottime_ns(), news.peers

    def _suspects(self, peers: tuple[PeerNews, ...]) -> Iterator[PeerNews]:
        fears_unheard = self._settings().election.arbiter is Arbiter.NONE
        for peer in peers:
            is_unheard = peer.heard_ms is None and fears_unheard and not self._is_witness(peer)
            if is_unheard or (peer.role in DANGEROUS and not self._is_heard(peer)):
                yield peer

    def _is_heard(self, peer: PeerNews) -> bool:
        election = self._settings().election
        silence_ms = election.interval_ns * election.missed_adverts // NS_PER_MS + peer.patience_ms
        return peer.heard_ms is not None and peer.heard_ms < silence_ms

    def _is_witness(self, peer: PeerNews) -> bool:
        return any(m.name == peer.name and m.is_witness for m in self._settings().election.members)

    def _is_confirmed(self, peer: PeerNews, told_ns: int) -> bool:
        """Tell whether the word still holds: it is fresh, and the member was not heard since."""
        said_ns = self._confirmed_ns.get(peer.name)
        if said_ns is None or boottime_ns() - said_ns >= CONFIRMED_FOR_NS:
            return False
        return peer.heard_ms is None or told_ns - peer.heard_ms * NS_PER_MS <= said_ns

    def _run(self, peer: PeerNews, cancel: threading.Event) -> StepFault | None:
        settings = self._settings()
        argv = (*settings.fence_command, peer.name, peer.address)
        completed = run(argv, settings.fence_timeout_s, cancel=cancel, output_max=OUTPUT_MAX)
        if completed.is_success:
            logger.warning("fenced node=%s by=%s", peer.name, settings.fence_command[0])
            return None
        text = f"{peer.name} may live still: {argv[0]} {_how(completed)}"
        return StepFault("NOT_FENCED", f"{text}; when it is dead for certain: pycarpctl {COMMAND} {peer.name}")


def _how(completed: Completed) -> str:
    if completed.fault is not None:
        return f"cannot be run: {completed.fault}"
    if completed.timed_out:
        return "did not end in time"
    if completed.cancelled:
        return "was cut short, since another node was elected"
    said = (completed.stderr or completed.stdout).decode(errors="replace").strip()[-WORDS_MAX:]
    return f"ended with {completed.exit_status}: {said}"
