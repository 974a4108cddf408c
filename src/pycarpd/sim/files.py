"""A simulated DATA_PATH: which copies of the metadata lie where, also after a loss of power between two writes."""

from dataclasses import dataclass, replace

METAID = 0x5EED
History = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the metadata; ``is_whole``: its chain has no gap.

    ``history`` is by whom it was truly written, or served: terms, each with the last version of it.
    """

    version: int
    history: History = ()
    metaid: int = METAID
    is_whole: bool = True

    @property
    def lines(self) -> History:
        """Return the history without the terms in which nothing was written; what stood around one is one piece."""
        before = (0, *(last for _, last in self.history))
        written = [each for each, since in zip(self.history, before, strict=False) if each[1] > since]
        nexts = [*(term for term, _ in written[1:]), None]
        return tuple(each for each, following in zip(written, nexts, strict=False) if each[0] != following)

    @property
    def standing(self) -> tuple[int, int]:
        """Return the term in which it was served last, and the version: what copies are ordered by."""
        return (self.history[-1][0] if self.history else 0, self.version)

    def until(self, version: int) -> "Copy":
        """Return this copy as it was at an older version."""
        kept: list[tuple[int, int]] = []
        for term, last in self.history:
            if not kept or kept[-1][1] < version:
                kept.append((term, min(last, version)))
        return replace(self, version=min(version, self.version), history=tuple(kept))

    def leads_to(self, other: "Copy") -> bool:
        """Tell whether *other* has all of this copy's lines, and perhaps more."""
        return self.version <= other.version and other.until(self.version).lines == self.lines

    def followed_by(self, master: "Copy") -> "Copy":
        """Return what a metalogger makes of this copy: it appends what the master has beyond it."""
        history = [*self.history]
        for term, last in master.history:
            is_served = last == self.version and term > self.standing[0]
            if last > self.version or is_served:
                if history and history[-1][0] == term:
                    history.pop()
                history.append((term, last))
        return replace(self, version=max(self.version, master.version), history=tuple(history), is_whole=True)

    def written(self, term: int, lines: int = 1) -> "Copy":
        """Return the copy with more lines, of that term."""
        version = self.version + lines
        before = self.history[:-1] if self.history and self.history[-1][0] == term else self.history
        return replace(self, version=version, history=(*before, (term, version)))


@dataclass(slots=True)
class DataPath:
    """The metalogger's files, mfsmaster's own, and what plans keep beside them."""

    logger: Copy | None = Copy(1, ((0, 1),))
    own: Copy | None = None
    staging: Copy | None = None
    preserved: Copy | None = None
    preserved_for: str = ""
    """The plan that has preserved files last."""
    before: tuple[Copy | None, Copy | None] = (None, None)
    has_followed: bool = False
    """Whether the metalogger has got anything since a plan began."""
    has_written_on: bool = False
    """Whether the mfsmaster that ran as a plan began has written since; one that the plan starts writes of its term."""
    archive: tuple[str, Copy | None, Copy | None] | None = None
    """The newest archive: the plan it belongs to, and what was in the way of that."""

    @property
    def best(self) -> Copy | None:
        """Return the newest copy that lies here, whoever wrote it; two histories are no chain."""
        found = sorted((c for c in (self.logger, self.own) if c is not None), key=lambda c: c.version)
        if len(found) > 1 and not found[0].leads_to(found[1]):
            return replace(found[1], is_whole=False)
        return found[-1] if found else None

    @property
    def in_the_way(self) -> tuple[Copy | None, Copy | None]:
        """Return what an mfsmaster or metalogger would find: what a plan that is undone has to bring back."""
        return (self.logger, self.own)

    def remember(self) -> None:
        """Note, for the checkers, what is in the way as a plan begins."""
        self.before = self.in_the_way
        self.has_followed = self.has_written_on = False

    @property
    def is_as_before(self) -> bool:
        """Tell whether the files are those of before the plan; who wrote them may have written on until it ended."""
        logger, own = self.before
        is_back = self.logger is not None and logger is not None and self.logger.version >= logger.version
        is_logger_back = logger is None or is_back or self.has_followed
        is_longer = self.has_written_on and own is not None and self.own is not None and own.leads_to(self.own)
        return (self.own == own or is_longer) and is_logger_back

    def displace(self, label: str) -> None:
        """Put the files that are in the way into the plan's archive; the first of an installation's two writes."""
        if self.archive is None or self.archive[0] != label:
            self.archive = (label, self.logger, self.own)
            self.logger = self.own = None

    def place(self) -> None:
        """Put the assembled files where mfsmaster looks for them; the second write."""
        self.own, self.staging = self.staging, None

    def take_back(self, label: str) -> None:
        """Undo a plan's installation, whole or half done, however often asked."""
        if self.archive is not None and self.archive[0] == label:
            _, self.logger, self.own = self.archive
            self.archive = None

    def follow(self, master: Copy) -> None:
        """Let the metalogger write what the master has: one that knows more forgets it and loads all anew."""
        self.has_followed = True
        if self.logger is None or self.logger.version > master.version or self.logger.metaid != master.metaid:
            self.logger = replace(master, is_whole=True)
        else:
            self.logger = self.logger.followed_by(master)

    def write(self, term: int, lines: int = 1) -> None:
        """Let mfsmaster write some lines more."""
        if self.own is not None:
            self.has_written_on = self.has_written_on or term <= self.own.standing[0]
            self.own = self.own.written(term, lines)

    def leave_unwritten(self, lines: int, began_at: int) -> None:
        """Let the newest lines be missing from mfsmaster's own files, of those that it has served since it began."""
        if self.own is not None and self.own.version > began_at:
            self.own = self.own.until(max(began_at, self.own.version - lines))
