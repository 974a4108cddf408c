"""The measurements run, and say what they measured; how fast anything is, no test asserts."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_hot_path_is_measured(tmp_path: Path) -> None:
    target = tmp_path / "figures.jsonl"
    command = [sys.executable, "-m", "benchmarks.command", "hotpath", "--rounds", "10", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert len(figures) == 3
    assert all(f["rounds"] == 10 and 0 < f["median_us"] <= f["p99_us"] for f in figures)
    assert all(f["name"].split(":")[0] in done.stdout for f in figures)


def test_the_scan_is_measured(tmp_path: Path) -> None:
    target = tmp_path / "figures.jsonl"
    sizes = ("--scanned", "100000", "--lines", "20000", "--lines", "200000")
    options = (*sizes, "--rounds", "1", "--directory", str(tmp_path))
    command = [sys.executable, "-m", "benchmarks.command", "scan", *options, "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    scans, takeovers = figures[:2], figures[2:]
    assert all(f["megabytes_per_s"] > 0 for f in scans)
    assert [f["lines"] for f in takeovers] == [25_000, 205_000]
    assert list(tmp_path.iterdir()) == [target]
