"""The measurements run, and say what they measured; how fast anything is, no test asserts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.picture import phases_picture
from benchmarks.report import BEGIN, END, markdown, with_block
from benchmarks.story import median_crash, story_picture

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


def a_crash(contender: str, number: int, written_ms: float | None) -> dict[str, Any]:
    moments = ("first claiming advert", "VIP added", "first gratuitous ARP", "first SYN+ACK on 9421")
    phases: dict[str, float | None] = {name: 100.0 * (at + 1) for at, name in enumerate(moments)}
    return {
        "kind": "crash",
        "contender": contender,
        "number": number,
        "new_owner": "m2",
        "phases_ms": {**phases, "first completed write": written_ms},
        "garp_ms": 300.0,
        "written_ms": written_ms,
        "all_written_ms": written_ms,
        "serving": 1,
    }


RECORDS: list[dict[str, Any]] = [
    {
        "processor": "a processor",
        "cores": "2",
        "kernel": "6",
        "moosefs": "3",
        "clients": 1,
        "chunkservers": 1,
        "kind": "",
    },
    *(a_crash("pycarpd", n, 1000.0 + n) for n in range(1, 6)),
    *(a_crash("ucarp", n, 9000.0 + n) for n in range(1, 3)),
    a_crash("ucarp", 3, None),
]


def test_the_table_counts_what_never_came_back_and_names_the_machine() -> None:
    text = markdown(RECORDS)
    assert "| 5 | 300 ms | **1003 ms** | 1005 ms |" in text
    assert "| 3 | 300 ms | **9002 ms** | 9002 ms, 1 never |" in text
    assert "a processor, 2 cores" in text


def test_the_readmes_block_is_replaced_and_nothing_else() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_block(text, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="no block"):
        with_block("before\nafter\n", "new\n")


def test_the_pictures_are_well_formed_and_show_the_median_crash() -> None:
    crash = median_crash(RECORDS, "pycarpd")
    assert crash is not None
    assert crash["number"] == 3
    story, phases = story_picture(crash), phases_picture(RECORDS)
    for picture in (story, phases):
        assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - made here
    assert "1.00 s later" in story
    assert phases.count("<circle") == 7
    assert median_crash(RECORDS, "keepalived") is None
