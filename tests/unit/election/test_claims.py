"""Judge as a table: each role against each kind of claim, for a node that claims or has served term 5."""

import pytest

from pycarpd.election.claims import Judge, Reaction, Standing, by_term, plain_standing, standing_of
from pycarpd.election.model import CONTENDING, PlainAdvert, Role, TieBreak
from tests.unit.election.bench import ME, SECOND, UCARP, advert

FOLLOW, YIELD, ASSERT = Reaction.FOLLOW, Reaction.YIELD, Reaction.ASSERT
WEAK, EQUAL, STRONG = 100, 128, 200


def judge(role: Role, *, master_id: int = 0) -> Judge:
    """Return the view of a node of priority 128 that claims term 6 as a candidate, term 5 otherwise."""
    is_candidate = role is Role.PROMOTING
    return Judge(
        role=role,
        claimed_term=6 if is_candidate else 5,
        served_term=5,
        master_id=master_id,
        standing=Standing((0, 255 - EQUAL), ME.address),
        plain=plain_standing(1, 126, ME.address),
        tie_break=TieBreak.NUMERIC,
    )


MASTER_CLAIMS = {
    # role: reactions to a MASTER's claim of term 4, 5 weaker, 5 equal but of a higher address, 5 stronger, 6
    Role.INIT: (ASSERT, FOLLOW, FOLLOW, FOLLOW, FOLLOW),
    Role.BACKUP: (ASSERT, FOLLOW, FOLLOW, FOLLOW, FOLLOW),
    Role.PROMOTING: (ASSERT, YIELD, YIELD, YIELD, YIELD),
    Role.MASTER: (ASSERT, ASSERT, ASSERT, YIELD, YIELD),
    Role.SUSPENDED: (ASSERT, ASSERT, ASSERT, YIELD, YIELD),
    Role.DEMOTING: (ASSERT, FOLLOW, FOLLOW, FOLLOW, FOLLOW),
    Role.FAULT: (ASSERT, FOLLOW, FOLLOW, FOLLOW, FOLLOW),
}
CANDIDATE_CLAIMS = {
    # role: reactions to a candidate's claim of term 4, 5, 6 weaker, 6 equal but of a higher address, 6 stronger, 7
    Role.INIT: (ASSERT, ASSERT, FOLLOW, FOLLOW, FOLLOW, FOLLOW),
    Role.BACKUP: (ASSERT, ASSERT, FOLLOW, FOLLOW, FOLLOW, FOLLOW),
    Role.PROMOTING: (ASSERT, ASSERT, ASSERT, ASSERT, YIELD, YIELD),
    Role.MASTER: (ASSERT, ASSERT, ASSERT, ASSERT, ASSERT, ASSERT),
    Role.SUSPENDED: (ASSERT, ASSERT, YIELD, YIELD, YIELD, YIELD),
    Role.DEMOTING: (ASSERT, ASSERT, FOLLOW, FOLLOW, FOLLOW, FOLLOW),
    Role.FAULT: (ASSERT, ASSERT, FOLLOW, FOLLOW, FOLLOW, FOLLOW),
}


@pytest.mark.parametrize("role", Role)
def test_a_masters_claim(role: Role) -> None:
    kinds = ((4, STRONG), (5, WEAK), (5, EQUAL), (5, STRONG), (6, WEAK))
    judged = tuple(
        judge(role).on_claim(advert(Role.MASTER, term, priority=priority), SECOND.address) for term, priority in kinds
    )
    assert judged == MASTER_CLAIMS[role]


@pytest.mark.parametrize("role", Role)
def test_a_candidates_claim(role: Role) -> None:
    kinds = ((4, STRONG), (5, STRONG), (6, WEAK), (6, EQUAL), (6, STRONG), (7, WEAK))
    judged = tuple(
        judge(role).on_claim(advert(Role.PROMOTING, term, priority=priority), SECOND.address)
        for term, priority in kinds
    )
    assert judged == CANDIDATE_CLAIMS[role]


@pytest.mark.parametrize("role", [Role.INIT, Role.BACKUP, Role.DEMOTING, Role.FAULT])
def test_the_masters_restart_in_place_is_followed_in_its_own_term(role: Role) -> None:
    claim = advert(Role.PROMOTING, 5)
    assert judge(role, master_id=SECOND.node_id).on_claim(claim, SECOND.address) is FOLLOW
    assert judge(role, master_id=SECOND.node_id + 1).on_claim(claim, SECOND.address) is ASSERT


UCARP_CLAIMS = {
    # role: reactions to a better, a worse and an equal header of a higher address
    Role.INIT: (FOLLOW, FOLLOW, FOLLOW),
    Role.BACKUP: (FOLLOW, FOLLOW, FOLLOW),
    Role.PROMOTING: (YIELD, ASSERT, ASSERT),
    Role.MASTER: (YIELD, ASSERT, ASSERT),
    Role.SUSPENDED: (YIELD, YIELD, YIELD),
    Role.DEMOTING: (FOLLOW, FOLLOW, FOLLOW),
    Role.FAULT: (FOLLOW, FOLLOW, FOLLOW),
}


@pytest.mark.parametrize("role", Role)
def test_a_ucarp_hosts_claim(role: Role) -> None:
    kinds = ((1, 0), (1, 200), (1, 126))
    judged = tuple(judge(role).on_plain_claim(PlainAdvert(base, skew, 1), UCARP) for base, skew in kinds)
    assert judged == UCARP_CLAIMS[role]


def test_a_demotion_counts_for_more_than_any_priority() -> None:
    ill = standing_of(advert(Role.MASTER, 5, priority=254, demotion=1), ME.address)
    well = standing_of(advert(Role.MASTER, 5, priority=1, demotion=0), SECOND.address)
    assert well.is_better_than(ill, TieBreak.NUMERIC)
    assert not ill.is_better_than(well, TieBreak.NUMERIC)


def test_equal_adverts_are_ordered_as_ucarp_does_on_little_endian_hosts() -> None:
    low, high = plain_standing(1, 0, bytes([192, 0, 2, 9])), plain_standing(1, 0, bytes([198, 0, 2, 1]))
    assert low.is_better_than(high, TieBreak.NUMERIC)
    assert high.is_better_than(low, TieBreak.UCARP_LITTLE_ENDIAN)


@pytest.mark.parametrize("tie_break", TieBreak)
def test_of_two_different_nodes_exactly_one_is_better(tie_break: TieBreak) -> None:
    standings = [Standing((d, p), bytes([192, 0, 2, last])) for d in (0, 240) for p in (1, 2) for last in (1, 2)]
    for one in standings:
        assert not one.is_better_than(one, tie_break)
        for other in standings:
            if one is not other:
                assert one.is_better_than(other, tie_break) != other.is_better_than(one, tie_break)


@pytest.mark.parametrize("role", [role for role in Role if role not in CONTENDING])
@pytest.mark.parametrize("claimed_as", [Role.MASTER, Role.PROMOTING])
@pytest.mark.parametrize("term", [4, 5, 6])
@pytest.mark.parametrize("master_id", [0, SECOND.node_id])
def test_without_a_claim_of_its_own_a_node_asks_for_the_term_alone(
    role: Role, claimed_as: Role, term: int, master_id: int
) -> None:
    claim = advert(claimed_as, term, priority=STRONG)
    assert by_term(claim, 5, master_id) is judge(role, master_id=master_id).on_claim(claim, SECOND.address)
