"""The attacker's side of the datagram fuzzer: a small cluster, what it really said, and what is made of it.

The model keeps its own account of what the receiver must believe; it shares no code with the receiver but the values
of the election and the encoder that speaks for the genuine nodes.
"""

import hmac
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

from pycarpd.election.model import Ack, Advert, Flags, Freshness, Member, PeerConnection, PlainAdvert, Role
from pycarpd.wire.carp import CarpHeader, CarpSigner, checksum, write_header
from pycarpd.wire.codec import CodecSettings, Encoder
from pycarpd.wire.keys import Key, KeyRing
from pycarpd.wire.receiver import PLAIN_SOURCES_MAX, Received, Receiver
from pycarpd.wire.replay import WINDOW
from pycarpd.wire.verdict import Verdict

Datagram = tuple[bytes, bytes, int]
"""Payload, source address, TTL."""

VHID, VIP, PASSWORD = 42, bytes([192, 0, 2, 100]), b"love"
OWN, *PEERS = MEMBERS = tuple(Member(n, f"meta{n}", bytes([192, 0, 2, 10 + n])) for n in (1, 2, 3))
KEY = Key.derive(bytes(range(32)))
FOREIGN_KEY = replace(Key.derive(bytes(range(100, 132))), key_id=KEY.key_id)
EPOCH = 1000
RECENT = 512
BELIEVED = frozenset({Verdict.ACCEPTED, Verdict.UNPROVEN})


class ViolationError(Exception):
    """The receiver broke a promise; the text is enough to repeat it."""


def settings_of(member: Member, *, strict: bool, key: Key = KEY, vhid: int = VHID, vip: bytes = VIP) -> CodecSettings:
    members = tuple(member if known.node_id == member.node_id else known for known in MEMBERS)
    if member.node_id not in {known.node_id for known in MEMBERS}:
        members = (*MEMBERS, member)
    return CodecSettings(
        vhid, vip, member.node_id, members, strict=strict, keyring=KeyRing((key,)), ucarp_password=PASSWORD
    )


class Sender:
    """A node that says something new each time; what it says is random, who it is is not."""

    def __init__(self, rng: random.Random, member: Member, settings: CodecSettings, epoch: int = EPOCH) -> None:
        self.rng, self.member, self.epoch, self.sequence = rng, member, epoch, 0
        self.nonce = rng.getrandbits(64)
        self.encoder = Encoder(settings)

    def reboot(self) -> None:
        self.epoch, self.sequence, self.nonce = self.epoch + 1, 0, self.rng.getrandbits(64)

    def say(self, acks: tuple[Ack, ...]) -> tuple[bytes, Advert]:
        rng = self.rng
        self.sequence += 1 + (rng.random() < 0.05) * rng.getrandbits(7)
        resigned = rng.random() < 0.05
        said = Advert(
            node_id=self.member.node_id,
            epoch=self.epoch,
            sequence=self.sequence,
            nonce=self.nonce,
            role=Role(rng.randrange(len(Role))),
            term=rng.getrandbits(8),
            served_term=rng.getrandbits(8),
            interval_us=250_000,
            hold_ms=0,
            priority=rng.getrandbits(8),
            demotion=rng.getrandbits(4),
            flags=Flags.RESIGNED if resigned else Flags.PROMOTABLE,
            freshness=Freshness(5, rng.getrandbits(40)) if rng.random() < 0.9 else None,
            vote_term=0,
            vote_for=0,
            config_digest=1,
            acks=acks,
            advbase=255 if resigned else 1,
            advskew=255 if resigned else rng.getrandbits(7),
            connections=(PeerConnection(b"abcd", 1, 2),) * (rng.getrandbits(2) if rng.random() < 0.2 else 0),
        )
        # A copy, so that what the attacker keeps does not count as growth of the codec.
        return bytes(bytearray(self.encoder.encode(said, self.member.address))), said


