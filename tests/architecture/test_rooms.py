"""Who may import whom: the contracts of pyproject.toml, and the purity of the rooms that must be pure."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pycarpd"
IMPURE = {"os", "time", "random", "socket", "logging", "asyncio", "secrets", "datetime", "threading", "subprocess"}
ELECTION_NEEDS = {"collections", "dataclasses", "enum", "functools", "typing", "pycarpd"}
WIRE_NEEDS = ELECTION_NEEDS | {"cryptography", "hashlib", "hmac", "re", "struct"}
ROOMS = {"arbiter", "cli", "control", "daemon", "election", "linux", "moosefs", "sim", "takeover", "wire"}
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def modules(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((SOURCE / room).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def test_the_import_contracts_are_kept() -> None:
    lint = subprocess.run(
        [sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", lint.stdout)


def test_every_room_has_a_contract() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracted = set(re.findall(r'source_modules = \["pycarpd\.(\w+)"\]', text))
    assert contracted >= ROOMS
    assert {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()} >= ROOMS


@pytest.mark.parametrize("path", modules("election", "wire"), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_pure_room_reads_no_clock_and_throws_no_dice(path: Path) -> None:
    assert not roots(path) & IMPURE


@pytest.mark.parametrize("path", modules("election"), ids=lambda path: path.name)
def test_the_election_needs_little_of_the_standard_library(path: Path) -> None:
    assert roots(path) <= ELECTION_NEEDS


@pytest.mark.parametrize("path", modules("wire"), ids=lambda path: path.name)
def test_the_wire_needs_hashes_and_bytes(path: Path) -> None:
    assert roots(path) <= WIRE_NEEDS


def test_takeover_in_the_rehearsal_is_the_step_and_the_runner_with_their_values() -> None:
    allowed = {f"pycarpd.takeover.{name}" for name in ("step", "runner", "events", "records")}
    used = {name for path in modules("sim") for name in imported(path) if name.startswith("pycarpd.takeover")}
    assert used <= allowed


def test_an_import_anywhere_in_a_file_is_seen(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden.py"
    hidden.write_text("def late():\n    import time\n    from os import path\n", encoding="utf-8")
    assert roots(hidden) & IMPURE == {"time", "os"}
