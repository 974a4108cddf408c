"""The measurements run, and say what they measured; how fast anything is, no test asserts."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.election import table_of as election_table
from benchmarks.jitter import BUCKETS_MS
from benchmarks.picture import phases_picture
from benchmarks.report import BEGIN, END, markdown, with_block
from benchmarks.scale import points_of
from benchmarks.scale_files import Image, read_cycle, write_tail
from benchmarks.scale_rounds import Point
from benchmarks.scale_tables import ratio, scale_picture, scale_table
from benchmarks.spread import election_picture, hotpath_picture, jitter_picture, switchover_picture
from benchmarks.story import median_crash, story_picture
from benchmarks.summary import Spread, crashes_of, of_contender, takeover_table
from netns.commands import LaboratoryError
from pycarpd.moosefs.changelog import scan as scan_changelog
from pycarpd.moosefs.metadata import MetadataHeader

ROOT = Path(__file__).parents[2]


def test_the_hot_path_is_measured(tmp_path: Path) -> None:
    target = tmp_path / "figures.jsonl"
    command = [sys.executable, "-m", "benchmarks.command", "hotpath", "--rounds", "10", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [f["kind"] for f in figures] == ["machine", "part", "part", "part"]
    assert all(f["rounds"] == len(f["samples_us"]) == 10 and 0 < f["median_us"] <= f["p99_us"] for f in figures[1:])
    assert all(f["name"].split(":")[0] in done.stdout for f in figures[1:])
    assert hotpath_picture(figures).count("<circle") == 3 * 10


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
    answers = ("first SYN+ACK on 9420", "first SYN+ACK on 9421")
    moments = ("first claiming advert", "VIP added", "first gratuitous ARP", *answers)
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


def test_what_never_came_is_later_than_all_that_did() -> None:
    spread, never = of_contender([*RECORDS, a_crash("ucarp", 4, None)], "ucarp", "written_ms")
    assert spread is not None
    assert (never, spread.count, spread.median, spread.low) == (2, 4, math.inf, 9001.75)
    assert spread.text == "never (9002-never; worst never)"
    assert Spread.of([math.inf] * 4) == Spread(4, math.inf, math.inf, math.inf, math.inf)
    usual = Spread.of([4.0, 1.0, 2.0, 3.0, 10.0])
    assert usual is not None
    assert usual.text == "3 ms (2-4; worst 10)"
    nobody = [RECORDS[0], *(a_crash("keepalived", n, None) for n in range(2))]
    assert "| 2 | 300 ms | **never** | never, 2 never |" in markdown(nobody)


def test_a_turn_in_which_nothing_was_crashed_is_no_crash_and_is_counted() -> None:
    lost = {**a_crash("pycarpd", 6, None), "phases_ms": {}, "trouble": "m1 did not serve", "was_crashed": False}
    begun = {**lost, "contender": "ucarp", "trouble": "nobody could be asked", "was_crashed": True}
    records = [*RECORDS, lost, begun]
    assert len(crashes_of(records, "pycarpd")) == 5
    assert len(crashes_of(records, "ucarp")) == 4
    table = takeover_table(records)
    cells = [list(column.cells) for column in table.columns]
    assert [column.header for column in table.columns][-1] == "turns without a crash"
    assert cells[-1] == ["1", "0"]
    assert ", 2 never" in phases_picture(records)
    assert median_crash(records, "ucarp") is not None


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


def a_promotion(inodes: int, lines: int, served_ms: float, bare_ms: float) -> dict[str, Any]:
    return {
        "kind": "promotion",
        "inodes": inodes,
        "lines": lines,
        "metadata_bytes": inodes * 67,
        "served_ms": served_ms,
        "crash_ms": served_ms + 900.0,
        "bare_ms": bare_ms,
        "steps_ms": {"assemble": 22, "start-mfsmaster": round(bare_ms)},
    }


SIZES = [
    {"kind": "machine", "processor": "a processor"},
    a_promotion(100_000, 0, 550.0, 500.0),
    a_promotion(100_000, 0, 650.0, 500.0),
    a_promotion(100_000, 0, 1000.0, 1000.0),
    a_promotion(1_000_000, 0, 2000.0, 1000.0),
    a_promotion(100_000, 1_000_000, 1200.0, 1100.0),
]


def test_each_promotion_is_held_against_its_own_bare_start() -> None:
    assert ratio(SIZES[1:4], "served_ms") == 1.1
    table = scale_table(SIZES)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["100,000", "1,000,000", "100,000"]
    assert cells[6] == ["1.10", "2.00 !", "1.09"]


def test_the_picture_of_sizes_has_a_dot_for_every_figure() -> None:
    picture = scale_picture(SIZES)
    assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - made here
    beside_without_changes = 3
    assert picture.count("<circle") == 3 * (5 + beside_without_changes)


def test_elections_are_drawn_crash_by_crash() -> None:
    seen = [{**a_crash("pycarpd-fast", n, None), "claim_ms": 29.0, "garp_ms": 30.0 + n} for n in range(4)]
    lost = {**a_crash("keepalived-fast", 0, None), "claim_ms": None, "garp_ms": None}
    picture = election_picture([{"kind": "machine"}, *seen, lost])
    assert picture.count("<circle") == 4
    assert "median 31.5 ms, worst 33.0" in picture
    assert "median never, 1 never" in picture
    idle = {**lost, "was_crashed": False}
    assert election_picture([*seen, idle]).count("never") == 0
    cells = [
        list(column.cells) for column in election_table([{**RECORDS[0], "kind": "machine"}, *seen, idle, lost]).columns
    ]
    assert cells[-1] == ["0", "1"]
    assert cells[1] == ["4", "1"]
    late = election_picture([*seen, {**seen[0], "garp_ms": None}])
    assert "median 32.0 ms, worst 33.0, 1 never" in late


def test_switchovers_are_drawn_with_the_steps_that_count() -> None:
    steps = [["promote: start-mfsmaster", 400], ["promote: gate-open", 2]]
    move = {"kind": "switchover", "code": "switchover-done", "gap_ms": 600.0, "steps_ms": steps}
    failed = {**move, "code": "switchover-not-level"}
    picture = switchover_picture([{"kind": "machine"}, move, move, failed, {"kind": "verdict"}])
    assert picture.count("<circle") == 2 * 2
    assert "start-mfsmaster" in picture
    assert "gate-open" not in picture


def test_lateness_is_drawn_as_the_share_that_came_later() -> None:
    counts = [90, 9, 1, *[0] * (len(BUCKETS_MS) - 2)]
    result = {"who": "pycarpd", "interval_ms": 10, "seconds": 60.0, "hogs": 4, "takeovers": 0, "late_ms_max": 1.7}
    late = {**result, "late_counts": counts}
    picture = jitter_picture([{"kind": "machine"}, late, {**late, "who": "keepalived"}])
    assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - made here
    assert picture.count("<circle") == 2 * 2  # 10 % later than 0.5 ms, 1 % later than 1 ms, none later than 2
    assert "pycarpd: 0 false takeovers, latest 1.7 ms" in picture


def test_sizes_come_in_the_order_in_which_a_file_system_grows() -> None:
    assert points_of([100_000, 5000], [20], 9000) == [Point(5000, 0), Point(9000, 20), Point(100_000, 0)]
    assert len(points_of(None, None, 9000)) == 6


CYCLE = (
    "7: 1|CREATE(1,cycle-a,1,420,18,0,0,0):5\n8: 1|MOVE(1,cycle-a,1,cycle-b):5\n9: 2|ATTR(5,384,0,0,1,1,0,0)\n"
    "10: 2|IDLE()\n11: 2|MOVE(1,cycle-b,1,cycle-a):5\n"
)


def test_a_recorded_cycle_is_repeated_with_its_lines_numbered_on(tmp_path: Path) -> None:
    recorded, tail = tmp_path / "changelog.0.mfs", tmp_path / "changelog_ml.0.mfs"
    recorded.write_text("6: 1|ATTR(1,1,1,1,1,1,0,0)\n" + CYCLE)
    cycle = read_cycle(recorded)
    assert cycle == (b"MOVE(1,cycle-a,1,cycle-b):5", b"ATTR(5,384,0,0,1,1,0,0)", b"MOVE(1,cycle-b,1,cycle-a):5")
    write_tail(tail, Image(tmp_path / "none", MetadataHeader("2.0", 12, 3), cycle), 300_001, 99)
    (segment,) = scan_changelog(tail).segments
    assert (segment.first, segment.last) == (12, 300_012)
    lines = tail.read_bytes().splitlines()
    assert lines[3] == b"15: 99|" + cycle[0]
    assert lines[-1] == b"300012: 99|" + cycle[300_000 % 3]


def test_a_cycle_that_was_not_recorded_whole_is_refused(tmp_path: Path) -> None:
    recorded = tmp_path / "changelog.0.mfs"
    recorded.write_text(CYCLE.rpartition("11:")[0])
    with pytest.raises(LaboratoryError, match="not in the changelog"):
        read_cycle(recorded)
