"""Classic BPF programs: what the kernel drops for us costs no wake-up (socket(7), SO_ATTACH_FILTER)."""

import ctypes
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")

LOAD_BYTE = 0x30
LOAD_HALF = 0x28
LOAD_WORD = 0x20
LOAD_BYTE_AT_X = 0x50
LOAD_X_IP_HEADER_LENGTH = 0xB1
LOAD_HALF_AT_X = 0x48
LOAD_LENGTH = 0x80
STORE = 0x02
LOAD_X = 0x61
ADD = 0x04
SUBTRACT_X = 0x1C
JUMP_EQUAL = 0x15
JUMP_EQUAL_X = 0x1D
JUMP_AT_LEAST = 0x35
JUMP_ANY_BIT = 0x45
AND = 0x54
RETURN = 0x06
ACCEPT_BYTES = 0x40000
"""The whole packet, whatever its length."""

Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false, operand."""


_SYN = 0x02
_ACK = 0x10
_FRAGMENT_BITS = 0x3FFF
"""More fragments, or an offset that is not zero."""
_REFUSE = -1
"""A jump to the refusal, wherever that will stand."""


@dataclass(frozen=True, slots=True)
class AdvertShape:
    """What every advert of a group looks like from outside; offsets count from the first byte after the IP header.

    It comes from one of ``sources`` (packed IPv4), has ``shortest`` bytes at least and the 16 bits ``mark`` at
    ``mark_at``; the 16 bits at ``length_at`` count the bytes that follow the first ``length_from``.
    """

    sources: tuple[bytes, ...]
    shortest: int
    mark_at: int
    mark: int
    length_at: int
    length_from: int


def advert_filter(
    protocol: int, vhid: int, own_address: bytes, shape: AdvertShape | None = None
) -> tuple[Instruction, ...]:
    """Accept IPv4 packets of *protocol* whose second payload byte is *vhid*, unless they come from *own_address*.

    With *shape* only those that have it, and a TTL of 255: what is refused here costs no wake-up, however much of it
    somebody sends.
    """
    steps = (
        (LOAD_BYTE, 0, 0, 9),
        (JUMP_EQUAL, 0, _REFUSE, protocol),
        (LOAD_WORD, 0, 0, 12),
        (JUMP_EQUAL, _REFUSE, 0, int.from_bytes(own_address, "big")),
        (LOAD_X_IP_HEADER_LENGTH, 0, 0, 0),
        (LOAD_BYTE_AT_X, 0, 0, 1),
        (JUMP_EQUAL, 0, _REFUSE, vhid),
        *(_shape_steps(shape) if shape is not None else ()),
        (RETURN, 0, 0, ACCEPT_BYTES),
    )
    return (*(_resolved(step, len(steps) - at - 1) for at, step in enumerate(steps)), (RETURN, 0, 0, 0))


def syn_filter(destination: bytes, ports: Sequence[int]) -> tuple[Instruction, ...]:
    """Accept IPv4 packets to *destination* that open a TCP connection to one of *ports*; nothing fragmented."""
    last = len(ports) - 1
    steps = (
        (LOAD_BYTE, 0, 0, 9),
        (JUMP_EQUAL, 0, _REFUSE, socket.IPPROTO_TCP),
        (LOAD_WORD, 0, 0, 16),
        (JUMP_EQUAL, 0, _REFUSE, int.from_bytes(destination, "big")),
        (LOAD_HALF, 0, 0, 6),
        (JUMP_ANY_BIT, _REFUSE, 0, _FRAGMENT_BITS),
        (LOAD_X_IP_HEADER_LENGTH, 0, 0, 0),
        (LOAD_HALF_AT_X, 0, 0, 2),
        *((JUMP_EQUAL, last - at, 0 if at < last else _REFUSE, port) for at, port in enumerate(ports)),
        (LOAD_BYTE_AT_X, 0, 0, 13),
        (AND, 0, 0, _SYN | _ACK),
        (JUMP_EQUAL, 0, _REFUSE, _SYN),
        (RETURN, 0, 0, ACCEPT_BYTES),
    )
    return (*(_resolved(step, len(steps) - at - 1) for at, step in enumerate(steps)), (RETURN, 0, 0, 0))


def _resolved(step: Instruction, to_refusal: int) -> Instruction:
    operation, if_true, if_false, operand = step
    return (
        operation,
        to_refusal if if_true == _REFUSE else if_true,
        to_refusal if if_false == _REFUSE else if_false,
        operand,
    )


def _shape_steps(shape: AdvertShape) -> tuple[Instruction, ...]:
    last = len(shape.sources) - 1
    sources = tuple(
        (JUMP_EQUAL, last - at, 0 if at < last else _REFUSE, int.from_bytes(source, "big"))
        for at, source in enumerate(shape.sources)
    )
    return (
        (LOAD_BYTE, 0, 0, 8),
        (JUMP_EQUAL, 0, _REFUSE, 255),
        (LOAD_WORD, 0, 0, 12),
        *sources,
        (LOAD_LENGTH, 0, 0, 0),
        (SUBTRACT_X, 0, 0, 0),
        (JUMP_AT_LEAST, 0, _REFUSE, shape.shortest),
        (STORE, 0, 0, 0),
        (LOAD_HALF_AT_X, 0, 0, shape.mark_at),
        (JUMP_EQUAL, 0, _REFUSE, shape.mark),
        (LOAD_HALF_AT_X, 0, 0, shape.length_at),
        (ADD, 0, 0, shape.length_from),
        (LOAD_X, 0, 0, 0),
        (JUMP_EQUAL_X, 0, _REFUSE, 0),
    )


def arp_sender_filter(addresses: Sequence[bytes]) -> tuple[Instruction, ...]:
    """Accept Ethernet frames with an IPv4 ARP message that claims one of *addresses* as its sender's."""
    ethernet_ipv4 = 0x00010800
    checks = tuple(
        # Each check jumps over those that follow it, and over the refusal, to the acceptance.
        (JUMP_EQUAL, len(addresses) - position, 0, int.from_bytes(address, "big"))
        for position, address in enumerate(addresses)
    )
    return (
        (LOAD_WORD, 0, 0, 14),
        (JUMP_EQUAL, 0, len(addresses) + 1, ethernet_ipv4),
        (LOAD_WORD, 0, 0, 28),
        *checks,
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, ACCEPT_BYTES),
    )


def attach_filter(target: socket.socket, program: Sequence[Instruction]) -> None:
    """Give *program* to the kernel for *target*; replaces an earlier one. Raises OSError."""
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    target.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer)))
