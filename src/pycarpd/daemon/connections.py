"""Who is connected to the serving mfsmaster: told in the master's adverts, remembered by those that may succeed it.

A successor needs the exact connections to wake their peers at once, and so does a node whose own mfsmaster is started
again. An advert has room for some; a master with more tells them in turn. Both sides are bounded.
"""

from pycarpd.election.model import PeerConnection

PER_ADVERT_MAX = 120
KEPT_MAX = 4096
KEPT_FOR_NS = 60_000_000_000


class ConnectionBook:
    """The connections to tell, when this node serves, or those heard from the node that does."""

    def __init__(self) -> None:
        self._own: tuple[PeerConnection, ...] = ()
        self._turn = 0
        self._heard: dict[PeerConnection, int] = {}
        self._heard_from = 0

    def set_own(self, connections: tuple[PeerConnection, ...]) -> None:
        """Replace what this node's adverts tell; a former master's connections are over then."""
        self._own = connections[:KEPT_MAX]
        self._heard.clear()

    def to_tell(self) -> tuple[PeerConnection, ...]:
        """Return what the next advert tells: all, or the next share of them."""
        if len(self._own) <= PER_ADVERT_MAX:
            return self._own
        self._turn %= len(self._own)
        share = (self._own + self._own)[self._turn : self._turn + PER_ADVERT_MAX]
        self._turn += PER_ADVERT_MAX
        return share

    def heard(self, node_id: int, connections: tuple[PeerConnection, ...], now_ns: int) -> None:
        """Remember what the serving node told.

        Another node's word replaces the former's, and so does a list that is told whole: a peer that has connected
        anew must not count twice. An empty list says nothing: that node has not looked yet.
        """
        self._own = ()
        if node_id != self._heard_from or 0 < len(connections) < PER_ADVERT_MAX:
            self._heard.clear()
            self._heard_from = node_id
        for connection in connections:
            self._heard.pop(connection, None)
            self._heard[connection] = now_ns
        while len(self._heard) > KEPT_MAX:
            del self._heard[next(iter(self._heard))]  # the one that was repeated longest ago

    def known(self, now_ns: int) -> tuple[PeerConnection, ...]:
        """Return the old master's connections as last told: what was not repeated for a minute is forgotten.

        With none heard the old master was this node itself.
        """
        if not self._heard:
            return self._own
        return tuple(c for c, heard_ns in self._heard.items() if now_ns - heard_ns <= KEPT_FOR_NS)
