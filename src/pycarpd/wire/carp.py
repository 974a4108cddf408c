"""The CARP version 2 header as ucarp speaks it: 36 bytes, big endian, and the two sums that guard it.

====  ====  ==========================================================================================
byte  size  field
====  ====  ==========================================================================================
0     1     0x21: version 2 in the high nibble, type 1 (advertisement) in the low one
1     1     VHID, 1..255
2     1     advskew (255 together with advbase 255: the sender resigns)
3     1     authlen, 7: the length in 32-bit words of what follows the checksum
4     1     0 (OpenBSD puts its demotion counter here)
5     1     advbase in seconds
6     2     Internet checksum (RFC 1071) over these 36 bytes only, without a pseudo-header
8     8     counter
16    20    HMAC-SHA1 over 0x02 0x01 VHID, the one virtual address, counter
====  ====  ==========================================================================================

The digest covers neither advskew nor advbase: who needs them authenticated reads the trailer's MAC.
"""

import hmac
import struct
from typing import Final, NamedTuple

from pycarpd.invariant import invariant
from pycarpd.wire.mac import Schedule

CARP_LENGTH: Final = 36
VERSION_AND_TYPE: Final = 0x21
AUTHLEN: Final = 7
RESIGN: Final = 255
"""advbase and advskew of a resignation: every CARP backup that hears it takes over at once."""
PASSWORD_BYTES_MAX: Final = 19
"""What ucarp accepts: its key field has 20 bytes, one of them for the terminating zero."""

_HEADER = struct.Struct(">BBBBBBHQ20s")
_CHECKSUM = struct.Struct(">H")
_CHECKSUM_AT = 6
_COUNTER = struct.Struct(">Q")


class CarpHeader(NamedTuple):
    """The fields of a CARP header whose version, type and authlen have been checked.

    A tuple, since one is made for each datagram that is read or written.
    """

    vhid: int
    advbase: int
    advskew: int
    checksum: int
    counter: int
    digest: bytes


class CarpSigner:
    """Computes the header's digest; the key schedule is prepared once.

    *key* is a ucarp password or a key of that role; *virtual_address* is the one packed address it covers.
    """

    __slots__ = ("_schedule",)

    def __init__(self, key: bytes, vhid: int, virtual_address: bytes) -> None:
        invariant(0 < vhid < 256, "a VHID is 1..255")  # noqa: PLR2004 (a byte)
        self._schedule = Schedule(key, "sha1", bytes((2, 1, vhid)) + virtual_address)

    def digest(self, counter: int) -> bytes:
        """Return the 20 bytes for *counter* (64 bits)."""
        return self._schedule.mac(_COUNTER.pack(counter))

    def is_genuine(self, header: CarpHeader) -> bool:
        """Tell, in constant time, whether the header's digest is ours."""
        return hmac.compare_digest(self.digest(header.counter), header.digest)


def write_header(buffer: bytearray, header: CarpHeader) -> None:
    """Write *header* to the first 36 bytes of *buffer*; its checksum field is ignored and computed."""
    _HEADER.pack_into(
        buffer,
        0,
        VERSION_AND_TYPE,
        header.vhid,
        header.advskew,
        AUTHLEN,
        0,
        header.advbase,
        0,
        header.counter,
        header.digest,
    )
    _CHECKSUM.pack_into(buffer, _CHECKSUM_AT, checksum(buffer[:CARP_LENGTH]))


def read_header(payload: bytes | memoryview) -> CarpHeader:
    """Return the header of *payload*, which must have 36 bytes at least; nothing is verified."""
    _, vhid, advskew, _, _, advbase, check, counter, digest = _HEADER.unpack_from(payload)
    return CarpHeader(vhid, advbase, advskew, check, counter, digest)


def checksum(data: bytes | bytearray | memoryview) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes; 0 for data that carry a right one.

    The sum of 16-bit words with end-around carry is the number modulo 65535, in which 0 is written 0xffff.
    """
    number = int.from_bytes(data, "big")
    total = number % 0xFFFF
    if total == 0 and number:
        total = 0xFFFF
    return total ^ 0xFFFF
