"""A simulated DATA_PATH: which copies of the metadata lie where, also after a loss of power between two writes."""

from dataclasses import dataclass, replace

METAID = 0x5EED


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the metadata; ``is_whole``: its chain has no gap. ``term`` is the one its last line was served in."""

    version: int
    term: int = 0
    metaid: int = METAID
    is_whole: bool = True


@dataclass(slots=True)
class DataPath:
    """The metalogger's files, mfsmaster's own, and what plans keep beside them."""

    logger: Copy | None = Copy(1)
    own: Copy | None = None
    staging: Copy | None = None
    preserved: Copy | None = None
    preserved_for: str = ""
    """The plan that has preserved files last."""
    before: tuple[Copy | None, Copy | None] = (None, None)
    archive: tuple[str, Copy | None, Copy | None] | None = None
    """The newest archive: the plan it belongs to, and what was in the way of that."""

    @property
    def best(self) -> Copy | None:
        """Return the newest copy that lies here, whoever wrote it."""
        return max((c for c in (self.logger, self.own) if c is not None), key=lambda c: c.version, default=None)

    @property
    def in_the_way(self) -> tuple[Copy | None, Copy | None]:
        """Return what an mfsmaster or metalogger would find: what a plan that is undone has to bring back."""
        return (self.logger, self.own)

    def remember(self) -> None:
        """Note, for the checkers, what is in the way as a plan begins."""
        self.before = self.in_the_way

    @property
    def is_as_before(self) -> bool:
        """Tell whether the files are those of before the plan; the metalogger may have written on."""
        logger, own = self.before
        is_logger_back = logger is None or (self.logger is not None and self.logger.version >= logger.version)
        return self.own == own and is_logger_back

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
        """Let the metalogger write what the master has."""
        self.logger = replace(master, is_whole=True)

    def write(self, term: int) -> None:
        """Let mfsmaster write one line more."""
        if self.own is not None:
            self.own = replace(self.own, version=self.own.version + 1, term=term)
