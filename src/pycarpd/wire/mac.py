"""HMAC (RFC 2104) with its key schedule prepared once: two hash states that each message copies.

It gives what the copy of an object of the standard library's ``hmac`` gives, without that module's layers of Python and
without OpenSSL's own object for a MAC, whose copy costs twice as much as that of two hash states; an advert is signed
or verified with two of these.
"""

import hashlib
from typing import Final

_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Schedule:
    """The schedule of one key for one of hashlib's algorithms; a *prefix* that all messages share is hashed once."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, algorithm: str, prefix: bytes = b"") -> None:
        block_size = hashlib.new(algorithm).block_size
        short = key if len(key) <= block_size else hashlib.new(algorithm, key).digest()
        padded = short.ljust(block_size, b"\0")
        self._inner = hashlib.new(algorithm, padded.translate(_INNER) + prefix)
        self._outer = hashlib.new(algorithm, padded.translate(_OUTER))

    def mac(self, message: bytes | bytearray | memoryview, first: bytes = b"") -> bytes:
        """Return the MAC of the prefix, *first* and *message*, one after the other."""
        inner = self._inner.copy()
        if first:
            inner.update(first)
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()
