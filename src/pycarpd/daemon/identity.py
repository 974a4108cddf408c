"""What makes a run of a node unique: the boot epoch, which must never repeat, and a random nonce.

The epoch is a counter in the state directory. Where the directory is new or was lost it starts at the present second,
so that a node which forgot everything still gets a larger number than it ever had.
"""

import json
import secrets
from dataclasses import replace
from pathlib import Path

from pycarpd.daemon.votes import VoteFile, VotesDamagedError, read_votes
from pycarpd.election.model import Lineage, Persistent
from pycarpd.election.node import Identity
from pycarpd.linux.clock import realtime_ns
from pycarpd.linux.files import write_durably

EPOCH_FILE = "epoch"
VOTES_FILE = "votes"
STATE_FILE = "election.json"
STANDING_FILE = "standing.json"
"""Where an earlier version kept the terms and votes, and pause and lineage beside them."""
MOVED = b'"moved to the file votes, which a later version of pycarpd reads"\n'
"""What STATE_FILE says since: an earlier version takes it for damage, and does not go on from terms of long ago."""
NONCE_BITS = 64
NUMBER_BITS = 64
"""What the trailer has for each of the numbers kept here."""


VOTE_FIELDS = ("term", "served_term", "vote_term", "vote_for")
LINEAGE_FIELDS = ("term", "metaid", "version", "branch_lineage", "branch_version")


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
    path = state_dir / VOTES_FILE
    try:
        kept = read_votes(path)
    except VotesDamagedError as error:
        raise StateError(_advice(path)) from error
    former = None if kept is not None and _has_moved(state_dir) else _read_former(state_dir)
    if kept is None or former is None:
        return kept or former or Persistent()
    return _joined(kept, former)


def bring_over(state_dir: Path, persistent: Persistent) -> None:
    """Make the file of votes where an earlier version, or none, has run here: later writes find it made.

    Raises OSError. *persistent* is what ``read_persistent`` has found. The earlier version's file is only given up
    when the state is in the new one.
    """
    if _has_moved(state_dir):
        return
    VoteFile(state_dir / VOTES_FILE).write(persistent)
    write_durably(state_dir / STATE_FILE, MOVED)
    (state_dir / STANDING_FILE).unlink(missing_ok=True)


def _joined(kept: Persistent, former: Persistent) -> Persistent:
    """Return what is in neither forgotten: both are there after a crash while one was brought over to the other.

    And where an earlier version has run meanwhile, and written its own file again.
    """
    newer = kept if kept.term >= former.term else former
    vote_term, vote_for = max(kept.vote, former.vote)
    served_term = max(kept.served_term, former.served_term)
    return replace(newer, served_term=served_term, vote_term=vote_term, vote_for=vote_for)


def _has_moved(state_dir: Path) -> bool:
    path = state_dir / STATE_FILE
    return path.exists() and path.read_bytes() == MOVED


def _read_former(state_dir: Path) -> Persistent | None:
    """Return what an earlier version has left, None for nothing."""
    known = _numbers(state_dir / STATE_FILE, VOTE_FIELDS)
    if known is None:
        return None
    term, served_term, vote_term, vote_for = (known[name] for name in VOTE_FIELDS)
    persistent = Persistent(term, served_term, vote_term, vote_for)
    known = _numbers(state_dir / STANDING_FILE, ("is_paused", *LINEAGE_FIELDS))
    if known is None:
        return persistent
    term, metaid, version, branch_lineage, branch_version = (known[name] for name in LINEAGE_FIELDS)
    lineage = Lineage(term, metaid, version, branch_lineage, branch_version)
    return replace(persistent, is_paused=bool(known["is_paused"]), lineage=lineage)


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
