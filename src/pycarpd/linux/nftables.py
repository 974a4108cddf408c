"""The kernel's packet filter, spoken to directly: nf_tables messages and expressions, byte for byte. Pure functions.

A batch is one transaction: the kernel does all of it or nothing, and packets see either the old rules or the new ones.
It is handled while it is being sent, so its answers are there when send() returns. Layout: nfnetlink.h and nf_tables.h
of the kernel; lengths are in host order, numbers inside attributes in network order.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, islice

from pycarpd.linux.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP

_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct("=HH")
TIMEOUT = struct.Struct(">Q")
_NLM_F_REQUEST = 0x1
_NLM_F_APPEND = 0x800
_NESTED = 0x8000
_SUBSYSTEM = 10
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_SEQUENCE = 1
"""Answers are read before the next batch is sent, so one number is enough."""
_DROP = 0
_VERDICT_REGISTER = 0
_DATA_REGISTER = 1
_SET_WITH_TIMEOUTS = 0x10
_LOOKUP_INVERTED = 1
_NETWORK_HEADER = 1
_TRANSPORT_HEADER = 2


class Family(IntEnum):
    """Where a table's hooks are; each family has tables of its own."""

    INET = 1
    ARP = 3
    NETDEV = 5


class TableFlag(IntEnum):
    """OWNER: nobody but the socket that made the table may change it. PERSIST: it outlives that socket (Linux 6.9)."""

    OWNER = 2
    PERSIST = 4


class KeyType(IntEnum):
    """nft's own numbers for what a set's keys are, which let it list them as addresses or ports."""

    IPV4 = 7
    IPV6 = 8
    PORT = 13

    @property
    def key_bytes(self) -> int:
        """Return the length of one key."""
        return {KeyType.IPV4: 4, KeyType.IPV6: 16, KeyType.PORT: 2}[self]


class Comparison(IntEnum):
    """How a register is compared with a constant."""

    EQUAL = 0
    UNEQUAL = 1


class Meta(IntEnum):
    """What is known of a packet without reading it."""

    PROTOCOL = 1
    NFPROTO = 15
    L4PROTO = 16


class _Kind(IntEnum):
    NEW_TABLE = 0
    DELETE_TABLE = 2
    NEW_CHAIN = 3
    NEW_RULE = 6
    NEW_SET = 9
    NEW_ELEMENT = 12
    GET_ELEMENT = 13
    DELETE_ELEMENT = 14


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the kernel calls a chain: the hook's number in its family, lower priorities first, one device or all."""

    number: int
    priority: int
    device: str = ""


@dataclass(frozen=True, slots=True)
class AddressSet:
    """A set of addresses, or of ports, whose elements may have timeouts."""

    family: Family
    table: str
    name: str
    key_type: KeyType

    def prefix(self) -> bytes:
        """Return the attributes by which a message about elements names the set."""
        return text(1, self.table) + text(2, self.name)


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds others."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Return an attribute with a zero-terminated name."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """Return an attribute with a 32 bit number, in network order."""
    return attribute(kind, struct.pack(">i" if value < 0 else ">I", value))


def batch(messages: Sequence[bytes], *, is_rehearsal: bool = False) -> bytes:
    """Return *messages*, at least one, as one transaction that acknowledges its last message when it is done.

    A rehearsal has no end mark: the kernel checks all of it, answers, and takes it back.
    """
    *others, last = messages
    end = b"" if is_rehearsal else _message(_BATCH_END, 0, 0, b"", _SUBSYSTEM)
    return b"".join((_BATCH_BEGINNING, *others, _acknowledged(last), end))


def timeout_places(messages: Sequence[bytes]) -> tuple[int, ...]:
    """Return where in the batch of *messages* the timeouts of its new elements are, each a TIMEOUT in milliseconds."""
    ends = accumulate(map(len, messages), initial=len(_BATCH_BEGINNING))
    kinds = (_HEADER.unpack_from(message)[1] & 0xFF for message in messages)
    return tuple(
        end - TIMEOUT.size for end, kind in zip(islice(ends, 1, None), kinds, strict=True) if kind == _Kind.NEW_ELEMENT
    )


def new_table(family: Family, name: str, flags: int = 0) -> bytes:
    """Return the message that makes a table, or finds it there."""
    return _command(_Kind.NEW_TABLE, NLM_F_CREATE, family, text(1, name) + (number(2, flags) if flags else b""))


def delete_table(family: Family, name: str) -> bytes:
    """Return the message that deletes a table with all that is in it."""
    return _command(_Kind.DELETE_TABLE, 0, family, text(1, name))


def new_chain(family: Family, table: str, name: str, hook: Hook) -> bytes:
    """Return the message that makes a chain at *hook*, which accepts what its rules do not drop."""
    device = text(3, hook.device) if hook.device else b""
    where = nested(4, number(1, hook.number), number(2, hook.priority), device)
    return _command(_Kind.NEW_CHAIN, NLM_F_CREATE, family, text(1, table) + text(3, name) + where + text(7, "filter"))


