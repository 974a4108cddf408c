"""How a node reacts to another's claim of the virtual address: pure judgement, no state.

Three facts order claims, in this order. A *served* term is one in which a mfsmaster really served: a master of an
older term than the newest served one has missed writes and must go, whoever outranks whom. A serving MASTER stands
before a candidate that is still PROMOTING, since nothing has been served in the candidate's term. Between equals
the better advert wins as in CARP: smaller (demotion, priority turned round), then the source address.
"""

from dataclasses import dataclass
from enum import Enum

from pycarpd.election.model import Advert, PlainAdvert, Role, TieBreak


class Reaction(Enum):
    """What a claim calls for."""

    FOLLOW = "follow"
    YIELD = "yield"
    ASSERT = "assert"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a node brings to a comparison: smaller handicap is better, the address breaks ties."""

    handicap: tuple[int, int]
    address: bytes

    def is_better_than(self, other: "Standing", tie_break: TieBreak) -> bool:
        """Tell whether this standing wins; ucarp on little-endian hosts compares the last octet first."""
        if self.handicap != other.handicap:
            return self.handicap < other.handicap
        if tie_break is TieBreak.UCARP_LITTLE_ENDIAN:
            return self.address[::-1] < other.address[::-1]
        return self.address < other.address


def by_term(advert: Advert, served_term: int, master_id: int) -> Reaction:
    """Judge a member's claim (role PROMOTING or MASTER) by its term alone: ASSERT against an outdated one, else FOLLOW.

    The first question for every role, and the only one for those that have no claim to hold against it.
    """
    if advert.role is Role.MASTER:
        is_outdated = advert.term < served_term
    else:
        is_in_place_restart = advert.node_id == master_id and advert.term == served_term
        is_outdated = advert.term <= served_term and not is_in_place_restart
    return Reaction.ASSERT if is_outdated else Reaction.FOLLOW


def standing_of(advert: Advert, source: bytes) -> Standing:
    """Return a member's standing from its trailer."""
    return Standing((advert.demotion, 255 - advert.priority), source)


def plain_standing(advbase: int, advskew: int, address: bytes) -> Standing:
    """Return the standing that a CARP header alone expresses; only comparable with another such."""
    return Standing((advbase, advskew), address)


@dataclass(frozen=True, slots=True)
class Judge:
    """One node's point of view at the moment of a claim.

    ``is_elected``: a majority has voted for the claim, so a master of an older term has lost its lease already.
    """

    role: Role
    claimed_term: int
    served_term: int
    master_id: int
    standing: Standing
    plain: Standing
    tie_break: TieBreak
    is_elected: bool = False

    def on_claim(self, advert: Advert, source: bytes) -> Reaction:
        """Judge a member's claim (role PROMOTING or MASTER)."""
        reaction = by_term(advert, self.served_term, self.master_id)
        if reaction is Reaction.ASSERT:
            return reaction
        match self.role:
            case Role.MASTER:
                return self._as_master(advert, source)
            case Role.PROMOTING:
                return self._as_candidate(advert, source)
            case Role.SUSPENDED:
                return self._while_suspended(advert, source)
            case _:
                return reaction

    def on_plain_claim(self, advert: PlainAdvert, source: bytes) -> Reaction:
        """Judge a ucarp host's claim: CARP's own rule, on (advbase, advskew) and address alone.

        But a suspended master has been silent, and a ucarp that claims has served meanwhile, however bad its advert.
        """
        if self.role is Role.SUSPENDED:
            return Reaction.YIELD
        if self.role not in (Role.MASTER, Role.PROMOTING):
            return Reaction.FOLLOW
        theirs = plain_standing(advert.advbase, advert.advskew, source)
        return Reaction.YIELD if theirs.is_better_than(self.plain, self.tie_break) else Reaction.ASSERT

    def _as_master(self, advert: Advert, source: bytes) -> Reaction:
        if advert.role is Role.PROMOTING:
            return Reaction.ASSERT
        return self._by_term_then_standing(advert, source)

    def _as_candidate(self, advert: Advert, source: bytes) -> Reaction:
        is_past = self.is_elected and advert.term < self.claimed_term
        if advert.role is Role.MASTER and not is_past:
            return Reaction.YIELD
        return self._by_term_then_standing(advert, source)

    def _while_suspended(self, advert: Advert, source: bytes) -> Reaction:
        return self._by_term_then_standing(advert, source)

    def _by_term_then_standing(self, advert: Advert, source: bytes) -> Reaction:
        if advert.term != self.claimed_term:
            return Reaction.YIELD if advert.term > self.claimed_term else Reaction.ASSERT
        theirs = standing_of(advert, source)
        return Reaction.YIELD if theirs.is_better_than(self.standing, self.tie_break) else Reaction.ASSERT
