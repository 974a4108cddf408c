"""From an Advert to the bytes of a datagram, and the settings that both directions share."""

from dataclasses import dataclass, field

from pycarpd.election.model import Advert, Flags, Member
from pycarpd.invariant import invariant
from pycarpd.wire import carp, trailer
from pycarpd.wire.keys import Key, KeyRing
from pycarpd.wire.mac import Schedule

MEMBERS_MAX = trailer.ACKS_MAX + 1
"""A node acknowledges all others in each of its adverts."""

_ADDRESS_LENGTHS = (4, 16)


@dataclass(frozen=True, slots=True)
class CodecSettings:
    """What the wire needs of the configuration, which has validated it.

    ``virtual_address`` is the one packed address in the CARP digest. ``ucarp_password`` (1..19 bytes) is what
    ucarp hosts in the group use; a strict cluster has none and keys that digest from the key ring.
    """

    vhid: int
    virtual_address: bytes
    own_node_id: int
    members: tuple[Member, ...]
    strict: bool
    keyring: KeyRing
    ucarp_password: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        ids = {member.node_id for member in self.members}
        addresses = {member.address for member in self.members}
        password = self.ucarp_password
        invariant(len(self.virtual_address) in _ADDRESS_LENGTHS, "a virtual address is IPv4 or IPv6")
        invariant(len(self.members) <= MEMBERS_MAX, "adverts have acks for 16 members")
        invariant(len(ids) == len(addresses) == len(self.members), "members differ in id and address")
        invariant(self.own_node_id in ids, "a node is a member of its cluster")
        invariant(self.strict or password is not None, "a cluster with ucarp hosts has their password")
        invariant(
            password is None or 0 < len(password) <= carp.PASSWORD_BYTES_MAX,
            "a ucarp password has 1 to 19 bytes",
        )

    def carp_signer(self, key: Key) -> carp.CarpSigner:
        """Return the signer of CARP headers that go with *key*."""
        shared = None if self.strict else self.ucarp_password
        return carp.CarpSigner(shared or key.carp_key, self.vhid, self.virtual_address)


class Encoder:
    """Makes datagrams of this node's adverts, signed with the key ring's sending key. It keeps no state."""

    __slots__ = ("_key_id", "_own_node_id", "_schedule", "_signer", "_vhid")

    def __init__(self, settings: CodecSettings) -> None:
        key = settings.keyring.sending
        self._key_id = key.key_id
        self._own_node_id = settings.own_node_id
        self._schedule = Schedule(key.trailer_key, "sha256")
        self._signer = settings.carp_signer(key)
        self._vhid = settings.vhid

    def encode(self, advert: Advert, source: bytes, beside: trailer.Beside = trailer.NOTHING_BESIDE) -> bytes:
        """Return the payload of protocol 112 for *advert*, to be sent from the packed address *source*.

        It tells what is *beside* the advert too. At most ``trailer.PAYLOAD_MAX`` bytes. A resigned advert says 255/255,
        whatever its advbase and advskew.
        """
        invariant(advert.node_id == self._own_node_id, "a node sends adverts of its own")
        body = trailer.write(advert, self._key_id, beside)
        carp.write_header(body, self._header(advert))
        return self.sign(body, source)

    def sign(self, body: bytearray, source: bytes) -> bytes:
        """Return a CARP header and trailer with the MAC that goes behind them."""
        return bytes(body) + self._schedule.mac(body, source)

    def _header(self, advert: Advert) -> carp.CarpHeader:
        counter = trailer.counter_of(advert.epoch, advert.sequence)
        advbase, advskew = advert.advbase, advert.advskew
        if Flags.RESIGNED in advert.flags:
            advbase = advskew = carp.RESIGN
        else:
            invariant(advbase != carp.RESIGN or advskew != carp.RESIGN, "only a resigned advert says 255/255")
        return carp.CarpHeader(self._vhid, advbase, advskew, 0, counter, self._signer.digest(counter))