class Model:
    """What must be believed: an account of what was really sent, independent of the receiver's."""

    def __init__(self, nonce: int, *, strict: bool) -> None:
        self.strict, self.nonce = strict, nonce
        self.epoch: dict[int, int] = {}
        self.heard: dict[int, set[int]] = {}
        self.proven: set[int] = set()
        self.plain: dict[bytes, deque[int]] = {}

    def verdict(self, datagram: Datagram, sent: Advert | None) -> tuple[Verdict, Advert | PlainAdvert] | None:
        """Return what must come of *datagram*, None for a refusal; *sent* is the advert if its bytes are genuine."""
        payload, source, ttl = datagram
        if ttl != 255:
            return None
        if len(payload) == 36:
            return None if self.strict else self._plain(payload, source)
        if sent is None or source != MEMBERS[sent.node_id - 1].address:
            return None
        return self._trailer(sent)

    def _trailer(self, sent: Advert) -> tuple[Verdict, Advert] | None:
        node = sent.node_id
        known = self.epoch.get(node, -1)
        if sent.epoch < known:
            return None
        if sent.epoch > known:
            self.epoch[node], self.heard[node] = sent.epoch, set()
            self.proven.discard(node)
        heard = self.heard[node]
        if sent.sequence in heard or (heard and sent.sequence <= max(heard) - WINDOW):
            return None
        heard.add(sent.sequence)
        self.heard[node] = {sequence for sequence in heard if sequence > max(heard) - WINDOW}
        if any((ack.node_id, ack.nonce) == (OWN.node_id, self.nonce) for ack in sent.acks):
            self.proven.add(node)
        return (Verdict.ACCEPTED if node in self.proven else Verdict.UNPROVEN), sent

    def _plain(self, payload: bytes, source: bytes) -> tuple[Verdict, PlainAdvert] | None:
        message = bytes([2, 1, VHID]) + VIP + payload[8:16]
        counter = int.from_bytes(payload[8:16], "big")
        is_genuine = hmac.digest(PASSWORD, message, "sha1") == payload[16:]
        header_is_right = (payload[0], payload[1], payload[3]) == (0x21, VHID, 7) and not checksum(payload)
        recent = self.plain.get(source, ())
        if not is_genuine or not header_is_right or source == OWN.address or counter in recent:
            return None
        for member in PEERS:
            heard = self.heard.get(member.node_id, ())
            if source == member.address and counter in {self.epoch[member.node_id] << 32 | n for n in heard}:
                return None
        window = self.plain.pop(source, None) or deque(maxlen=WINDOW)
        window.append(counter)
        self.plain[source] = window
        if len(self.plain) > PLAIN_SOURCES_MAX:
            del self.plain[next(iter(self.plain))]
        return Verdict.ACCEPTED, PlainAdvert(payload[5], payload[2], counter)


