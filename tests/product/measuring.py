"""Runs a measurement of ``benchmarks`` as its command, and reads the raw figures that it leaves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WITHIN_S = 380


def measured(directory: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Return a measurement's exit status, and the lines of its raw figures."""
    target = directory / "figures.jsonl"
    command = [sys.executable, "-m", "benchmarks.command", *arguments, "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False, cwd=ROOT)
    assert target.exists(), done.stdout + done.stderr
    return done.returncode, [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
