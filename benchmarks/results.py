"""Where raw figures go: a JSON line each, the first of which says on what they were measured."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

RESULTS: Final = Path(__file__).parent / "results"
Raw = Annotated[Path | None, typer.Option("--json", help="Where the raw figures go, a JSON line each.")]


def raw_path(chosen: Path | None, name: str) -> Path:
    """Return the file that was asked for, or the one of that name among the results."""
    return chosen or RESULTS / f"{name}.jsonl"


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Replace a file of raw figures, so that an interrupted run leaves what it has found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    fresh.rename(path)


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file, the conditions first; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
