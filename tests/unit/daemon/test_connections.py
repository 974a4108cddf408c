"""The book tells every connection in turn, remembers one master's and is bounded on both sides."""

import math

import pytest

from pycarpd.daemon.connections import KEPT_FOR_NS, KEPT_MAX, PER_ADVERT_MAX, ConnectionBook
from pycarpd.election.model import PeerConnection


def some(count: int, start: int = 0) -> tuple[PeerConnection, ...]:
    return tuple(PeerConnection(n.to_bytes(4, "big"), 40_000, 9421) for n in range(start, start + count))


@pytest.mark.parametrize("count", [0, 1, PER_ADVERT_MAX])
def test_a_few_connections_are_told_in_every_advert(count: int) -> None:
    book = ConnectionBook()
    book.set_own(some(count))
    assert book.to_tell() == some(count)
    assert book.to_tell() == some(count)


@pytest.mark.parametrize("count", [PER_ADVERT_MAX + 1, 3 * PER_ADVERT_MAX, 1000, KEPT_MAX])
def test_many_connections_are_told_in_turn_none_left_out(count: int) -> None:
    book = ConnectionBook()
    book.set_own(some(count))
    shares = [book.to_tell() for _ in range(math.ceil(count / PER_ADVERT_MAX))]
    assert all(len(share) == PER_ADVERT_MAX for share in shares)
    assert {connection for share in shares for connection in share} == set(some(count))


def test_a_list_that_shrinks_in_between_is_told_as_it_is_now() -> None:
    book = ConnectionBook()
    book.set_own(some(1000))
    for _ in range(5):
        book.to_tell()
    book.set_own(some(200))
    assert {c for _ in range(2) for c in book.to_tell()} == set(some(200))
    book.set_own(())
    assert book.to_tell() == ()


def test_own_and_heard_connections_are_bounded() -> None:
    book = ConnectionBook()
    book.set_own(some(2 * KEPT_MAX))
    told = {c for _ in range(2 * KEPT_MAX // PER_ADVERT_MAX) for c in book.to_tell()}
    assert told == set(some(KEPT_MAX))
    for start in range(0, 2 * KEPT_MAX, PER_ADVERT_MAX):
        book.heard(2, some(PER_ADVERT_MAX, start), 0)
    assert len(book.known(0)) == KEPT_MAX


def test_shares_are_forgotten_when_they_are_not_told_again() -> None:
    book = ConnectionBook()
    first, second = some(PER_ADVERT_MAX), some(PER_ADVERT_MAX, PER_ADVERT_MAX)
    book.heard(2, first, 0)
    book.heard(2, second, KEPT_FOR_NS)
    assert set(book.known(KEPT_FOR_NS)) == {*first, *second}
    assert book.known(KEPT_FOR_NS + 1) == second
    assert book.known(2 * KEPT_FOR_NS + 1) == ()


def test_a_former_master_knows_its_own_until_it_hears_of_others() -> None:
    book = ConnectionBook()
    book.set_own(some(3))
    assert book.known(0) == some(3)
    book.heard(2, some(1, 10), 1)
    assert book.known(1) == some(1, 10)
    assert book.to_tell() == ()


def test_what_is_forgotten_makes_room() -> None:
    book = ConnectionBook()
    book.heard(2, some(KEPT_MAX), 0)
    newer = some(PER_ADVERT_MAX, KEPT_MAX)
    book.heard(2, newer, KEPT_FOR_NS + 1)
    assert book.known(KEPT_FOR_NS + 1) == newer
    book.heard(2, newer, 2 * KEPT_FOR_NS)
    assert book.known(2 * KEPT_FOR_NS + 2) == newer


def test_another_masters_word_replaces_the_formers() -> None:
    book = ConnectionBook()
    book.heard(2, some(3), 0)
    book.heard(3, some(1, 10), 1)
    assert book.known(1) == some(1, 10)
    book.heard(3, (), 2)
    assert book.known(2) == some(1, 10)


def test_a_list_told_whole_replaces_the_one_before() -> None:
    book = ConnectionBook()
    book.heard(2, some(3), 0)
    book.heard(2, some(2, 2), 1)
    assert book.known(1) == some(2, 2)


def test_a_node_that_serves_knows_its_own_connections() -> None:
    book = ConnectionBook()
    book.heard(2, some(3), 0)
    book.set_own(some(2, 5))
    assert book.known(1) == some(2, 5)
    book.heard(2, some(1), 2)
    assert book.known(2) == some(1)
    book.heard(3, (), 3)
    assert book.known(3) == ()
