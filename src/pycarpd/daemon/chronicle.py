"""The record of role changes: the newest is held until its plan has ended, then it goes to the history file."""

import logging
from dataclasses import dataclass, field

from pycarpd.control.history import History
from pycarpd.control.status import HistoryAnswer, Transition
from pycarpd.daemon.board import Board, transition
from pycarpd.daemon.disk import Disk
from pycarpd.daemon.messages import TransitionNews
from pycarpd.election.model import Role
from pycarpd.takeover.events import Outcome

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Chronicle:
    """What becomes of each change of role; use from one event loop only."""

    history: History
    board: Board
    disk: Disk
    _pending: Transition | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Show the newest change of an earlier run until there is one of this."""
        entries = self.history.entries
        self.board.last_transition = entries[-1] if entries else None
        self.board.damaged_lines = self.history.damaged_lines

    def answer(self, node: str) -> HistoryAnswer:
        """Return the kept transitions, the one that is held included."""
        entries = self.history.entries if self._pending is None else (*self.history.entries, self._pending)
        return HistoryAnswer(node=node, transitions=entries, damaged_lines=self.history.damaged_lines)

    def note(self, news: TransitionNews, *, is_promoting: bool) -> None:
        """Take in a change of role; that of a promotion whose plan is not over yet is held for its phases."""
        self.keep()
        has_plan = news.role is Role.MASTER or news.was in (Role.PROMOTING, Role.DEMOTING)
        if news.role is Role.PROMOTING:
            self.board.opened_by = news.cause.value
        is_promoted = news.was is Role.PROMOTING and news.role is Role.MASTER
        opened_by = self.board.opened_by if is_promoted else None
        self._pending = transition(news, self.board.phases if has_plan else {}, opened_by)
        self.board.last_transition = self._pending
        if not (is_promoting and news.role is Role.MASTER):
            self.keep()

    def end_plan(self, outcome: Outcome, operations_lost: int | None) -> None:
        """Complete what is held by how its plan ended, and the newest change by what it has cost."""
        if self._pending is not None:
            failed = None if outcome.ok else outcome.failed_step
            self._replace({"phases": dict(outcome.phases_ms), "failed_step": failed})
        self.keep()
        last = self.board.last_transition
        if operations_lost is not None and last is not None:
            amended = last.model_copy(update={"operations_lost": (last.operations_lost or 0) + operations_lost})
            self.board.last_transition = amended
            self.disk.write("amend the history", lambda: self.history.amend(amended))

    def _replace(self, update: dict[str, object]) -> None:
        if self._pending is not None:
            self._pending = self._pending.model_copy(update=update)
            self.board.last_transition = self._pending

    def keep(self) -> None:
        """Put the newest transition into the history, once its phases are known."""
        if self._pending is None:
            return
        entry, self._pending = self._pending, None
        self.disk.write("write the history", lambda: self.history.append(entry))