class World:
    """The receiver under fire, the cluster around it, and the attacker."""

    def __init__(self, seed: str, *, strict: bool) -> None:
        self.rng = rng = random.Random(seed)  # noqa: S311 (repeatable, not secret)
        self.strict = strict
        self.settings = settings_of(OWN, strict=strict)
        self.senders = [Sender(rng, peer, settings_of(peer, strict=strict)) for peer in PEERS]
        self.sent: dict[bytes, Advert] = {}
        self.recent: deque[tuple[bytes, bytes]] = deque(maxlen=RECENT)
        self.verdicts: Counter[Verdict] = Counter()
        self.signer = CarpSigner(PASSWORD, VHID, VIP)
        self.reboot()
        self.outsiders = [Sender(rng, member, settings) for member, settings in self._outsiders()]
        self.mirror = Sender(rng, OWN, self.settings)
        self.twins = [Sender(rng, OWN, self.settings, epoch) for epoch in (EPOCH - 1, EPOCH + 1)]
        self.is_twin = False
        for _ in range(RECENT):
            self.genuine()

    def _outsiders(self) -> list[tuple[Member, CodecSettings]]:
        strict, peer = self.strict, PEERS[0]
        stranger = Member(9, "meta9", bytes([192, 0, 2, 99]))
        moved = replace(peer, address=stranger.address)
        return [
            (stranger, settings_of(stranger, strict=strict)),
            (moved, settings_of(moved, strict=strict)),
            (peer, settings_of(peer, strict=strict, key=FOREIGN_KEY)),
            (peer, settings_of(peer, strict=strict, vhid=VHID + 1)),
            (peer, settings_of(peer, strict=strict, vip=stranger.address)),
        ]

    def reboot(self) -> None:
        """Start the receiver's next life; what was recorded in the earlier ones stays with the attacker."""
        self.nonce = self.rng.getrandbits(64)
        self.receiver = Receiver(self.settings, EPOCH, self.nonce)
        self.victim = Receiver(self.settings, EPOCH, self.nonce)
        self.model = Model(self.nonce, strict=self.strict)
        self.state = state_of(self.receiver)

    def pick(self) -> tuple[bytes, bytes]:
        return self.recent[int(self.rng.random() * len(self.recent))]

    def genuine(self) -> Datagram:
        rng = self.rng
        sender = self.senders[int(rng.random() * len(self.senders))]
        if rng.random() < 0.001:
            sender.reboot()
        acks = (Ack(OWN.node_id, self.nonce, 1),) if rng.random() < 0.5 else (Ack(3, rng.getrandbits(64), 2),)
        payload, said = sender.say(acks)
        if len(self.recent) == RECENT:
            del self.sent[self.recent[0][0]]
        self.sent[payload] = said
        self.recent.append((payload, sender.member.address))
        return payload, sender.member.address, 255

    def step(self) -> None:
        """Send one datagram and hold what came of it against the model."""
        self.is_twin = False
        datagram = ATTACKS[int(self.rng.random() * len(ATTACKS))](self)
        received = self.receiver.receive(*datagram)
        self.verdicts[received.verdict] += 1
        expected = self.model.verdict(datagram, self.sent.get(datagram[0]))
        believed = (received.verdict, received.advert) if received.verdict in BELIEVED else None
        if believed != expected:
            raise ViolationError(f"{describe(datagram)}: {received}, but expected {expected}")
        if received.verdict is Verdict.OWN_NAME and not self.is_twin:
            raise ViolationError(f"{describe(datagram)}: taken for a live node of our name")
        state = state_of(self.receiver)
        if not believed and received.verdict is not Verdict.OWN_NAME and state != self.state:
            raise ViolationError(f"{describe(datagram)}: {received.verdict.name} changed the state")
        self.state = state

    def insider(self, payload: bytes, source: bytes) -> Received:
        """Let a key holder gone wrong speak to a second receiver, of which only survival is asked."""
        body = payload[:-32]
        mac = hmac.digest(KEY.trailer_key, source + body, "sha256")
        return self.victim.receive(body + mac, source, 255)


def state_of(receiver: Receiver) -> list[object]:
    """Everything that the receiver remembers but its counters."""
    state: list[object] = []
    for peer in (*receiver._peers.values(), receiver._twin):
        window = peer.window
        state += (window.epoch, window.newest, window.seen, peer.nonce, peer.is_proven)
    for source, recent in receiver._plain.items():
        state += (source, len(recent), recent[-1])
    return state


def describe(datagram: Datagram) -> str:
    payload, source, ttl = datagram
    return f"{payload.hex()} from {source.hex()} with TTL {ttl}"


def repaired(payload: bytearray) -> bytes:
    """The payload with a right CARP checksum, so that a mutation gets past it."""
    if len(payload) >= 36:
        payload[6:8] = bytes(2)
        payload[6:8] = checksum(payload[:36]).to_bytes(2, "big")
    return bytes(payload)


def genuine(world: World) -> Datagram:
    return world.genuine()


def replayed(world: World) -> Datagram:
    return *world.pick(), 255


def flipped(world: World) -> Datagram:
    payload, source = world.pick()
    changed, rng = bytearray(payload), world.rng
    for _ in range(1 + (rng.random() < 0.3) * rng.getrandbits(3)):
        bit = int(rng.random() * len(changed) * 8)
        changed[bit >> 3] ^= 1 << (bit & 7)
    return (repaired(changed) if rng.random() < 0.5 else bytes(changed)), source, 255


def overwritten(world: World) -> Datagram:
    payload, source = world.pick()
    rng = world.rng
    at = int(rng.random() * len(payload))
    junk = rng.randbytes(1 + rng.getrandbits(4))
    changed = bytearray(payload[:at] + junk + payload[at + len(junk) :])
    if rng.random() < 0.3:
        world.insider(bytes(changed), source)
    return repaired(changed), source, 255


