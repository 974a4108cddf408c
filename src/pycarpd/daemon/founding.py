"""``pycarpctl bootstrap``: a new, empty file system, where no member has the metadata of one.

Everything else refuses an empty file system (S7). So the operator's word is needed, this host's data directory has to
be empty of metadata, and every other member that could have some has to say that it has none. One that is not heard
cannot say so: the operator answers for it, by the code of that refusal.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from pycarpd.control.reports import Report, report
from pycarpd.daemon.board import Board
from pycarpd.daemon.messages import PeerNews, StatusNews
from pycarpd.daemon.patient import Findings
from pycarpd.election.model import Role
from pycarpd.takeover.bootstrap import NewFileSystem, make_file_system, metadata_files
from pycarpd.takeover.context import TakeoverSettings

logger = logging.getLogger(__name__)

COMMAND = "bootstrap"
HEARD_WITHIN_MS = 10_000


class Founding:
    """Knows whether this host has metadata, and makes the first; use from one event loop only."""

    def __init__(
        self,
        takeover: TakeoverSettings,
        board: Board,
        remembered: Callable[[], int | None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._takeover = takeover
        self._board = board
        self._remembered = remembered
        self._is_busy = is_busy
        self._is_founding = False

    def has_files(self, found: Findings) -> bool:
        """Tell whether this host has metadata of any file system, whole or not."""
        if found.freshness is not None:
            return True
        try:
            return bool(metadata_files(self._takeover.data_path))
        except OSError as error:
            logger.warning("cannot look for metadata error=%s", error)
            return True  # what cannot be looked at is not called empty

    async def command(self, args: Mapping[str, Any]) -> tuple[Report, ...]:
        """Make a new file system on this host, or say everything that speaks against it."""
        force = args.get("force")
        if not set(args) <= {"force"} or not isinstance(force, str | None):
            return (report("command-bad-argument", "bootstrap takes a code as 'force'", key="force"),)
        objections = [each for each in self._objections() if force is None or each.force_code != force]
        if objections:
            return tuple(objections)
        self._is_founding = True
        try:
            made = await asyncio.to_thread(make_file_system, self._takeover)
        finally:
            self._is_founding = False
        if not isinstance(made, NewFileSystem):
            return (report("bootstrap-failed", made.detail, value=made.code),)
        logger.warning("made a new, empty file system metaid=%016x", made.metaid)
        return (report("bootstrap-done", f"metaid {made.metaid:016x}", value=f"{made.metaid:016x}"),)

    def _objections(self) -> list[Report]:
        news = self._board.news
        if news is None or news.role is not Role.BACKUP or self._is_busy() or self._is_founding:
            role = news.role.name if news is not None else "INIT"
            return [report("bootstrap-not-now", f"this node is {role}, or a plan is under way")]
        found = [*self._own_objections(), *_objections_elsewhere(news)]
        if news.master:
            found.append(report("bootstrap-has-master", f"{news.master} serves", key=news.master))
        return found

    def _own_objections(self) -> list[Report]:
        found: list[Report] = []
        there = metadata_files(self._takeover.data_path)
        if there:
            text = f"{len(there)} files of metadata: {', '.join(there[:4])}"
            found.append(report("bootstrap-has-metadata", text, key=str(self._takeover.data_path)))
        remembered = self._remembered()
        if remembered is not None:
            text = f"this host expects file system {remembered:016x}"
            found.append(report("bootstrap-expects-another", text, value=f"{remembered:016x}"))
        return found


def _objections_elsewhere(news: StatusNews) -> list[Report]:
    return [each for peer in news.peers if not peer.is_witness and (each := _objection(peer)) is not None]


def _objection(peer: PeerNews) -> Report | None:
    if peer.heard_ms is None or peer.heard_ms > HEARD_WITHIN_MS or not peer.is_proven:
        return report("bootstrap-member-silent", "is not heard: it may have metadata", key=peer.name)
    if peer.has_files or peer.freshness is not None:
        return report("bootstrap-has-metadata", "has metadata", key=peer.name)
    return None
