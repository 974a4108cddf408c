"""The key ring: from the lines of the key file to the keys that adverts are signed with.

A line is at least 32 bytes of entropy in hexadecimal; ``#`` begins a comment. The first key signs, all of them
verify, so keys rotate without an outage: append the new key everywhere, then move it to the top everywhere, then
delete the old one. HKDF-SHA256 (RFC 5869, salt ``pycarpd``) makes separate keys of one line for each use; the key id
in an advert is derived as well, so that operators never number keys. Two lines may share an id: both are tried.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pycarpd.invariant import invariant

KEYS_MAX = 8
"""A rotation needs two; each further key with the same id would cost a hash per forged datagram."""
KEY_BYTES_MIN = 32
KEY_BYTES_MAX = 128

_SALT = b"pycarpd"
_TRAILER_LABEL = b"pycarpd trailer hmac-sha256 1"
_CARP_LABEL = b"pycarpd carp hmac-sha1 1"
_ID_LABEL = b"pycarpd key id 1"
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)


class KeyFaultCode(Enum):
    """What is wrong with a key file; the value is the rule it breaks."""

    NO_KEY = "the file must have at least one line with a key"
    TOO_MANY = f"a key ring has at most {KEYS_MAX} keys"
    NOT_HEX = "a key is an even number of hexadecimal digits"
    TOO_SHORT = f"a key has at least {2 * KEY_BYTES_MIN} hexadecimal digits"
    TOO_LONG = f"a key has at most {2 * KEY_BYTES_MAX} hexadecimal digits"
    DUPLICATE = "a key stands in the file once"


@dataclass(frozen=True, slots=True)
class KeyFault:
    """An operator's fault in a key file: what, and in which line (from 1; 0 for the file as a whole)."""

    code: KeyFaultCode
    line: int

    @property
    def rule(self) -> str:
        """Return the broken rule as a sentence without any part of a key."""
        return self.code.value


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the key file, derived: nothing of it is shown by ``repr``."""

    key_id: int
    trailer_key: bytes = field(repr=False)
    carp_key: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes) -> Self:
        """Derive the id (1 byte), the trailer's key (32 bytes) and the CARP key (20 bytes) of *secret*."""
        return cls(
            key_id=_derive(secret, _ID_LABEL, 1)[0],
            trailer_key=_derive(secret, _TRAILER_LABEL, 32),
            carp_key=_derive(secret, _CARP_LABEL, 20),
        )


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of a cluster, the sending one first; never empty."""

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        invariant(0 < len(self.keys) <= KEYS_MAX, "a key ring has one key at least and a bound")

    @classmethod
    def parse(cls, text: str) -> "KeyRing | KeyFault":
        """Return the key ring of a key file's *text*, or the first fault in it."""
        secrets: list[bytes] = []
        for number, line in enumerate(text.splitlines(), start=1):
            digits = line.partition("#")[0].strip()
            if not digits:
                continue
            code = _fault_of(digits, secrets)
            if code is not None:
                return KeyFault(code, number)
            secrets.append(bytes.fromhex(digits))
        if not secrets:
            return KeyFault(KeyFaultCode.NO_KEY, 0)
        return cls(tuple(map(Key.derive, secrets)))

    @property
    def sending(self) -> Key:
        """Return the key that signs."""
        return self.keys[0]

    def by_id(self, key_id: int) -> tuple[Key, ...]:
        """Return the keys of that id, in the order of the file: none, one, or rarely several."""
        return tuple(key for key in self.keys if key.key_id == key_id)


def generate_key_line(random_bytes: bytes) -> str:
    """Return a key line, without a newline, from at least 32 bytes of the system's randomness."""
    invariant(KEY_BYTES_MIN <= len(random_bytes) <= KEY_BYTES_MAX, "a key line needs 32 to 128 random bytes")
    return random_bytes.hex()


def _fault_of(digits: str, earlier: list[bytes]) -> KeyFaultCode | None:
    if not _HEX.fullmatch(digits) or len(digits) % 2:
        return KeyFaultCode.NOT_HEX
    if len(digits) < 2 * KEY_BYTES_MIN:
        return KeyFaultCode.TOO_SHORT
    if len(digits) > 2 * KEY_BYTES_MAX:
        return KeyFaultCode.TOO_LONG
    if bytes.fromhex(digits) in earlier:
        return KeyFaultCode.DUPLICATE
    return KeyFaultCode.TOO_MANY if len(earlier) == KEYS_MAX else None


def _derive(secret: bytes, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=_SALT, info=label).derive(secret)
