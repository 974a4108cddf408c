"""An election in the mind just before the master is lost, so that the one that may follow runs with warm caches.

An election's code runs once in months, and its half a dozen steps, on two hosts in turn, are counted in milliseconds.
Python that has not run for ten milliseconds takes five to eight times as long as Python that has: its bytecode, and
what it works on, have left the processor's caches. So where adverts are a few milliseconds apart, a standby that would
take its master for lost in three milliseconds lets a candidate and a voter of its own making elect each other. The code
is the real one, from bytes to bytes; the cluster is made up. Nothing of it is sent, written or told to anybody, and it
is over before a real election may begin. A master that is heard again after all has cost two milliseconds.
"""

from collections import deque
from dataclasses import replace
from typing import Final

from pycarpd.daemon import channel
from pycarpd.daemon import messages as msg
from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.elector import Elector
from pycarpd.election.model import Ack, Advert, Flags, Freshness, Member, Persistent, Role
from pycarpd.election.node import Identity
from pycarpd.election.settings import ElectionSettings
from pycarpd.election.timing import NS_PER_MS
from pycarpd.wire.codec import CodecSettings, Encoder
from pycarpd.wire.receiver import Receiver

INTERVAL_NS_MAX: Final = 50_000_000
"""With adverts further apart a millisecond is nothing."""
TAKES_NS: Final = 2_000_000
BEGINS_BEFORE_NS: Final = 3_200_000
"""Before the master is lost: early enough to be over by then, and not so early that the caches are cold again."""
STEPS_MAX: Final = 40
TTL: Final = 255
_NONCES: Final = {1: 11, 2: 22, 3: 33}
_MEMBERS: Final = tuple(Member(number, f"player{number}", bytes([192, 0, 2, number])) for number in _NONCES)
_CANDIDATE, _VOTER, _MASTER = _MEMBERS
_TERM: Final = 5
_FRESHNESS: Final = Freshness(1, 9, lineage=_TERM)


class _Player:
    """One of the two: its election, and its way onto the wire and from it."""

    def __init__(self, member: Member, settings: ElectionSettings, codec: CodecSettings) -> None:
        own = replace(codec, own_node_id=member.node_id, members=_MEMBERS)
        self.member = member
        self.encoder = Encoder(own)
        self.receiver = Receiver(own, 1, _NONCES[member.node_id])
        kept = Persistent(_TERM - 1, _TERM - 1)  # a vote that was kept would bind it for as long as any may
        made = replace(settings, node_id=member.node_id, members=_MEMBERS)
        self.elector = Elector(made, Identity(1, _NONCES[member.node_id]), kept)


