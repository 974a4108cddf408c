"""Other versions of pycarpd in one cluster: one that knows less than this, and one that says more."""

import struct
from dataclasses import replace
from enum import Enum, auto

from pycarpd.election.model import Advert
from pycarpd.wire.carp import CARP_LENGTH
from pycarpd.wire.codec import Encoder
from pycarpd.wire.trailer import LENGTH_AT, MAC_LENGTH

UNKNOWN_FLAG = 0x4000
_FLAGS_AT = CARP_LENGTH + 96
_FLAGS = struct.Struct(">H")
UNKNOWN_EXTENSION = struct.pack(">HH5s", 0x7F01, 5, b"later")


class Dialect(Enum):
    """Which version a node speaks."""

    PRESENT = auto()
    OLDER = auto()
    """It knows no lineages."""
    NEWER = auto()
    """It has flags and extensions that nobody has heard of."""

    def understand(self, advert: Advert) -> Advert:
        """Return what a node of this version takes in of an advert."""
        return _without_lineage(advert) if self is Dialect.OLDER else advert

    def say(self, advert: Advert, encoder: Encoder, source: bytes, *, is_sealed: bool) -> Advert | bytes:
        """Return what a node of this version sends."""
        if self is Dialect.NEWER:
            return _with_more(encoder.encode(advert, source), encoder, source)
        said = self.understand(advert)
        return encoder.encode(said, source) if is_sealed else said


def _without_lineage(advert: Advert) -> Advert:
    if advert.freshness is None:
        return advert
    return advert._replace(freshness=replace(advert.freshness, lineage=None), branch=None, older=())


def _with_more(payload: bytes, encoder: Encoder, source: bytes) -> bytes:
    body = bytearray(payload[:-MAC_LENGTH])
    _FLAGS.pack_into(body, _FLAGS_AT, _FLAGS.unpack_from(body, _FLAGS_AT)[0] | UNKNOWN_FLAG)
    body += UNKNOWN_EXTENSION
    _FLAGS.pack_into(body, CARP_LENGTH + LENGTH_AT, len(body) - CARP_LENGTH + MAC_LENGTH)
    return encoder.sign(body, source)
