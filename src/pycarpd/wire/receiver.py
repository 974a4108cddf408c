"""What a node believes of the datagrams it hears: the checks in their order, and the little they remember.

Theory of operation. A datagram is judged in three stages. What costs nothing: lengths, TTL, version, VHID, the
trailer's magic. What needs a hash: checksum, MAC and digest. What needs memory: the sender's place in the
configuration, its boot epoch and its replay window. Only what passed all of them changes anything but counters.

Authenticated and not heard before is not yet fresh: a node that has just booted has heard nothing, so a recording of
last week passes. Therefore each node draws a nonce at its start and says it in its adverts, and its peers echo the
newest nonce they hear from it. An advert of a boot epoch in which its sender has echoed our nonce was made after our
start and is ACCEPTED; before that it is UNPROVEN, good for nothing but being acknowledged.

Rules:
- memory is bounded by the member table, and for plain CARP adverts by PLAIN_SOURCES_MAX;
- counters by source address are a diagnosis, the address of a refused datagram is nobody's word;
- no byte string raises an exception.
"""

import hmac
from collections import OrderedDict, deque
from typing import Final, NamedTuple

from pycarpd.election.model import Ack, Advert, Member, PlainAdvert
from pycarpd.wire import carp, trailer
from pycarpd.wire.codec import CodecSettings
from pycarpd.wire.keys import Key, KeyRing
from pycarpd.wire.mac import Schedule
from pycarpd.wire.replay import WINDOW, ReplayWindow
from pycarpd.wire.verdict import Verdict

PLAIN_SOURCES_MAX: Final = 16
"""ucarp hosts whose counters are remembered; a seventeenth displaces the one heard least recently."""

_TTL = 255
_U32 = 0xFFFF_FFFF


class Received(NamedTuple):
    """The verdict on a datagram; the advert is there for ACCEPTED and UNPROVEN only."""

    verdict: Verdict
    advert: Advert | PlainAdvert | None = None


_REFUSED = tuple(map(Received, Verdict))


class _Verifier:
    """One key of the ring with its schedules prepared."""

    __slots__ = ("_schedule", "signer")

    def __init__(self, key: Key, settings: CodecSettings) -> None:
        self._schedule = Schedule(key.trailer_key, "sha256")
        self.signer = settings.carp_signer(key)

    def is_genuine(self, payload: bytes | memoryview, source: bytes) -> bool:
        mac = self._schedule.mac(payload[: -trailer.MAC_LENGTH], source)
        return hmac.compare_digest(mac, payload[-trailer.MAC_LENGTH :])


class _Peer:
    """What is remembered of one member: its window, its nonce, whether it has echoed ours, and its counters."""

    __slots__ = ("counts", "is_proven", "member", "nonce", "window")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.window = ReplayWindow()
        self.nonce = 0
        self.is_proven = False
        self.counts = [0] * len(Verdict)

    def refuse(self, advert: Advert) -> Verdict | None:
        """Return what speaks against taking *advert*, from the memory of earlier ones."""
        window = self.window
        if advert.epoch > window.epoch:
            return None
        if advert.epoch < window.epoch:
            return Verdict.STALE_EPOCH
        if advert.nonce != self.nonce:
            return Verdict.EPOCH_REUSED
        return None if window.is_fresh(advert.sequence) else Verdict.REPLAYED

    def take(self, advert: Advert, own_id: int, own_nonce: int) -> None:
        """Remember an advert that ``refuse`` had nothing against; a new epoch has to prove itself anew."""
        if advert.epoch > self.window.epoch:
            self.window.begin(advert.epoch, advert.sequence)
            self.nonce = advert.nonce
            self.is_proven = False
        else:
            self.window.take(advert.sequence)
        self.is_proven = self.is_proven or _echoes(advert, own_id, own_nonce)


