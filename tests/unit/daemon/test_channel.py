"""Messages arrive whole, in order and unchanged, or the channel says that it is closed."""

import logging
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycarpd.daemon import messages as msg
from pycarpd.daemon.channel import MESSAGE_BYTES_MAX, Channel, Closed, decode, encode, pair
from pycarpd.daemon.connections import KEPT_MAX
from pycarpd.election.model import PeerConnection, Persistent
from pycarpd.invariant import InvariantError
from tests.unit.daemon.values import peer_news, status_news

KINDS = get_args(msg.Message)
CONNECTIONS = tuple(PeerConnection(n.to_bytes(4, "big"), 65_535, 9421) for n in range(KEPT_MAX))


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = pair()
    channels = (Channel(one), Channel(other))
    yield channels
    for channel in channels:
        channel.close()


def drained(channel: Channel) -> list[msg.Message]:
    found = []
    while (message := channel.receive()) is not None and not isinstance(message, Closed):
        found.append(message)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_every_message_comes_back_as_it_was(kind: type[Any]) -> None:
    @given(st.from_type(kind))
    def check(message: Any) -> None:
        assert decode(encode(message)) == message

    check()


def test_every_class_of_the_protocol_is_one_of_the_kinds() -> None:
    defined = {value for value in vars(msg).values() if isinstance(value, type) and value.__module__ == msg.__name__}
    helpers = {msg.PeerNews}
    elections_own = {kind for kind in KINDS if kind.__module__.startswith("pycarpd.election.")}
    assert defined - helpers == set(KINDS) - elections_own


def test_messages_cross_a_real_pair_in_order_and_never_wait(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    assert other.receive() is None
    sent = [
        msg.AttachRequest(7),
        status_news(),
        msg.PromoteRequest(8, CONNECTIONS, peers=(peer_news(),)),
        msg.Goodbye(),
    ]
    for message in sent:
        one.send(message)  # type: ignore[arg-type]  # the list's element type is the union's members
    assert drained(other) == sent
    assert other.receive() is None
    assert not other.is_closed


def test_what_the_other_side_sent_before_it_closed_is_still_read(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one.send(msg.PlanEnded(3, is_promotion=True, is_ok=False))
    one.close()
    assert other.receive() == msg.PlanEnded(3, is_promotion=True, is_ok=False)
    assert other.receive() is Closed.CLOSED
    assert other.receive() is Closed.CLOSED
    assert other.is_closed
    other.send(msg.Goodbye())


def test_sending_to_a_closed_other_side_closes_this_one_and_raises_nothing(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    other.close()
    one.send(msg.LogNews(logging.INFO, "into the void"))
    assert one.is_closed
    assert one.receive() is Closed.CLOSED


@pytest.mark.parametrize(
    "news", [msg.LogNews(logging.INFO, "x" * 1000), status_news(), msg.ConnectionsNews(CONNECTIONS)]
)
def test_news_that_nobody_takes_are_dropped_counted_and_no_fault(
    ends: tuple[Channel, Channel], news: msg.Message
) -> None:
    one, other = ends
    tried = 0
    while not one.dropped and tried < 10_000:
        one.send(news)
        tried += 1
    assert 0 < one.dropped < tried
    one.send(news)
    tried += 1
    assert not one.is_closed
    assert len(drained(other)) == tried - one.dropped
    one.send(msg.Goodbye())
    assert drained(other) == [msg.Goodbye()]


@pytest.mark.parametrize("essential", [msg.PersistRequest(Persistent(1)), msg.AbortRequest(1), msg.Goodbye()])
def test_an_essential_message_that_nobody_takes_closes_the_channel(
    ends: tuple[Channel, Channel], essential: msg.Message
) -> None:
    one, other = ends
    news = msg.LogNews(logging.INFO, "")
    while not one.dropped:
        one.send(news)
    one.send(essential)
    assert one.is_closed
    before = len(drained(other))
    one.send(news)
    assert drained(other) == []
    assert before > 0
    assert one.receive() is Closed.CLOSED


def test_the_largest_request_fits_and_a_larger_message_is_a_bug() -> None:
    peers = (peer_news(name="n" * 64),) * 15
    assert len(encode(msg.PromoteRequest(2**63, CONNECTIONS, peers=peers))) < MESSAGE_BYTES_MAX
    with pytest.raises(InvariantError):
        encode(msg.LogNews(logging.INFO, "x" * MESSAGE_BYTES_MAX))


@pytest.mark.parametrize("data", [b'["Nobody",[]]', b'["Member",[]]'])
def test_a_message_of_no_kind_is_a_bug(data: bytes) -> None:
    with pytest.raises(InvariantError):
        decode(data)
