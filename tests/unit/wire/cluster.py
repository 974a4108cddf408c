"""A cluster of three nodes for tests of the wire: their settings, adverts and datagrams."""

from dataclasses import dataclass, field
from typing import Any

from pycarpd.election.model import Ack, Advert, Flags, Freshness, Member, PeerConnection, Role
from pycarpd.wire.codec import CodecSettings, Encoder
from pycarpd.wire.identity import node_id_of
from pycarpd.wire.keys import KeyRing
from pycarpd.wire.receiver import Received, Receiver

VHID = 42
VIP = bytes([192, 0, 2, 100])
PASSWORD = b"love"
KEY_LINE = bytes(range(32)).hex()
OTHER_KEY_LINE = bytes(range(100, 132)).hex()
MEMBERS = tuple(
    Member(node_id_of(name), name, bytes([192, 0, 2, last]))
    for name, last in (("meta1", 11), ("meta2", 12), ("meta3", 13))
)
META1, META2, META3 = MEMBERS
OWN_NONCE = 0xABAD1DEA_0DDBA11


def keyring(*lines: str) -> KeyRing:
    ring = KeyRing.parse("\n".join(lines or (KEY_LINE,)))
    assert isinstance(ring, KeyRing)
    return ring


def settings(own: Member = META1, **changes: Any) -> CodecSettings:
    usual: dict[str, Any] = {
        "vhid": VHID,
        "virtual_address": VIP,
        "own_node_id": own.node_id,
        "members": MEMBERS,
        "strict": True,
        "keyring": keyring(),
    }
    return CodecSettings(**(usual | changes))


def mixed(own: Member = META1, **changes: Any) -> CodecSettings:
    """The settings of a cluster that has ucarp hosts in it."""
    return settings(own, strict=False, ucarp_password=PASSWORD, **changes)


def advert(own: Member = META2, sequence: int = 1, **changes: Any) -> Advert:
    usual = Advert(
        node_id=own.node_id,
        epoch=7,
        sequence=sequence,
        nonce=0x5EED_0000 + own.address[-1],
        role=Role.BACKUP,
        term=3,
        served_term=2,
        interval_us=250_000,
        hold_ms=0,
        priority=100,
        demotion=0,
        flags=Flags.PROMOTABLE,
        freshness=Freshness(metaid=0x1234, version=1000, proved_version=990, drill_age_s=60, age_ms=20),
        vote_term=3,
        vote_for=META1.node_id,
        config_digest=0xC0FFEE,
        acks=(Ack(META1.node_id, OWN_NONCE, 5),),
        advbase=1,
        advskew=100,
    )
    return usual._replace(**changes)


FULL = advert(
    role=Role.MASTER,
    flags=Flags.PAUSED | Flags.WANTS_MASTER,
    connections=(PeerConnection(bytes([192, 0, 2, 50]), 40_000, 9421),),
)


@dataclass
class Host:
    """One node of the cluster: what it would send, and what it makes of datagrams."""

    settings: CodecSettings = field(default_factory=settings)
    epoch: int = 7
    nonce: int = OWN_NONCE

    def __post_init__(self) -> None:
        self.receiver = Receiver(self.settings, self.epoch, self.nonce)

    def hear(self, payload: bytes, source: bytes = META2.address, ttl: int = 255) -> Received:
        return self.receiver.receive(payload, source, ttl)


def datagram(said: Advert, by: CodecSettings | None = None) -> bytes:
    """What META2 (or the node of those settings) sends for an advert."""
    of = by or settings(META2)
    source = next(member.address for member in of.members if member.node_id == of.own_node_id)
    return Encoder(of).encode(said, source)
