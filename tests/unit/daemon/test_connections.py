"""The book tells every connection in turn, remembers one master's and is bounded on both sides."""

import math

import pytest

from pycarpd.daemon.connections import KEPT_MAX, KEPT_TURNS, ConnectionBook
from pycarpd.election.model import PeerConnection
from pycarpd.wire.trailer import connections_max

MEMBERS = 3
SHARE = connections_max(MEMBERS - 1)


def some(count: int, start: int = 0) -> tuple[PeerConnection, ...]:
    return tuple(PeerConnection(n.to_bytes(4, "big"), 40_000, 9421) for n in range(start, start + count))


@pytest.mark.parametrize("count", [0, 1, SHARE - 1, SHARE])
def test_a_few_connections_are_told_in_every_advert(count: int) -> None:
    book = ConnectionBook(MEMBERS)
    book.set_own(some(count))
    assert book.to_tell() == some(count)
    assert book.to_tell() == some(count)


@pytest.mark.parametrize("count", [SHARE + 1, 3 * SHARE, 1000, KEPT_MAX])
def test_many_connections_are_told_in_turn_none_left_out(count: int) -> None:
    book = ConnectionBook(MEMBERS)
    book.set_own(some(count))
    shares = [book.to_tell() for _ in range(math.ceil(count / SHARE))]
    assert all(len(share) == SHARE for share in shares)
    assert {connection for share in shares for connection in share} == set(some(count))


def test_a_list_that_shrinks_in_between_is_told_as_it_is_now() -> None:
    book = ConnectionBook(MEMBERS)
    book.set_own(some(1000))
    for _ in range(5):
        book.to_tell()
    book.set_own(some(200))
    assert {c for _ in range(2) for c in book.to_tell()} == set(some(200))
    book.set_own(())
    assert book.to_tell() == ()


def test_own_and_heard_connections_are_bounded() -> None:
    book = ConnectionBook(MEMBERS)
    book.set_own(some(2 * KEPT_MAX))
    told = {c for _ in range(2 * KEPT_MAX // SHARE) for c in book.to_tell()}
    assert told == set(some(KEPT_MAX))
    for start in range(0, 2 * KEPT_MAX, SHARE):
        book.heard(2, some(SHARE, start))
    assert len(book.known()) == KEPT_MAX


@pytest.mark.parametrize("members", [1, 3, 6, 16])
@pytest.mark.parametrize("count", [1, 88, 89, 90, 118, 119, 120, 121, 1000])
def test_a_successor_knows_all_of_a_cluster_of_any_size_and_no_other(members: int, count: int) -> None:
    master, standby = ConnectionBook(members), ConnectionBook(members)
    room = connections_max(members - 1)
    master.set_own(some(count, 7))  # some of which have gone when the others are told
    turn = math.ceil(count / room)
    for _ in range(turn):
        standby.heard(2, master.to_tell())
    master.set_own(some(count))
    for _ in range((KEPT_TURNS + 2) * (turn + 1)):
        told = master.to_tell()
        assert len(told) <= room
        standby.heard(2, told)
    assert set(standby.known()) == set(some(count))


def test_shares_are_kept_while_adverts_are_lost_and_forgotten_when_they_are_told_no_more() -> None:
    book = ConnectionBook(MEMBERS)
    first, second = some(SHARE), some(SHARE, SHARE)
    book.heard(2, first)
    for _ in range(KEPT_TURNS * 2):
        book.heard(2, second)
    assert set(book.known()) == {*first, *second}
    book.heard(2, second)
    assert book.known() == second


def test_a_former_master_knows_its_own_until_it_hears_of_others() -> None:
    book = ConnectionBook(MEMBERS)
    book.set_own(some(3))
    assert book.known() == some(3)
    book.heard(2, some(1, 10))
    assert book.known() == some(1, 10)
    assert book.to_tell() == ()


def test_another_masters_word_replaces_the_formers() -> None:
    book = ConnectionBook(MEMBERS)
    book.heard(2, some(3))
    book.heard(3, some(1, 10))
    assert book.known() == some(1, 10)
    book.heard(3, ())
    assert book.known() == some(1, 10)


def test_a_list_told_whole_replaces_the_one_before() -> None:
    book = ConnectionBook(MEMBERS)
    book.heard(2, some(3))
    book.heard(2, some(2, 2))
    assert book.known() == some(2, 2)


def test_a_node_that_serves_knows_its_own_connections() -> None:
    book = ConnectionBook(MEMBERS)
    book.heard(2, some(3))
    book.set_own(some(2, 5))
    assert book.known() == some(2, 5)
    book.heard(2, some(1))
    assert book.known() == some(1)
    book.heard(3, ())
    assert book.known() == ()
