import os
from pathlib import Path

import pytest

from pycarpd.moosefs.changelog import LINE_BYTES_MAX, ChangelogFaultCode, ChangelogScan, offset_of, scan
from tests.unit.moosefs.files import line, log


def scanned(directory: Path, content: bytes) -> ChangelogScan:
    path = directory / "changelog.0.mfs"
    path.write_bytes(content)
    return scan(path)


def ranges(found: ChangelogScan) -> list[tuple[int, int]]:
    return [(segment.first, segment.last) for segment in found.segments]


def test_a_whole_log_is_one_segment_over_all_its_bytes(tmp_path: Path) -> None:
    content = log(995, 1105)
    found = scanned(tmp_path, content)
    assert ranges(found) == [(995, 1105)]
    assert (found.segments[0].offset, found.segments[0].end_offset) == (0, len(content))
    assert found.torn_bytes == 0
    assert found.faults == ()


def test_an_empty_log_holds_nothing(tmp_path: Path) -> None:
    found = scanned(tmp_path, b"")
    assert (found.segments, found.torn_bytes, found.faults) == ((), 0, ())


def test_a_torn_last_line_is_left_out_by_its_bytes(tmp_path: Path) -> None:
    whole, last = log(10, 14), line(15)
    for length in range(1, len(last)):
        found = scanned(tmp_path, whole + last[:length])
        assert ranges(found) == [(10, 14)]
        assert found.torn_bytes == length
        assert found.faults == ()


def test_jumps_and_backward_steps_begin_new_segments(tmp_path: Path) -> None:
    content = log(10, 14) + log(20_000, 20_003) + log(12, 19)
    found = scanned(tmp_path, content)
    assert ranges(found) == [(10, 14), (20_000, 20_003), (12, 19)]
    assert [s.end_offset for s in found.segments[:-1]] == [s.offset for s in found.segments[1:]]


@pytest.mark.parametrize("length", range(1, len(line(15))))
def test_a_line_that_swallowed_another_is_damage_and_never_a_change(tmp_path: Path, length: int) -> None:
    found = scanned(tmp_path, log(10, 14) + line(15)[:length] + log(20, 24))
    assert ranges(found) == [(10, 14), (21, 24)]
    assert [(fault.code, fault.after) for fault in found.faults] == [(ChangelogFaultCode.DAMAGED_LINE, 14)]


@pytest.mark.parametrize("length", range(3, len(line(15))))
def test_a_line_that_swallowed_its_own_repetition_is_damage(tmp_path: Path, length: int) -> None:
    found = scanned(tmp_path, log(10, 14) + line(15)[:length] + log(15, 18))
    assert ranges(found) == [(10, 14), (16, 18)]


@pytest.mark.parametrize(
    "name", [b"a: b", b"x|y", b": 5: 17|A%281%29", b"%28%2C%29", b"105: 1|B", b"\xc3\xa4", b"tail: "]
)
def test_names_that_look_like_structure_are_read_in_bulk_and_one_by_one(tmp_path: Path, name: bytes) -> None:
    lines = [b"%d: 1795405401|CREATE(1,%s,1,420):9\n" % (n, name if n % 2 else b"plain") for n in range(90, 130)]
    found = scanned(tmp_path, b"".join(lines))
    assert ranges(found) == [(90, 129)]
    assert found.faults == ()


@pytest.mark.parametrize(
    "spoilt",
    [
        b"15: 17|CREATE(1,a\0b):2\n",
        b"15: 17|CREATE 1,a):2\n",
        b"15 17|CREATE(1,a):2\n",
        b"015: 17|CREATE(1,a):2\n",
        b"99999999999999999999: 17|CREATE(1,a):2\n",
        b"\n",
        b"\r\n",
        b"15: 17|CREATE(1,a):2\r\n",
        bytes(100) + b"\n",
    ],
)
def test_a_spoilt_line_splits_the_file_and_is_named(tmp_path: Path, spoilt: bytes) -> None:
    found = scanned(tmp_path, log(10, 14) + spoilt + log(16, 18))
    assert ranges(found) == [(10, 14), (16, 18)]
    fault = found.faults[0]
    assert (fault.code, fault.offset, fault.after) == (ChangelogFaultCode.DAMAGED_LINE, len(log(10, 14)), 14)


def test_a_line_with_an_impossible_number_between_its_neighbours_is_damage(tmp_path: Path) -> None:
    found = scanned(tmp_path, log(10, 14) + line(915) + log(16, 18))
    assert ranges(found) == [(10, 14), (16, 18)]
    assert [fault.after for fault in found.faults] == [14]


def test_a_lone_line_before_an_older_stretch_is_kept(tmp_path: Path) -> None:
    found = scanned(tmp_path, log(10, 14) + line(915) + log(30, 38))
    assert ranges(found) == [(10, 14), (915, 915), (30, 38)]


def test_zeros_at_the_end_are_more_than_a_torn_line(tmp_path: Path) -> None:
    found = scanned(tmp_path, log(10, 14) + bytes(4096))
    assert [(f.code, f.after) for f in found.faults] == [(ChangelogFaultCode.DAMAGED_TAIL, 14)]


def test_a_line_longer_than_any_is_skipped_with_bounded_memory(tmp_path: Path) -> None:
    long_line = b"15: 17|CREATE(1," + b"a" * (3 * LINE_BYTES_MAX) + b"):2\n"
    found = scanned(tmp_path, log(10, 14) + long_line + log(16, 18))
    assert ranges(found) == [(10, 14), (16, 18)]
    assert [fault.after for fault in found.faults] == [14]


def test_the_longest_line_of_mfs_is_a_line(tmp_path: Path) -> None:
    long_line = b"15: 17|CREATE(1," + b"a" * 200_000 + b"):2\n"
    assert ranges(scanned(tmp_path, log(10, 14) + long_line + log(16, 18))) == [(10, 18)]


def test_a_file_of_jumps_is_given_up_before_it_fills_the_memory(tmp_path: Path) -> None:
    found = scanned(tmp_path, b"".join(line(number) for number in range(1, 10_000, 3)))
    assert found.faults[-1].code is ChangelogFaultCode.TOO_MUCH_DAMAGE
    assert len(found.segments) < 2000


def test_a_file_of_damage_is_given_up_before_it_fills_the_memory(tmp_path: Path) -> None:
    found = scanned(tmp_path, b"".join(line(number) + b"?\n" for number in range(1, 10_000)))
    assert found.faults[-1].code is ChangelogFaultCode.TOO_MUCH_DAMAGE
    assert len(found.faults) < 100


def test_the_metaid_that_a_history_begins_with_is_seen(tmp_path: Path) -> None:
    found = scanned(tmp_path, b"1: 1795405400|SETMETAID(7711207478499287114)\n" + log(2, 9))
    assert found.metaids == (7711207478499287114,)


def test_every_line_is_found_again_by_its_number(tmp_path: Path) -> None:
    content = log(10, 14) + log(500, 60_000)
    found = scanned(tmp_path, content)
    segment = found.segments[1]
    assert len(segment.marks) > 2
    fd = os.open(found.path, os.O_RDONLY)
    try:
        for number in (500, 501, 19_999, 20_000, 59_999, 60_000):
            assert content[offset_of(fd, segment, number) :].startswith(line(number))
        assert offset_of(fd, segment, 60_001) == len(content)
    finally:
        os.close(fd)


def test_a_log_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    found = scan(tmp_path / "changelog.0.mfs")
    assert [fault.code for fault in found.faults] == [ChangelogFaultCode.UNREADABLE]
