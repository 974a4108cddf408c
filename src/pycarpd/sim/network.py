"""The simulated link: every datagram goes to every other node, late, lost, twice, out of order, or not at all."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from pycarpd.sim.agenda import Agenda

RECORDED_MAX = 512
"""An eavesdropper's memory, for replays."""

Deliver = Callable[[bytes, bytes], None]


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
        self._cuts: set[tuple[str, str]] = set()
        self._recorded: deque[tuple[bytes, bytes]] = deque(maxlen=RECORDED_MAX)
        self.weather = Weather()

    def join(self, name: str, deliver: Deliver) -> None:
        """Let *name* hear what the others send."""
        self._receivers[name] = deliver

    def cut(self, sender: str, receiver: str) -> None:
        """Let nothing through from *sender* to *receiver*; the other direction is another cut."""
        self._cuts.add((sender, receiver))

    def isolate(self, name: str) -> None:
        """Cut *name* off, in both directions."""
        for other in self._receivers.keys() - {name}:
            self._cuts |= {(name, other), (other, name)}

    def heal(self) -> None:
        """Mend all cuts."""
        self._cuts.clear()

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

    def broadcast(self, sender: str, payload: bytes, source: bytes) -> None:
        """Send a datagram to everybody else."""
        self._recorded.append((payload, source))
        for receiver in self._receivers:
            if receiver != sender and self.connects(sender, receiver):
                self._deliver(receiver, payload, source)

    def replay(self, count: int) -> None:
        """Send recorded datagrams to everybody again, the sender's host included."""
        chosen = self._rng.sample(list(self._recorded), min(count, len(self._recorded)))
        for payload, source in chosen:
            for receiver in self._receivers:
                self._deliver(receiver, payload, source)

    def forge(self) -> None:
        """Send a recorded datagram with one bit turned round."""
        if not self._recorded:
            return
        payload, source = self._rng.choice(list(self._recorded))
        broken = bytearray(payload)
        broken[self._rng.randrange(len(broken))] ^= 1 << self._rng.randrange(8)
        for receiver in self._receivers:
            self._deliver(receiver, bytes(broken), source)

    def _deliver(self, receiver: str, payload: bytes, source: bytes) -> None:
        weather = self.weather
        if weather.loss and self._rng.random() < weather.loss:
            return
        copies = 2 if weather.duplication and self._rng.random() < weather.duplication else 1
        for _ in range(copies):
            delay_ns = self._rng.randint(weather.delay_min_ns, weather.delay_max_ns)
            self._agenda.after(delay_ns, lambda: self._receivers[receiver](payload, source))
