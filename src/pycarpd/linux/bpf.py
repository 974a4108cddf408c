"""Classic BPF programs: what the kernel drops for us costs no wake-up (socket(7), SO_ATTACH_FILTER)."""

import ctypes
import socket
import struct
from collections.abc import Sequence

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")

LOAD_BYTE = 0x30
LOAD_HALF = 0x28
LOAD_WORD = 0x20
LOAD_BYTE_AT_X = 0x50
LOAD_X_IP_HEADER_LENGTH = 0xB1
JUMP_EQUAL = 0x15
RETURN = 0x06
ACCEPT_BYTES = 0x40000
"""The whole packet, whatever its length."""

Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false, operand."""


def advert_filter(protocol: int, vhid: int, own_address: bytes) -> tuple[Instruction, ...]:
    """Accept IPv4 packets of *protocol* whose second payload byte is *vhid*, unless they come from *own_address*."""
    return (
        (LOAD_BYTE, 0, 0, 9),
        (JUMP_EQUAL, 0, 5, protocol),
        (LOAD_WORD, 0, 0, 12),
        (JUMP_EQUAL, 3, 0, int.from_bytes(own_address, "big")),
        (LOAD_X_IP_HEADER_LENGTH, 0, 0, 0),
        (LOAD_BYTE_AT_X, 0, 0, 1),
        (JUMP_EQUAL, 1, 0, vhid),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, ACCEPT_BYTES),
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
