"""What a node remembers of a planned handover of the master's role, on either side of it; see handover.py."""

from dataclasses import dataclass
from enum import Enum

from pycarpd.election.model import Cause, Handover, Role


class Phase(Enum):
    """How far a handover has come: three phases of the master, two of its successor."""

    HOLDING = "clients are being held"
    OFFERED = "the successor makes its files level"
    CONFIRMING = "nothing has changed meanwhile"
    LEVELLING = "the metalogger is being stopped"
    LEVEL = "the files are level"

    @property
    def is_masters(self) -> bool:
        """Tell whether the master is in it, or the successor."""
        return self in (Phase.HOLDING, Phase.OFFERED, Phase.CONFIRMING)


@dataclass(slots=True)
class Handing:
    """One handover. ``peer_id`` is the other side; ``term`` the master's; ``version`` what the clients are held at.

    ``level_version`` is what the successor's files prove, 0 as long as that is not known, or cannot be.
    """

    phase: Phase
    peer_id: int
    term: int
    deadline_ns: int
    cause: Cause = Cause.SWITCHOVER
    version: int = 0
    level_version: int = 0

    @property
    def role(self) -> Role:
        """Return the role that this side has for as long as it lasts."""
        return Role.MASTER if self.phase.is_masters else Role.BACKUP

    @property
    def told_version(self) -> int | None:
        """Return the version that adverts are to say, None if they are to say nothing yet."""
        match self.phase:
            case Phase.OFFERED | Phase.CONFIRMING:
                return self.version
            case Phase.LEVEL:
                return self.level_version
            case _:
                return None


def told_in(role: Role, handing: Handing | None) -> Handover | None:
    """Return what an advert of that role is to say of the handover."""
    version = handing.told_version if handing is not None and handing.role is role else None
    return Handover(handing.peer_id, version) if handing is not None and version is not None else None
