"""What makes a run of a node unique: the boot epoch, which must never repeat, and a random nonce.

The epoch is a counter in the state directory. Where the directory is new or was lost it starts at the present second,
so that a node which forgot everything still gets a larger number than it ever had.
"""

import json
import secrets
from dataclasses import asdict, fields
from pathlib import Path

from pycarpd.election.model import Persistent
from pycarpd.election.node import Identity
from pycarpd.linux.clock import realtime_ns
from pycarpd.linux.files import write_durably

EPOCH_FILE = "epoch"
STATE_FILE = "election.json"
NONCE_BITS = 64
NUMBER_BITS = 64
"""What the trailer has for each of the numbers kept here."""


class StateError(Exception):
    """The state directory holds something that cannot be trusted; the message says what and what to do."""


def new_identity(state_dir: Path) -> Identity:
    """Return the identity of this run; the epoch is on disk before it is used. Raises OSError and StateError."""
    path = state_dir / EPOCH_FILE
    before = _number(path) if path.exists() else 0
    epoch = max(before + 1, realtime_ns() // 1_000_000_000)
    write_durably(path, f"{epoch}\n".encode())
    return Identity(epoch, secrets.randbits(NONCE_BITS) or 1)


def read_persistent(state_dir: Path) -> Persistent:
    """Return the terms and votes on disk; raises StateError rather than forget a vote, OSError if unreadable."""
    path = state_dir / STATE_FILE
    if not path.exists():
        return Persistent()
    try:
        known = json.loads(path.read_bytes())
    except ValueError as error:
        raise StateError(_advice(path)) from error
    names = {each.name for each in fields(Persistent)}
    if not isinstance(known, dict) or set(known) != names or not all(_is_number(v) for v in known.values()):
        raise StateError(_advice(path))
    return Persistent(**known)


def write_persistent(state_dir: Path, persistent: Persistent) -> None:
    """Put the terms and votes on disk; raises OSError."""
    write_durably(state_dir / STATE_FILE, json.dumps(asdict(persistent)).encode() + b"\n")


def _number(path: Path) -> int:
    try:
        number = int(path.read_text(encoding="ascii"))
    except ValueError as error:
        raise StateError(_advice(path)) from error
    if not _is_number(number) or not _is_number(number + 1):
        raise StateError(_advice(path))
    return number


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << NUMBER_BITS


def _advice(path: Path) -> str:
    return (
        f"{path} is damaged: a node that has forgotten its terms must not take part. "
        "Move the file away only while another node is MASTER; this node then learns the terms from its adverts"
    )
