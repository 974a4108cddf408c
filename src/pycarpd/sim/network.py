"""The simulated link: every datagram goes to every other node, late, lost, twice, out of order, or not at all.

A datagram is an advert whose sender has the cluster's key, or bytes of anybody. Most rehearsals hand adverts over as
they are, after the checks that need no key; what is forged goes through the real codec always, and in some rehearsals
everything does.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from pycarpd.election.model import Advert
from pycarpd.sim.agenda import Agenda

RECORDED_MAX = 512
"""An eavesdropper's memory, for replays."""
CARP_BYTES = 36


@dataclass(frozen=True, slots=True)
class Datagram:
    """What travels; ``is_forged``: changed by somebody who does not have the key."""

    content: Advert | bytes
    source: bytes
    is_forged: bool = False


Path = tuple[str, str]
"""From whom to whom."""
Deliver = Callable[[Datagram], None]
Encode = Callable[[Advert], bytes]


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network treats a datagram; reordering comes from a wide range of delays."""

    delay_min_ns: int = 200_000
    delay_max_ns: int = 200_000
    loss: float = 0.0
    duplication: float = 0.0

    @property
    def is_fair(self) -> bool:
        """True when nothing is lost or doubled."""
        return not self.loss and not self.duplication


class Network:
    """One broadcast domain; cuts are per direction."""

    def __init__(self, agenda: Agenda, rng: Random) -> None:
        self._agenda = agenda
        self._rng = rng
        self._receivers: dict[str, Deliver] = {}
        self._encoders: dict[bytes, Encode] = {}
        self._cuts: Counter[Path] = Counter()
        self._heals = 0
        self._recorded: deque[Datagram] = deque(maxlen=RECORDED_MAX)
        self.weather = Weather()

    def join(self, name: str, deliver: Deliver, source: bytes = b"", encode: Encode | None = None) -> None:
        """Let *name* hear what the others send; *encode* makes bytes of what it sends, for a forger to change."""
        self._receivers[name] = deliver
        if encode is not None:
            self._encoders[source] = encode

    def cut(self, sender: str, receiver: str) -> None:
        """Let nothing through from *sender* to *receiver*; the other direction is another cut."""
        self._cuts[(sender, receiver)] += 1

    def isolate(self, name: str) -> None:
        """Cut *name* off, in both directions."""
        self.cut_all(self.between({name}))

    def between(self, side: set[str]) -> tuple[Path, ...]:
        """Return all paths between the names of *side* and the others."""
        others = [name for name in self._receivers if name not in side]
        pairs = [(one, other) for one in sorted(side) for other in others]
        return tuple(path for one, other in pairs for path in ((one, other), (other, one)))

    def cut_all(self, paths: Iterable[Path]) -> Callable[[], None]:
        """Cut paths; returns what mends these very cuts, unless all were mended since."""
        chosen, heals = tuple(paths), self._heals
        self._cuts.update(chosen)

        def mend() -> None:
            if heals == self._heals:
                self._mend(chosen)

        return mend

    def _mend(self, paths: tuple[Path, ...]) -> None:
        for path in paths:
            if self._cuts[path] > 1:
                self._cuts[path] -= 1
            else:
                del self._cuts[path]

    def heal(self) -> None:
        """Mend all cuts."""
        self._cuts.clear()
        self._heals += 1

    def connects(self, sender: str, receiver: str) -> bool:
        """Tell whether anything gets through from *sender* to *receiver*."""
        return (sender, receiver) not in self._cuts

    def reach_each_other(self, one: str, other: str) -> bool:
        """Tell whether both directions between two nodes are open."""
        return self.connects(one, other) and self.connects(other, one)

    @property
    def is_whole(self) -> bool:
        """True without cuts, losses and duplicates."""
        return not self._cuts and self.weather.is_fair

    def broadcast(self, sender: str, content: Advert | bytes, source: bytes) -> None:
        """Send a datagram to everybody else."""
        datagram = Datagram(content, source)
        self._recorded.append(datagram)
        for receiver in self._receivers:
            if receiver != sender and (sender, receiver) not in self._cuts:
                self._deliver(receiver, datagram)

    def replay(self, count: int) -> None:
        """Send recorded datagrams to everybody again, the sender's host included."""
        for datagram in self._rng.sample(list(self._recorded), min(count, len(self._recorded))):
            self._flood(datagram)

    def forge(self) -> None:
        """Send a recorded datagram, changed somewhere, to everybody."""
        if not self._recorded:
            return
        chosen = self._rng.choice(list(self._recorded))
        content = chosen.content
        original = content if isinstance(content, bytes) else self._encoders[chosen.source](content)
        changed, source = self._rng.choice(FORGERIES)(self._rng, original, chosen.source)
        if (changed, source) != (original, chosen.source):
            self._flood(Datagram(changed, source, is_forged=True))

    def _flood(self, datagram: Datagram) -> None:
        for receiver in self._receivers:
            self._deliver(receiver, datagram)

    def _deliver(self, receiver: str, datagram: Datagram) -> None:
        weather = self.weather
        if weather.loss and self._rng.random() < weather.loss:
            return
        copies = 2 if weather.duplication and self._rng.random() < weather.duplication else 1
        for _ in range(copies):
            delay_ns = self._rng.randint(weather.delay_min_ns, weather.delay_max_ns)
            self._agenda.after(delay_ns, lambda: self._receivers[receiver](datagram))


def _turn_a_bit(rng: Random, original: bytes, source: bytes) -> tuple[bytes, bytes]:
    changed = bytearray(original)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed), source


def _cut_short(rng: Random, original: bytes, source: bytes) -> tuple[bytes, bytes]:
    return original[: rng.randrange(len(original))], source


def _append(rng: Random, original: bytes, source: bytes) -> tuple[bytes, bytes]:
    return original + rng.randbytes(rng.randint(1, 200)), source


def _claim_another_source(rng: Random, original: bytes, source: bytes) -> tuple[bytes, bytes]:
    return original, source[:-1] + bytes([rng.randint(11, 16)])


def _make_up_the_rest(rng: Random, original: bytes, source: bytes) -> tuple[bytes, bytes]:
    return original[:CARP_BYTES] + rng.randbytes(len(original) - CARP_BYTES), source


FORGERIES = (_turn_a_bit, _cut_short, _append, _claim_another_source, _make_up_the_rest)
