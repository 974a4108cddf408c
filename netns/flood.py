"""A flood from one host: frames made beforehand, sent in rotation at a steady rate, tens of thousands a second.

Run on the attacker's host: ``python -m netns.flood INTERFACE FRAMES PER_SECOND SECONDS``. The file of frames
(``write_frames``) holds whole Ethernet frames, each after its length. What was sent is printed as one JSON object:
``sent``, ``seconds``. Source: sendmmsg(2), packet(7).
"""

import ctypes
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LENGTH: Final = struct.Struct("!H")
_BATCH: Final = 128
_SOL_PACKET: Final = 263
_PACKET_QDISC_BYPASS: Final = 20


class _Buffer(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr: struct msghdr, then how much of it was sent."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("buffers", ctypes.POINTER(_Buffer)),
        ("buffer_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint),
    )


def write_frames(path: Path, frames: Iterable[bytes]) -> None:
    """Write the file of frames."""
    path.write_bytes(b"".join(_LENGTH.pack(len(frame)) + frame for frame in frames))


def read_frames(path: Path) -> list[bytes]:
    """Return the frames of a file that ``write_frames`` wrote."""
    data, frames, offset = path.read_bytes(), [], 0
    while offset < len(data):
        (length,) = _LENGTH.unpack_from(data, offset)
        frames.append(data[offset + _LENGTH.size : offset + _LENGTH.size + length])
        offset += _LENGTH.size + length
    return frames


class Volley:
    """Frames laid out once for sendmmsg."""

    def __init__(self, frames: list[bytes]) -> None:
        self._kept = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
        self._buffers = (_Buffer * len(frames))()
        self.messages = (_Message * len(frames))()
        for buffer, kept, message in zip(self._buffers, self._kept, self.messages, strict=True):
            buffer.base, buffer.length = ctypes.addressof(kept), len(kept)
            message.buffers, message.buffer_count = ctypes.pointer(buffer), 1


def flood(interface: str, frames: list[bytes], per_second: int, seconds: float) -> tuple[int, float]:
    """Send the frames over and over; return how many were sent and in how many seconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    volley = Volley(frames)
    size, sent, at = ctypes.sizeof(_Message), 0, 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as port:
        port.bind((interface, 0))
        port.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            due = min(int(elapsed * per_second) - sent, _BATCH, len(frames) - at)
            if due <= 0:
                time.sleep(_BATCH / 4 / per_second)
                continue
            done = libc.sendmmsg(port.fileno(), ctypes.byref(volley.messages, at * size), due, 0)
            if done < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent, at = sent + done, (at + done) % len(frames)
        return sent, time.monotonic() - began


def main(arguments: list[str]) -> None:
    """Send what the module's text says."""
    interface, path, per_second, seconds = arguments
    sent, took_s = flood(interface, read_frames(Path(path)), int(per_second), float(seconds))
    print(json.dumps({"sent": sent, "seconds": round(took_s, 3)}))


if __name__ == "__main__":
    main(sys.argv[1:])
