"""What a standby remembers of the master that it follows and of the files it follows it with."""

from dataclasses import dataclass
from enum import Enum

from pycarpd.election.model import Advert, Branch, Freshness

RETRY_NS = 1_000_000_000
RETRY_MAX_NS = 60_000_000_000
"""A standby that cannot be made one is tried again after a second, then two, four, up to a minute."""


class Files(Enum):
    """What this host's files are to the master that is followed."""

    UNJUDGED = "not looked at since"
    LEAD_UP = "lead up to what it was promoted from"
    ITS_OWN = "are of its lineage"
    FOREIGN = "hold, or may hold, what it never had"


@dataclass(slots=True)
class Standby:
    """One mastership as it is followed here; ``master_id`` 0: none is at present.

    ``theirs``, ``branch`` and ``older`` are what its master last said of its files. ``before`` is what was here when
    nobody served, just before; ``version`` what was here at the last look, 0 for nothing; ``unreadable_ns`` since when
    the files prove nothing, 0 if they do. ``is_known``: in this life of the node a master of the lineage that its files
    are noted to be of was heard here, or was this node: it has not grown unseen by anybody's hand. ``is_made``: the
    plan that stops what must not run here is over.
    """

    master_id: int = 0
    term: int = 0
    theirs: Freshness | None = None
    branch: Branch | None = None
    older: tuple[Branch, ...] = ()
    before: Freshness | None = None
    version: int = 0
    unreadable_ns: int = 0
    files: Files = Files.UNJUDGED
    is_known: bool = False
    is_made: bool = False
    retry_ns: int | None = None
    failures: int = 0

    def is_of(self, master_id: int, term: int) -> bool:
        """Tell whether this is that node's mastership of that term."""
        return (self.master_id, self.term) == (master_id, term)

    def heard(self, advert: Advert) -> None:
        """Take in what the master says of its files."""
        self.theirs, self.branch, self.older = advert.freshness, advert.branch, advert.older

    def remembered(self) -> "Standby":
        """Return what is still true when nobody is followed any more."""
        return Standby(
            theirs=self.theirs,
            branch=self.branch,
            older=self.older,
            before=self.before,
            version=self.version,
            is_known=self.is_known,
        )

    def fail(self, now_ns: int) -> None:
        """Plan another attempt, later each time."""
        self.retry_ns = now_ns + min(RETRY_NS << min(self.failures, 10), RETRY_MAX_NS)
        self.failures += 1