class Rehearsal:
    """Plays an election just before the master would be lost, once for each time that one was heard and not again."""

    def __init__(self, settings: ElectionSettings, codec: CodecSettings) -> None:
        self._settings = settings
        self._codec = codec
        self._players: tuple[_Player, _Player] | None = None
        self._heard_ns = 0
        self._now_ns = 0
        self._is_worth_it = settings.counts_votes and settings.interval_ns <= INTERVAL_NS_MAX
        self._lost_ns = 0

    def master_heard(self, heard_ns: int, hold_ms: int) -> None:
        """Note when a master was heard last, and for how long it is believed in without another advert."""
        self._heard_ns, self._lost_ns = heard_ns, hold_ms * NS_PER_MS

    def next_deadline(self) -> int | None:
        """Return when to play it unless a master is heard, None for not."""
        is_ready = self._players is not None and self._heard_ns
        return self._heard_ns + self._lost_ns - BEGINS_BEFORE_NS if is_ready else None

    def prepare(self, now_ns: int) -> None:
        """Have a cluster with a master ready to lose it, if there is one to lose; takes two milliseconds or three."""
        if not self._is_worth_it or self._players is not None or not self._heard_ns:
            return
        self._now_ns = now_ns
        candidate, voter = (_Player(member, self._settings, self._codec) for member in (_CANDIDATE, _VOTER))
        self._players = (candidate, voter)
        for player in self._players:
            for event in (
                ev.LinkChanged(is_up=True),
                ev.WorkerReady(False, False),
                ev.FreshnessKnown(_FRESHNESS, ""),
            ):
                player.elector.handle(event, now_ns)
        for sequence in (1, 2):
            for player in self._players:
                self._run(player, ev.AdvertHeard(self._claim(sequence), _MASTER.address, True, now_ns))
            self._now_ns = now_ns = now_ns + self._settings.interval_ns

    def on_time(self, now_ns: int) -> bool:
        """Play it if the master is overdue, once, and not so late that it may be lost; tell whether somebody won."""
        silence_ns = now_ns - self._heard_ns
        if self._players is None or not self._heard_ns or silence_ns < self._lost_ns - BEGINS_BEFORE_NS:
            return False
        self._heard_ns = 0
        if silence_ns > self._lost_ns - TAKES_NS:
            return False
        candidate, voter = self._players
        self._now_ns += (self._settings.missed_adverts - 1) * self._settings.interval_ns
        is_elected = self._run(voter, ev.TimeAdvanced())  # reports that it has heard no more than the candidate
        for _ in range(STEPS_MAX):
            deadline_ns = candidate.elector.next_deadline()
            if candidate.elector.role is not Role.BACKUP or deadline_ns is None:
                break
            self._now_ns = max(self._now_ns, deadline_ns)
            is_elected = self._run(candidate, ev.TimeAdvanced())
        self._players = None
        return is_elected

    def _run(self, player: _Player, event: ev.Event) -> bool:
        """Let one of them take in an event, and both whatever follows; tell whether somebody got the address."""
        waiting: deque[tuple[_Player, ev.Event]] = deque([(player, event)])
        has_address = False
        for _ in range(STEPS_MAX):
            if not waiting:
                break
            who, what = waiting.popleft()
            for effect in who.elector.handle(what, self._now_ns):
                waiting.extend(self._followed_by(who, effect))
                has_address = has_address or isinstance(effect, fx.AttachVip)
        return has_address

    def _followed_by(self, who: _Player, effect: fx.Effect) -> list[tuple[_Player, ev.Event]]:
        match effect:
            case fx.Send(advert=advert):
                return self._heard_by_other(who, advert)
            case fx.Persist(persistent=persistent):
                channel.decode(channel.encode(msg.PersistRequest(persistent)))
                return [(who, ev.StatePersisted(persistent))]
            case fx.StartPromotion(term=term):
                return [(who, ev.AddressWanted(term))]
            case fx.StartDemotion(term=term):
                return [(who, ev.StandbyMade(term, True)), (who, ev.FreshnessKnown(_FRESHNESS, ""))]
            case _:
                return []

    def _heard_by_other(self, who: _Player, advert: Advert) -> list[tuple[_Player, ev.Event]]:
        if self._players is None:
            return []
        other = self._players[who is self._players[0]]
        payload = who.encoder.encode(advert, who.member.address)
        heard = other.receiver.receive(payload, who.member.address, TTL).advert
        if not isinstance(heard, Advert):
            return []
        return [(other, ev.AdvertHeard(heard, who.member.address, True, self._now_ns))]

    def _claim(self, sequence: int) -> Advert:
        """Return what the master of the made-up cluster says."""
        return Advert(
            node_id=_MASTER.node_id,
            epoch=1,
            sequence=sequence,
            nonce=_NONCES[_MASTER.node_id],
            role=Role.MASTER,
            term=_TERM,
            served_term=_TERM,
            interval_us=self._settings.interval_ns // 1000,
            hold_ms=self._settings.interval_ns * self._settings.missed_adverts // 1_000_000,
            priority=self._settings.priority,
            demotion=0,
            flags=Flags.PROMOTABLE,
            freshness=_FRESHNESS,
            vote_term=_TERM,
            vote_for=_MASTER.node_id,
            config_digest=self._settings.config_digest,
            acks=tuple(Ack(member.node_id, _NONCES[member.node_id], 1) for member in (_CANDIDATE, _VOTER)),
            advbase=self._settings.advbase,
            advskew=0,
        )
