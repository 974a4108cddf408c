"""The thread for votes: a state is told once it is on disk, tried again until it is, and in the order of the asking."""

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycarpd.daemon.channel import Channel, Closed, pair
from pycarpd.daemon.identity import VOTES_FILE, read_persistent
from pycarpd.daemon.messages import Message, Persisted, PersistRequest
from pycarpd.daemon.scribe import Scribe
from pycarpd.election.model import Persistent

OLD, NEW = Persistent(term=1), Persistent(term=2)
WAIT_S = 20.0
RETRIED_WITHIN_S = 1.5


@pytest.fixture
def heartbeat(tmp_path: Path) -> Iterator[Channel]:
    """Return the heartbeat's end of the channel to a scribe that works."""
    ours, theirs = pair()
    channel, other = Channel(ours), Channel(theirs)
    scribe = Scribe(tmp_path, other)
    scribe.start()
    yield channel
    channel.close()
    scribe.close()
    assert not scribe._thread.is_alive()
    other.close()


def told(channel: Channel, within_s: float = WAIT_S) -> Message | Closed | None:
    """Return what comes next, None when nothing comes in time."""
    ready = select.poll()
    ready.register(channel.fileno(), select.POLLIN)
    return channel.receive() if ready.poll(within_s * 1000) else None


def test_a_state_is_told_when_it_is_on_disk(tmp_path: Path, heartbeat: Channel) -> None:
    heartbeat.send(PersistRequest(NEW))
    assert told(heartbeat) == Persisted(NEW)
    assert read_persistent(tmp_path) == NEW


def test_states_are_written_in_the_order_in_which_they_are_asked_for(tmp_path: Path, heartbeat: Channel) -> None:
    heartbeat.send(PersistRequest(OLD))
    heartbeat.send(PersistRequest(NEW))
    assert [told(heartbeat), told(heartbeat)] == [Persisted(OLD), Persisted(NEW)]
    assert read_persistent(tmp_path) == NEW


def test_of_what_the_disk_refuses_only_the_newest_is_tried_again(tmp_path: Path, heartbeat: Channel) -> None:
    in_the_way = tmp_path / VOTES_FILE
    in_the_way.mkdir()
    heartbeat.send(PersistRequest(OLD))
    heartbeat.send(PersistRequest(NEW))
    assert told(heartbeat, 0.3) is None
    in_the_way.rmdir()
    assert told(heartbeat) == Persisted(NEW)
    assert told(heartbeat, RETRIED_WITHIN_S) is None
    assert read_persistent(tmp_path) == NEW


def test_what_was_asked_for_is_written_though_the_heartbeat_has_gone(tmp_path: Path) -> None:
    ours, theirs = pair()
    channel, other = Channel(ours), Channel(theirs)
    scribe = Scribe(tmp_path, other)
    channel.send(PersistRequest(NEW))
    channel.close()
    scribe.start()
    scribe.close()
    assert not scribe._thread.is_alive()
    other.close()
    assert read_persistent(tmp_path) == NEW