def new_set(addresses: AddressSet, set_id: int) -> bytes:
    """Return the message that makes an empty set; *set_id* is unique in its batch."""
    key = (number(4, addresses.key_type), number(5, addresses.key_type.key_bytes))
    attributes = (number(3, _SET_WITH_TIMEOUTS), *key, number(10, set_id))
    return _command(_Kind.NEW_SET, NLM_F_CREATE, addresses.family, addresses.prefix() + b"".join(attributes))


def new_rule(family: Family, table: str, chain: str, expressions: Iterable[bytes]) -> bytes:
    """Return the message that appends a rule."""
    body = text(1, table) + text(2, chain) + nested(4, *expressions)
    return _command(_Kind.NEW_RULE, NLM_F_CREATE | _NLM_F_APPEND, family, body)


def flush_set(addresses: AddressSet) -> bytes:
    """Return the message that empties the set, whether anything is in it or not."""
    return _command(_Kind.DELETE_ELEMENT, 0, addresses.family, addresses.prefix())


def new_element(addresses: AddressSet, key: bytes, timeout_ms: int) -> bytes:
    """Return the message that adds *key* for *timeout_ms*, which are its last eight bytes."""
    element = nested(1, nested(1, attribute(1, key)), attribute(4, TIMEOUT.pack(timeout_ms)))
    return _command(_Kind.NEW_ELEMENT, NLM_F_CREATE, addresses.family, addresses.prefix() + nested(3, element))


def list_elements(addresses: AddressSet) -> bytes:
    """Return the question for the set's elements that have not run out."""
    return _command(_Kind.GET_ELEMENT, NLM_F_DUMP, addresses.family, addresses.prefix())


def has_elements(answer: bytes) -> bool:
    """Say whether one message of the answer to that question, header included, lists an element."""
    offset = _HEADER.size + _GENERIC.size
    while offset + _ATTRIBUTE.size <= len(answer):
        length, kind = _ATTRIBUTE.unpack_from(answer, offset)
        if kind & ~_NESTED == 3:  # noqa: PLR2004 -- NFTA_SET_ELEM_LIST_ELEMENTS
            return bool(length > _ATTRIBUTE.size)
        offset += max((length + 3) & ~3, _ATTRIBUTE.size)
    return False


def load_meta(key: Meta) -> bytes:
    """Return the expression that loads what is known of the packet."""
    return _expression("meta", number(1, _DATA_REGISTER), number(2, key))


def load_network(offset: int, length: int) -> bytes:
    """Return the expression that loads bytes of the IP or ARP header."""
    return _load(_NETWORK_HEADER, offset, length)


def load_transport(offset: int, length: int) -> bytes:
    """Return the expression that loads bytes of what follows the IP header."""
    return _load(_TRANSPORT_HEADER, offset, length)


def compare(how: Comparison, value: bytes) -> bytes:
    """Return the expression that ends the rule unless what was loaded compares so with *value*."""
    return _expression("cmp", number(1, _DATA_REGISTER), number(2, how), nested(3, attribute(1, value)))


def unless_in(set_name: str) -> bytes:
    """Return the expression that ends the rule if what was loaded is in the set."""
    return _expression("lookup", text(1, set_name), number(2, _DATA_REGISTER), number(5, _LOOKUP_INVERTED))


def if_in(set_name: str) -> bytes:
    """Return the expression that ends the rule unless what was loaded is in the set."""
    return _expression("lookup", text(1, set_name), number(2, _DATA_REGISTER))


def masked(mask: bytes) -> bytes:
    """Return the expression that keeps only the bits of *mask* of what was loaded."""
    registers = (number(1, _DATA_REGISTER), number(2, _DATA_REGISTER), number(3, len(mask)))
    return _expression("bitwise", *registers, nested(4, attribute(1, mask)), nested(5, attribute(1, bytes(len(mask)))))


def drop() -> bytes:
    """Return the expression that drops the packet."""
    return _expression("immediate", number(1, _VERDICT_REGISTER), nested(2, nested(2, number(1, _DROP))))


def _load(header: int, offset: int, length: int) -> bytes:
    return _expression("payload", number(1, _DATA_REGISTER), number(2, header), number(3, offset), number(4, length))


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _command(kind: _Kind, flags: int, family: Family, body: bytes) -> bytes:
    return _message(_SUBSYSTEM << 8 | kind, flags, family, body)


def _acknowledged(message: bytes) -> bytes:
    length, kind, flags, sequence, port = _HEADER.unpack_from(message)
    return _HEADER.pack(length, kind, flags | NLM_F_ACK, sequence, port) + message[_HEADER.size :]


def _message(kind: int, flags: int, family: int, body: bytes, resource: int = 0) -> bytes:
    length = _HEADER.size + _GENERIC.size + len(body)
    return _HEADER.pack(length, kind, flags | _NLM_F_REQUEST, _SEQUENCE, 0) + _GENERIC.pack(family, 0, resource) + body


_BATCH_BEGINNING = _message(_BATCH_BEGIN, 0, 0, b"", _SUBSYSTEM)