class Receiver:
    """Judges datagrams for one node in one life of it.

    *own_epoch* is this life's boot epoch and *own_nonce* its nonce: random, 64 bits, the one in all its adverts.
    """

    def __init__(self, settings: CodecSettings, own_epoch: int, own_nonce: int) -> None:
        self._settings = settings
        self._own_id = settings.own_node_id
        self._own_epoch = own_epoch
        self._own_nonce = own_nonce
        peers = {member.node_id: _Peer(member) for member in settings.members}
        # Our own entry is what remembers another node under our name; it is nobody's peer.
        self._twin = peers.pop(self._own_id)
        self._peers = peers
        self._by_address = {peer.member.address: peer for peer in peers.values()}
        self._plain: OrderedDict[bytes, deque[int]] = OrderedDict()
        self._counts = [0] * len(Verdict)
        self.use_keys(settings.keyring)

    def use_keys(self, keyring: KeyRing) -> None:
        """Verify with *keyring* from now on; what was heard so far stays known, so keys rotate without an outage."""
        verifiers: dict[int, tuple[_Verifier, ...]] = {}
        for key in keyring.keys:
            verifiers[key.key_id] = (*verifiers.get(key.key_id, ()), _Verifier(key, self._settings))
        self._verifiers = verifiers
        self._plain_signer = self._settings.carp_signer(keyring.sending)

    def receive(self, payload: bytes | memoryview, source: bytes, ttl: int) -> Received:
        """Judge the payload of one IP datagram from the packed address *source*; never raises, keeps no view."""
        received = self._judge(payload, source, ttl)
        self._counts[received.verdict] += 1
        peer = self._by_address.get(source)
        if peer is not None:
            peer.counts[received.verdict] += 1
        return received

    def acks(self) -> tuple[Ack, ...]:
        """Return what our next advert should acknowledge: the newest advert heard from each member."""
        return tuple(
            Ack(peer.member.node_id, peer.nonce, peer.window.newest)
            for peer in self._peers.values()
            if peer.window.epoch >= 0
        )

    @property
    def counters(self) -> dict[Verdict, int]:
        """How many datagrams got each verdict."""
        return dict(zip(Verdict, self._counts, strict=True))

    @property
    def member_counters(self) -> dict[int, dict[Verdict, int]]:
        """The same for datagrams from each other member's address, by node id."""
        return {node_id: dict(zip(Verdict, peer.counts, strict=True)) for node_id, peer in self._peers.items()}

    def _judge(self, payload: bytes | memoryview, source: bytes, ttl: int) -> Received:
        is_plain = len(payload) == carp.CARP_LENGTH
        verdict = _refuse_header(payload, ttl, self._settings.vhid)
        if verdict is None:
            verdict = self._refuse_plain() if is_plain else trailer.check_head(payload)
        if verdict is None and carp.checksum(payload[: carp.CARP_LENGTH]):
            verdict = Verdict.BAD_CHECKSUM
        if verdict is not None:
            return _REFUSED[verdict]
        header = carp.read_header(payload)
        if is_plain:
            return self._judge_plain(header, source)
        return self._judge_trailer(payload, header, source)

    def _refuse_plain(self) -> Verdict | None:
        return Verdict.NO_TRAILER if self._settings.strict else None

    def _judge_trailer(self, payload: bytes | memoryview, header: carp.CarpHeader, source: bytes) -> Received:
        verdict = self._refuse_unauthenticated(payload, header, source)
        if verdict is not None:
            return _REFUSED[verdict]
        advert = trailer.read(payload, header)
        return _REFUSED[Verdict.BAD_TRAILER] if advert is None else self.judge_authenticated(advert, source)

    def judge_authenticated(self, advert: Advert, source: bytes) -> Received:
        """Judge an advert whose key, digest and form are known to be right: by its sender, epoch and window."""
        if advert.node_id == self._own_id:
            return _REFUSED[self._judge_own_name(advert)]
        peer = self._peers.get(advert.node_id)
        if peer is None:
            return _REFUSED[Verdict.UNKNOWN_NODE]
        verdict = Verdict.WRONG_SOURCE if source != peer.member.address else peer.refuse(advert)
        if verdict is not None:
            return _REFUSED[verdict]
        peer.take(advert, self._own_id, self._own_nonce)
        return Received(Verdict.ACCEPTED if peer.is_proven else Verdict.UNPROVEN, advert)

    def _refuse_unauthenticated(
        self, payload: bytes | memoryview, header: carp.CarpHeader, source: bytes
    ) -> Verdict | None:
        verifiers = self._verifiers.get(trailer.key_id_of(payload))
        if verifiers is None:
            return Verdict.UNKNOWN_KEY
        for verifier in verifiers:
            if verifier.is_genuine(payload, source):
                return None if verifier.signer.is_genuine(header) else Verdict.BAD_CARP_DIGEST
        return Verdict.BAD_DIGEST

    def _judge_own_name(self, advert: Advert) -> Verdict:
        """Tell our own advert, a recording of an earlier life of ours, and another node under our name apart.

        An earlier life has a smaller epoch and cannot know our nonce; so of two live nodes of one name at least the one
        that started first notices.
        """
        if advert.nonce == self._own_nonce:
            return Verdict.OWN_ADVERT
        if advert.epoch < self._own_epoch and not _echoes(advert, self._own_id, self._own_nonce):
            return Verdict.STALE_EPOCH
        verdict = self._twin.refuse(advert)
        if verdict is not None:
            return verdict
        self._twin.take(advert, self._own_id, self._own_nonce)
        return Verdict.OWN_NAME

    def _judge_plain(self, header: carp.CarpHeader, source: bytes) -> Received:
        """Judge a ucarp host's advert: its digest, and whether this very counter was heard from there lately.

        ucarp's counters jump at random, so there is no window to keep; advbase and advskew are nobody's word.
        """
        if not self._plain_signer.is_genuine(header):
            return _REFUSED[Verdict.BAD_CARP_DIGEST]
        if source == self._twin.member.address:
            return _REFUSED[Verdict.OWN_ADVERT]
        recent = self._plain.get(source)
        if (recent is not None and header.counter in recent) or self._is_stripped(header, source):
            return _REFUSED[Verdict.REPLAYED]
        if recent is None:
            recent = self._plain[source] = deque(maxlen=WINDOW)
            if len(self._plain) > PLAIN_SOURCES_MAX:
                self._plain.popitem(last=False)
        self._plain.move_to_end(source)
        recent.append(header.counter)
        return Received(Verdict.ACCEPTED, PlainAdvert(header.advbase, header.advskew, header.counter))

    def _is_stripped(self, header: carp.CarpHeader, source: bytes) -> bool:
        """Tell whether this is an advert that was heard from there with its trailer, which somebody has cut off."""
        peer = self._by_address.get(source)
        if peer is None or header.counter >> 32 != peer.window.epoch & _U32:
            return False
        newest = peer.window.newest
        return peer.window.has_heard(newest - ((newest - header.counter) & _U32))


def _refuse_header(payload: bytes | memoryview, ttl: int, vhid: int) -> Verdict | None:
    """Return what speaks against a datagram before anything is hashed or unpacked."""
    if len(payload) < carp.CARP_LENGTH:
        return Verdict.TOO_SHORT
    if len(payload) > trailer.PAYLOAD_MAX:
        return Verdict.TOO_LONG
    if ttl != _TTL:
        return Verdict.BAD_TTL
    if payload[0] != carp.VERSION_AND_TYPE:
        is_version_2 = payload[0] >> 4 == carp.VERSION_AND_TYPE >> 4
        return Verdict.BAD_TYPE if is_version_2 else Verdict.BAD_VERSION
    if payload[3] != carp.AUTHLEN:
        return Verdict.NOT_CARP
    return None if payload[1] == vhid else Verdict.WRONG_VHID


def _echoes(advert: Advert, own_id: int, own_nonce: int) -> bool:
    return any(ack.node_id == own_id and ack.nonce == own_nonce for ack in advert.acks)
