"""What makes a run of a node unique: the boot epoch, which must never repeat, and a random nonce.

The epoch is a counter in the state directory. Where the directory is new or was lost it starts at the present second,
so that a node which forgot everything still gets a larger number than it ever had.
"""

import json
import secrets
from dataclasses import asdict, fields, replace
from pathlib import Path

from pycarpd.election.model import Lineage, Persistent
from pycarpd.election.node import Identity
from pycarpd.linux.clock import realtime_ns
from pycarpd.linux.files import write_durably

EPOCH_FILE = "epoch"
STATE_FILE = "election.json"
STANDING_FILE = "standing.json"
"""What later versions have added, beside the file that an earlier one still reads."""
NONCE_BITS = 64
NUMBER_BITS = 64
"""What the trailer has for each of the numbers kept here."""


VOTE_FIELDS = ("term", "served_term", "vote_term", "vote_for")
LINEAGE_FIELDS = tuple(each.name for each in fields(Lineage))


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
    known = _numbers(path, VOTE_FIELDS)
    if known is None:
        return Persistent()
    term, served_term, vote_term, vote_for = (known[name] for name in VOTE_FIELDS)
    return _read_standing(state_dir, Persistent(term, served_term, vote_term, vote_for))


def _read_standing(state_dir: Path, persistent: Persistent) -> Persistent:
    """Return the state with the pause and the files' lineage that are on disk beside it, if they are."""
    known = _numbers(state_dir / STANDING_FILE, ("is_paused", *LINEAGE_FIELDS))
    if known is None:
        return persistent
    lineage = Lineage(*(known[name] for name in LINEAGE_FIELDS))
    return replace(persistent, is_paused=bool(known["is_paused"]), lineage=lineage)


def write_persistent(state_dir: Path, persistent: Persistent) -> None:
    """Put the terms and votes on disk; raises OSError.

    Pause and lineage have a file of their own, which comes first: what is said of the files is true whether or not the
    vote beside it was written.
    """
    standing = {"is_paused": int(persistent.is_paused), **asdict(persistent.lineage)}
    path, text = state_dir / STANDING_FILE, json.dumps(standing).encode() + b"\n"
    if not path.exists() or path.read_bytes() != text:
        write_durably(path, text)
    votes = {name: getattr(persistent, name) for name in VOTE_FIELDS}
    write_durably(state_dir / STATE_FILE, json.dumps(votes).encode() + b"\n")


def _numbers(path: Path, names: tuple[str, ...]) -> dict[str, int] | None:
    if not path.exists():
        return None
    try:
        known = json.loads(path.read_bytes())
    except ValueError as error:
        raise StateError(_advice(path)) from error
    if not isinstance(known, dict) or set(known) != set(names) or not all(_is_number(v) for v in known.values()):
        raise StateError(_advice(path))
    return known


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
