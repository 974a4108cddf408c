"""What a simulated node hears: a receive queue with an end, and the real receiver's judgement of all that is in it."""

from collections import deque
from collections.abc import Callable, Iterator

from pycarpd.election import events as ev
from pycarpd.election.model import Advert, PlainAdvert
from pycarpd.election.node import Identity
from pycarpd.sim.dialect import Dialect
from pycarpd.sim.failure import CheckFailedError
from pycarpd.sim.network import Datagram
from pycarpd.wire.codec import CodecSettings
from pycarpd.wire.receiver import Received, Receiver
from pycarpd.wire.verdict import Verdict

INBOX_MAX = 256
"""A socket's receive queue has an end; what comes after it is lost."""
TTL = 255


class Ear:
    """The queue and the receiver of one node; each life of the node begins with a new receiver."""

    def __init__(self, codec: CodecSettings, is_strict: bool, dialect: Dialect = Dialect.PRESENT) -> None:
        self._codec = codec
        self._is_strict = is_strict
        self._dialect = dialect
        self._inbox: deque[tuple[Datagram, int]] = deque()
        self._receiver: Receiver | None = None
        self.has_overflown = False

    def begin(self, identity: Identity) -> None:
        """Listen in a new life."""
        self._receiver = Receiver(self._codec, identity.epoch, identity.nonce)

    def take(self, datagram: Datagram, now_ns: int) -> None:
        """Put a datagram into the queue with the kernel's stamp."""
        if len(self._inbox) < INBOX_MAX:
            self._inbox.append((datagram, now_ns))
        else:
            self.has_overflown = True

    def stamp_anew(self, now_ns: int) -> None:
        """Give what came while the host stood still the time at which its kernel takes it in."""
        self._inbox = deque((datagram, max(stamp_ns, now_ns)) for datagram, stamp_ns in self._inbox)

    def clear(self) -> None:
        """Forget what was not read."""
        self._inbox.clear()

    def drain(self, name: str, mark: Callable[[str], None]) -> Iterator[ev.Event]:
        """Yield what the datagrams in the queue amount to; what is refused is only marked."""
        while self._inbox:
            datagram, received_ns = self._inbox.popleft()
            event = self._event_of(datagram, received_ns, name, mark)
            if event is not None:
                yield event
        if self.has_overflown:
            self.has_overflown = False
            yield ev.AdvertsLost()

    def _event_of(
        self, datagram: Datagram, received_ns: int, name: str, mark: Callable[[str], None]
    ) -> ev.Event | None:
        received = self._judge(datagram)
        if datagram.is_forged and self._is_strict and received.advert is not None:
            raise CheckFailedError(f"S12: {name} takes a forged advert for genuine: {received}")
        match received.advert:
            case Advert() as advert:
                is_proven = received.verdict is Verdict.ACCEPTED
                return ev.AdvertHeard(self._dialect.understand(advert), datagram.source, is_proven, received_ns)
            case PlainAdvert() as plain:
                return ev.PlainAdvertHeard(plain, datagram.source, received_ns)
            case None:
                mark(f"refused: {received.verdict.name}")
                return ev.NameClaimed() if received.verdict is Verdict.OWN_NAME else None

    def _judge(self, datagram: Datagram) -> Received:
        if self._receiver is None:
            return Received(Verdict.NOT_CARP)
        if isinstance(datagram.content, bytes):
            return self._receiver.receive(datagram.content, datagram.source, TTL)
        return self._receiver.judge_authenticated(datagram.content, datagram.source)
