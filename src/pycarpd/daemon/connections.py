"""Who is connected to the serving mfsmaster: told in the master's adverts, remembered by those that may succeed it.

A successor needs the exact connections to wake their peers at once, and so does a node whose own mfsmaster is started
again. An advert has room for some, the fewer the more members there are; a master with more tells them in turn. Both
sides are bounded, and both know from the number of members how many are one share: a shorter list is told whole.
"""

from pycarpd.election.model import PeerConnection
from pycarpd.wire.trailer import connections_max

KEPT_MAX = 4096
KEPT_TURNS = 3
"""A connection that was not repeated in so many turns is over; two adverts in a row that tell of it may be lost."""


class ConnectionBook:
    """The connections to tell, when this node serves, or those heard from the node that does."""

    def __init__(self, members: int) -> None:
        self._share = connections_max(members - 1)
        self._own: tuple[PeerConnection, ...] = ()
        self._turn = 0
        self._heard: dict[PeerConnection, int] = {}
        """With the number of the advert that told of it last, the one that was repeated longest ago first."""
        self._heard_from = 0
        self._adverts = 0

    def set_own(self, connections: tuple[PeerConnection, ...]) -> None:
        """Replace what this node's adverts tell; a former master's connections are over then."""
        self._own = connections[:KEPT_MAX]
        self._heard.clear()

    def to_tell(self) -> tuple[PeerConnection, ...]:
        """Return what the next advert tells: all, or the next share of them."""
        if len(self._own) < self._share:
            return self._own
        self._turn %= len(self._own)
        share = (self._own + self._own)[self._turn : self._turn + self._share]
        self._turn += self._share
        return share

    def heard(self, node_id: int, connections: tuple[PeerConnection, ...]) -> None:
        """Remember what an advert of the serving node has told.

        Another node's word replaces the former's, and so does a list that is told whole: a peer that has connected
        anew must not count twice. An empty list says nothing: that node has not looked yet.
        """
        self._own = ()
        if node_id != self._heard_from or 0 < len(connections) < self._share:
            self._heard.clear()
            self._heard_from = node_id
        if not connections:
            return
        self._adverts += 1
        for connection in connections:
            self._heard.pop(connection, None)
            self._heard[connection] = self._adverts
        self._forget()

    def known(self) -> tuple[PeerConnection, ...]:
        """Return the old master's connections as last told; with none heard the old master was this node itself."""
        return tuple(self._heard) or self._own

    def _forget(self) -> None:
        """Forget what was not repeated for some turns, and what is too much."""
        turn = -(-len(self._heard) // self._share)
        while True:
            oldest = next(iter(self._heard))
            is_over = self._adverts - self._heard[oldest] > KEPT_TURNS * turn
            if not is_over and len(self._heard) <= KEPT_MAX:
                return
            del self._heard[oldest]
