"""Well-formed MooseFS files of any version, small enough for thousands of them in a test."""

import struct
from pathlib import Path

METAID = 0x6B03B6589149204A
OTHER_METAID = 0x1122334455667788
END_MARK = b"[MFS EOF MARKER]"


def section(name: bytes, payload: bytes) -> bytes:
    return name + struct.pack(">Q", len(payload)) + payload


def metadata(version: int, metaid: int = METAID, inodes: int = 7) -> bytes:
    sections = (
        section(b"SESS 1.5", bytes(195)),
        section(b"NODE 1.4", struct.pack(">II", inodes + 1, inodes) + bytes(64)),
        section(b"EDGE 1.1", b""),
        section(b"CHNK 1.1", bytes(25)),
    )
    return b"MFSM 2.0" + struct.pack(">QQ", version, metaid) + b"".join(sections) + END_MARK


def line(number: int, *, history: str = "") -> bytes:
    return b"%d: %d|CREATE(1,file%d%s,1,420,18,0,0,0):%d\n" % (
        number,
        1_795_405_401 + number // 10,
        number,
        history.encode(),
        number + 1,
    )


def log(first: int, last: int, *, history: str = "") -> bytes:
    return b"".join(line(number, history=history) for number in range(first, last + 1))


def fill(directory: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory
