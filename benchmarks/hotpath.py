"""What one received advert costs the heartbeat, and one sent: verify, decode, decide; decide, encode, sign.

The code is the daemon's own (Receiver, Elector, Encoder); there are no sockets, so the figures are what Python itself
adds to a system call. Each round times a batch, since the clock is not fine enough for one advert.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pycarpd.election.elector import Elector
from pycarpd.election.events import AdvertHeard, FreshnessKnown, LinkChanged, StatePersisted, TimeAdvanced, WorkerReady
from pycarpd.election.model import (
    Ack,
    Advert,
    Arbiter,
    Branch,
    Flags,
    Freshness,
    Member,
    Persistent,
    Role,
    TieBreak,
)
from pycarpd.election.node import Identity
from pycarpd.election.settings import ElectionSettings
from pycarpd.wire.codec import CodecSettings, Encoder
from pycarpd.wire.identity import node_id_of
from pycarpd.wire.keys import KeyRing
from pycarpd.wire.receiver import Receiver
from pycarpd.wire.verdict import Verdict

BATCH = 200
INTERVAL_NS = 10_000_000
NAMES = ("meta1", "meta2", "meta3")
TTL = 255
NONCE = 77


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing, in microseconds for each advert: median and 99th percentile of the batches' means."""

    name: str
    median_us: float
    p99_us: float
    rounds: int
    samples_us: tuple[float, ...] = ()
    """Of each batch, in rising order."""
    kind: str = field(default="part")


@dataclass(slots=True)
class _Bench:
    receiver: Receiver
    elector: Elector
    theirs: Encoder
    advert: Advert
    source: bytes
    now_ns: int = 1_000_000_000

    def adverts(self, first: int) -> list[bytes]:
        """Return a batch of genuine adverts of the master, none heard before."""
        numbered = (self.advert._replace(sequence=first + i) for i in range(BATCH))
        return [self.theirs.encode(each, self.source) for each in numbered]


def measure(rounds: int, tell: Callable[[], None]) -> list[Figure]:
    """Return the figures of each part; *tell* is called after each round.

    Garbage collection is off, as it is in the heartbeat.
    """
    bench = _bench()
    gc.collect()
    gc.disable()
    received: list[float] = []
    decided: list[float] = []
    encoded: list[float] = []
    try:
        for round_number in range(rounds):
            _round(bench, 1 + round_number * BATCH, received, decided, encoded)
            tell()
    finally:
        gc.enable()
    return [
        _figure("receive: verify, decode, replay window", received),
        _figure("decide: one step of the Elector", decided),
        _figure("send: encode and sign", encoded),
    ]


def _round(bench: _Bench, first: int, received: list[float], decided: list[float], encoded: list[float]) -> None:
    began_ns = time.perf_counter_ns()
    datagrams = bench.adverts(first)
    encoded.append(_each_us(began_ns))
    began_ns = time.perf_counter_ns()
    heard = [bench.receiver.receive(datagram, bench.source, TTL) for datagram in datagrams]
    received.append(_each_us(began_ns))
    if any(each.verdict is not Verdict.ACCEPTED for each in heard):
        raise RuntimeError("a genuine advert was refused: the figures would be of something else")
    events = [
        AdvertHeard(each.advert, bench.source, is_proven=True, received_ns=bench.now_ns + i * INTERVAL_NS)
        for i, each in enumerate(heard)
        if isinstance(each.advert, Advert)
    ]
    began_ns = time.perf_counter_ns()
    for event in events:
        bench.elector.handle(event, event.received_ns)
    decided.append(_each_us(began_ns))
    bench.now_ns += BATCH * INTERVAL_NS


def _each_us(began_ns: int) -> float:
    return (time.perf_counter_ns() - began_ns) / BATCH / 1000


def _figure(name: str, samples: list[float]) -> Figure:
    ordered = sorted(samples)
    worst = ordered[int(0.99 * (len(ordered) - 1))]
    return Figure(name, statistics.median(ordered), worst, len(ordered), tuple(round(each, 2) for each in ordered))


def _bench() -> _Bench:
    members = tuple(Member(node_id_of(n), n, bytes([192, 0, 2, 11 + i])) for i, n in enumerate(NAMES))
    ring = KeyRing.parse(bytes(range(32)).hex())
    if not isinstance(ring, KeyRing):
        raise TypeError(ring.rule)
    me, master = members[0], members[1]
    settings = ElectionSettings(
        node_id=me.node_id,
        members=members,
        interval_ns=INTERVAL_NS,
        missed_adverts=3,
        priority=100,
        preempt=False,
        arbiter=Arbiter.MAJORITY,
        strict=True,
        tie_break=TieBreak.NUMERIC,
        advbase=1,
        config_digest=1,
    )
    codecs = [CodecSettings(10, bytes([192, 0, 2, 100]), m.node_id, members, True, ring) for m in members]
    elector = Elector(settings, Identity(1, NONCE), Persistent(3, 3, 3, master.node_id))
    for event in (
        LinkChanged(is_up=True),
        WorkerReady(False, False),
        FreshnessKnown(Freshness(1, 9), ""),
        TimeAdvanced(),
    ):
        elector.handle(event, 1_000_000_000)
    elector.handle(StatePersisted(Persistent(3, 3, 3, master.node_id)), 1_000_000_000)
    advert = _masters_advert(members)
    return _Bench(Receiver(codecs[0], 1, NONCE), elector, Encoder(codecs[1]), advert, master.address)


def _masters_advert(members: tuple[Member, ...]) -> Advert:
    me, master, third = members
    return Advert(
        node_id=master.node_id,
        epoch=5,
        sequence=1,
        nonce=99,
        role=Role.MASTER,
        term=3,
        served_term=3,
        interval_us=INTERVAL_NS // 1000,
        hold_ms=30,
        priority=200,
        demotion=0,
        flags=Flags.PROMOTABLE,
        freshness=Freshness(1, 9, lineage=3),
        branch=Branch(2, 5),
        exports_digest=7,
        vote_term=3,
        vote_for=master.node_id,
        config_digest=1,
        acks=(Ack(me.node_id, NONCE, 1), Ack(third.node_id, 5, 1)),
        advbase=1,
        advskew=54,
    )