def cut(world: World) -> Datagram:
    payload, source = world.pick()
    return payload[: int(world.rng.random() * len(payload))], source, 255


def extended(world: World) -> Datagram:
    payload, source = world.pick()
    rng = world.rng
    longer = payload + rng.randbytes(1 + rng.getrandbits(6))
    if rng.random() < 0.5:
        longer = longer[:40] + (len(longer) - 36).to_bytes(2, "big") + longer[42:]
        world.insider(longer, source)
    return longer, source, 255


def spliced(world: World) -> Datagram:
    (head, source), (tail, _) = world.pick(), world.pick()
    at = 36 if world.rng.random() < 0.5 else int(world.rng.random() * len(head))
    return head[:at] + tail[at:], source, 255


def misplaced(world: World) -> Datagram:
    payload, _ = world.pick()
    return payload, MEMBERS[world.rng.getrandbits(1)].address, 255


def routed(world: World) -> Datagram:
    return *world.pick(), world.rng.getrandbits(8)


def noise(world: World) -> Datagram:
    rng = world.rng
    return rng.randbytes(rng.getrandbits(9 + 2 * (rng.random() < 0.05))), rng.randbytes(4), 255


def dressed(world: World) -> Datagram:
    """Noise behind a header, magic and length that are right."""
    payload, source = world.pick()
    junk = world.rng.randbytes(world.rng.getrandbits(9))
    return payload[:40] + (len(junk) + 6).to_bytes(2, "big") + junk, source, 255


def outsider(world: World) -> Datagram:
    """Right in itself, but of another cluster, key, address or life."""
    sender = world.outsiders[int(world.rng.random() * len(world.outsiders))]
    return sender.say(())[0], sender.member.address, 255


def own(world: World) -> Datagram:
    """Our own advert come back, a recording of our earlier life, or another node of our name."""
    choice = world.rng.getrandbits(2)
    if choice > 1:
        world.is_twin = choice == 3
        return world.twins[choice - 2].say(())[0], OWN.address, 255
    world.mirror.nonce = world.nonce
    return world.mirror.say(())[0], OWN.address, 255


def stripped(world: World) -> Datagram:
    payload, source = world.pick()
    head = bytearray(payload[:36])
    if world.rng.random() < 0.5:
        head[2] = world.rng.getrandbits(8)
    return repaired(head), source, 255


def plain(world: World) -> Datagram:
    """A ucarp host's advert, or almost: few counters, so that some repeat, and more sources than are remembered."""
    rng = world.rng
    counter, buffer = rng.getrandbits(8), bytearray(36)
    write_header(buffer, CarpHeader(VHID, 1, rng.getrandbits(8), 0, counter, world.signer.digest(counter)))
    if rng.random() < 0.3:
        buffer[8 + int(rng.random() * 28)] ^= 1 << rng.getrandbits(3)
    return repaired(buffer), bytes([198, 51, 100, int(rng.random() * (PLAIN_SOURCES_MAX + 4))]), 255


SHARES: dict[Callable[[World], Datagram], int] = {
    genuine: 4,
    replayed: 10,
    flipped: 20,
    overwritten: 14,
    cut: 8,
    extended: 8,
    spliced: 10,
    misplaced: 4,
    routed: 2,
    noise: 6,
    dressed: 5,
    outsider: 2,
    own: 1,
    stripped: 3,
    plain: 4,
}
ATTACKS = tuple(attack for attack, share in SHARES.items() for _ in range(share))


def check_tables(world: World) -> None:
    """Raise ViolationError if a table of either receiver has outgrown its bound."""
    for receiver in (world.receiver, world.victim):
        recent = receiver._plain.values()
        windows = [peer.window for peer in (*receiver._peers.values(), receiver._twin)]
        if (
            len(receiver._peers) != len(PEERS)
            or len(receiver._plain) > PLAIN_SOURCES_MAX
            or any(len(counters) > WINDOW for counters in recent)
            or any(window.seen >> WINDOW or window.newest >> 64 for window in windows)
            or len(receiver.counters) != len(Verdict)
        ):
            raise ViolationError("a table of the receiver outgrew its bound")
