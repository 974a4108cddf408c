"""What the receiver thinks of a datagram.

Peers' faults are these values and never exceptions. The order is roughly the order of the checks: what costs
nothing comes first, what needs a hash next, what needs the memory of earlier adverts last.
"""

from enum import IntEnum, auto


class Verdict(IntEnum):
    """The one answer to a datagram; its lower-case name is the word in counters and metrics.

    The numbers only index counters, they are never stored or sent.
    """

    ACCEPTED = 0
    """Authenticated, fresh, and its sender has echoed our nonce: to be believed."""
    UNPROVEN = auto()
    """Authenticated and in the window, but perhaps recorded before we booted: to be answered, not believed."""
    TOO_SHORT = auto()
    """Shorter than a CARP header (a VRRPv2 or VRRPv3 advert, mostly)."""
    TOO_LONG = auto()
    """Longer than any advert may be."""
    BAD_TTL = auto()
    """The TTL is not 255: it was routed, or never sent by a CARP speaker."""
    BAD_VERSION = auto()
    """Not CARP version 2 (VRRPv3 shares the protocol number)."""
    BAD_TYPE = auto()
    """Not an advertisement."""
    NOT_CARP = auto()
    """The authlen byte is not 7: a VRRPv2 advert, which shares the first byte and the protocol number."""
    WRONG_VHID = auto()
    """Another cluster's."""
    NO_TRAILER = auto()
    """A plain CARP advert in a strict cluster."""
    BAD_TRAILER = auto()
    """Something follows the CARP header which is no trailer of ours, or contradicts itself."""
    UNKNOWN_FORMAT = auto()
    """A trailer of a generation which this version cannot read."""
    BAD_CHECKSUM = auto()
    """The CARP checksum is wrong."""
    UNKNOWN_KEY = auto()
    """No key of ours has the advert's key id."""
    BAD_DIGEST = auto()
    """The trailer's HMAC-SHA256 is wrong."""
    BAD_CARP_DIGEST = auto()
    """The CARP header's HMAC-SHA1 is wrong: another password, or another virtual address."""
    OWN_ADVERT = auto()
    """Our own, looped back to us."""
    OWN_NAME = auto()
    """Another live node uses our name."""
    UNKNOWN_NODE = auto()
    """Authenticated, but its sender is not in our configuration."""
    WRONG_SOURCE = auto()
    """Authenticated, but not sent from the address that our configuration gives its sender."""
    STALE_EPOCH = auto()
    """From an earlier life of its sender: recorded, or delayed beyond a restart."""
    EPOCH_REUSED = auto()
    """The sender's boot epoch has come with two nonces: its state was copied or rolled back."""
    REPLAYED = auto()
    """Heard before, or too old to tell."""
