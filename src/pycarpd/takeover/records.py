"""The journal: one line a record, CRC-32 first, so that a torn line is told from a whole one.

``crc32 as 8 hex digits, space, JSON object, newline``. Reading stops at the first line that is not whole:
what follows a torn line was never acknowledged to anybody, since every write is on disk before the next
step begins. Several plans may stand behind each other; all but the last one have ended.
"""

import json
import zlib
from dataclasses import asdict, dataclass

RECORD_BYTES_MAX = 65_536
_CRC_DIGITS = 8


@dataclass(frozen=True, slots=True)
class PlanOpened:
    """A plan begins. ``parameters`` are what a recovering process needs to build the same plan again."""

    plan_id: str
    plan: str
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StepStarted:
    """From here on the step may have had any part of its effect."""

    step: str
    commits: bool = False


@dataclass(frozen=True, slots=True)
class StepDone:
    """The step has had its whole effect; ``degraded`` is the code of a fault that was only reported."""

    step: str
    degraded: str | None = None


@dataclass(frozen=True, slots=True)
class UndoBegan:
    """The plan goes backwards from here."""

    code: str
    did_commit: bool


@dataclass(frozen=True, slots=True)
class StepUndone:
    """The step's effect is taken back."""

    step: str


@dataclass(frozen=True, slots=True)
class PlanClosed:
    """The plan has ended: ``result`` says which files the data directory holds now.

    ``done``: the new ones, complete. ``undone``: the old ones, intact. ``committed``: the new ones,
    complete, and clients may have written to them, but the plan did not come to its end.
    """

    result: str


Record = PlanOpened | StepStarted | StepDone | UndoBegan | StepUndone | PlanClosed

_KINDS: dict[str, type[Record]] = {
    "opened": PlanOpened,
    "started": StepStarted,
    "done": StepDone,
    "undo": UndoBegan,
    "undone": StepUndone,
    "closed": PlanClosed,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class OpenPlan:
    """A plan that a crash has interrupted.

    ``started`` are the steps whose effect has to be considered, oldest first, without those undone already.
    ``did_commit``: clients may have been served, so the files must not be rolled back.
    """

    opened: PlanOpened
    started: tuple[str, ...]
    did_commit: bool


def encode(record: Record) -> bytes:
    """Return the record's line."""
    body = json.dumps({"record": _NAMES[type(record)], **asdict(record)}, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _decode_line(line: bytes) -> Record | None:
    digits, _, body = line.partition(b" ")
    if len(digits) != _CRC_DIGITS or digits != b"%08x" % zlib.crc32(body):
        return None
    fields: dict[str, object] = json.loads(body)
    kind = _KINDS[str(fields.pop("record"))]
    if kind is PlanOpened:
        pairs = fields["parameters"]
        fields["parameters"] = tuple((str(k), str(v)) for k, v in pairs) if isinstance(pairs, list) else ()
    return kind(**fields)  # type: ignore[arg-type]  # the CRC vouches that encode() wrote these fields


def decode(data: bytes) -> tuple[tuple[Record, ...], int]:
    """Return the whole records at the beginning of *data* and how many bytes they take."""
    records: list[Record] = []
    offset = 0
    while True:
        end = data.find(b"\n", offset, offset + RECORD_BYTES_MAX)
        record = _decode_line(data[offset:end]) if end >= 0 else None
        if record is None:
            break
        records.append(record)
        offset = end + 1
    return tuple(records), offset


def open_plan(records: tuple[Record, ...]) -> OpenPlan | None:
    """Return the plan that the records leave open, or None when the last one was closed or none began."""
    opened: PlanOpened | None = None
    started: list[str] = []
    did_commit = False
    for record in records:
        match record:
            case PlanOpened():
                opened, started, did_commit = record, [], False
            case StepStarted(step, commits):
                started.append(step)
                did_commit = did_commit or commits
            case UndoBegan(_, committed):
                did_commit = committed
            case StepUndone(step):
                started = [name for name in started if name != step]
            case PlanClosed():
                opened = None
            case StepDone():
                pass
    return OpenPlan(opened, tuple(started), did_commit) if opened is not None else None
