"""Damaged data directories, each named for its damage, with what has to come of it.

Every one begins as an ordinary metalogger's directory cut from the recorded history: bases of versions 4000, 3000 and
2000, the master's two newest changelogs as they were fetched with the newest base, and the stream behind them. Of the
changes that were ever made, the last is ``history.last``.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycarpd.moosefs.proof import RefusalCode
from tests.corpus.history import TRAP, History

METADATA, OLDER, OLDEST = "metadata_ml.mfs.back", "metadata_ml.mfs.back.1", "metadata_ml.mfs.back.2"
STREAM, STREAM_1 = "changelog_ml.0.mfs", "changelog_ml.1.mfs"
FETCHED, FETCHED_1 = "changelog_ml_back.0.mfs", "changelog_ml_back.1.mfs"
OWN = "changelog.0.mfs"
EMERGENCY = "metadata.mfs.emergency"
NEWEST = 4000
SPLIT = 4400
NEW = b"MFSM NEW"
FOREIGN_ID = 0x1122334455667788
MAXIDHOLE = 10_000
LOAD_FAILS = "load-fails"


@dataclass(slots=True)
class Directory:
    """What a damage is done to: files by name, and what cannot be said by content."""

    history: History
    files: dict[str, bytes]
    extra: list[Callable[[Path], None]] = field(default_factory=list)
    elsewhere: dict[str, bytes] = field(default_factory=dict)

    def write(self, path: Path, elsewhere: Path) -> None:
        """Put it on disk; *elsewhere* is a directory outside, for emergency saves."""
        path.mkdir(parents=True)
        elsewhere.mkdir(parents=True)
        for directory, files in ((path, self.files), (elsewhere, self.elsewhere)):
            for name, content in files.items():
                (directory / name).write_bytes(content)
        for each in self.extra:
            each(path)


Damage = Callable[[Directory, History], None]
Expected = int | RefusalCode | str


@dataclass(frozen=True, slots=True)
class Case:
    """``expected``: the version as its distance from the complete one, a refusal, or that mfsmaster must fail to load.

    ``knows_metaid``: the host has served this file system before, or its metaid is configured.
    """

    name: str
    damage: Damage
    expected: Expected
    knows_metaid: bool = True

    def build(self, history: History) -> Directory:
        """Return the directory with the damage done."""
        made = Directory(history, dict(_healthy(history)))
        self.damage(made, history)
        return made

    def outcome(self, history: History) -> Expected:
        """Return the version that has to come out, or why none may."""
        return history.last + 1 + self.expected if isinstance(self.expected, int) else self.expected


CASES: list[Case] = []


def _healthy(history: History) -> Iterator[tuple[str, bytes]]:
    yield METADATA, history.bases[NEWEST]
    yield OLDER, history.bases[3000]
    yield OLDEST, history.bases[2000]
    yield FETCHED_1, history.log(3000, NEWEST - 1)
    yield FETCHED, history.log(NEWEST, SPLIT + 20)
    yield STREAM_1, history.log(3900, SPLIT)
    yield STREAM, history.log(SPLIT + 1, history.last)


def case(expected: Expected, *, knows_metaid: bool = True) -> Callable[[Damage], Damage]:
    """Register a damage under its function's name."""

    def register(damage: Damage) -> Damage:
        CASES.append(Case(damage.__name__.replace("_", "-"), damage, expected, knows_metaid))
        return damage

    return register


def renumbered(line: bytes, number: int) -> bytes:
    """Return *line* as change *number*."""
    return b"%d" % number + line[line.index(b":") :]


def other_history(line: bytes) -> bytes:
    """Return another change under the same number."""
    head, _, _rest = line.partition(b"|")
    return head + b"|ACCESS(1)\n"


def _name(directory: Directory, old: str, new: str) -> None:
    directory.files[new] = directory.files.pop(old)


@case(0)
def nothing(_d: Directory, _h: History) -> None:
    pass


@case(-1)
def last_line_torn(d: Directory, _h: History) -> None:
    d.files[STREAM] = d.files[STREAM][:-9]


@case(-1)
def last_newline_missing(d: Directory, _h: History) -> None:
    d.files[STREAM] = d.files[STREAM][:-1]


@case(-1)
def last_line_torn_within_its_number(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, h.last - 1) + h.line(h.last)[:2]


@case(-1)
def every_file_torn(d: Directory, h: History) -> None:
    for name in (STREAM, STREAM_1, FETCHED, FETCHED_1):
        d.files[name] = d.files[name][:-5]
    d.files["changelog_ml.2.mfs"] = h.log(SPLIT - 50, SPLIT + 30)


@case(0)
def older_stream_file_torn_but_fetched_again(d: Directory, _h: History) -> None:
    d.files[STREAM_1] = d.files[STREAM_1][:-5]


@case(RefusalCode.GAP)
def older_stream_file_torn(d: Directory, h: History) -> None:
    d.files[STREAM_1] = d.files[STREAM_1][:-5]
    d.files[FETCHED] = h.log(NEWEST, SPLIT - 100)


@case(RefusalCode.GAP)
def appended_behind_a_torn_line(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, 4599) + h.line(4600)[:20] + h.log(4601, h.last)


@case(0)
def appended_behind_a_torn_line_but_fetched_again(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, 4599) + h.line(4600)[:20] + h.log(4601, h.last)
    d.files[FETCHED] = h.log(NEWEST, 4650)


@case(RefusalCode.GAP)
def appended_behind_a_torn_number(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, 4599) + b"46" + h.log(4601, h.last)


@case(RefusalCode.CHANGELOG_DAMAGED)
def only_one_line_behind_a_torn_one(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, h.last - 2) + h.line(h.last - 1)[:20] + h.line(h.last)


@case(RefusalCode.GAP)
def metalogger_restarted_behind_a_gap(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, 4599) + h.log(4620, h.last)


@case(0)
def gap_bridged_by_a_former_masters_file(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, 4599) + h.log(4620, h.last)
    d.files[OWN] = h.log(4500, 4700)


@case(0)
def gap_bridged_by_a_newer_base(d: Directory, h: History) -> None:
    d.files[METADATA], d.files[OLDER] = h.bases[4121], h.bases[NEWEST]
    d.files |= {FETCHED: h.log(4121, SPLIT), FETCHED_1: h.log(3900, 4099), STREAM_1: h.log(4121, SPLIT)}


@case(0)
def gap_far_behind_the_base(d: Directory, h: History) -> None:
    d.files["changelog_ml.4.mfs"] = h.log(2100, 2300) + h.log(2500, 2600)


@case(RefusalCode.GAP)
def jump_of_ten_thousand(d: Directory, h: History) -> None:
    far = [renumbered(line, 4600 + MAXIDHOLE + n) for n, line in enumerate(h.lines[4599:4650])]
    d.files[STREAM] = h.log(SPLIT + 1, 4599) + b"".join(far)


@case(0)
def lines_repeated_behind_a_step_back(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, 4600) + h.log(4500, h.last)


@case(RefusalCode.DIVERGED)
def older_master_followed_for_a_while(d: Directory, h: History) -> None:
    d.files[STREAM] += b"".join(other_history(line) for line in h.lines[h.last - 40 :])


@case(RefusalCode.DIVERGED)
def returned_master_with_a_history_of_its_own(d: Directory, h: History) -> None:
    d.files[OWN] = h.log(4300, h.last - 20) + b"".join(other_history(line) for line in h.lines[h.last - 20 :])


@case(RefusalCode.DIVERGED)
def one_bit_differs_in_one_of_two_copies(d: Directory, _h: History) -> None:
    content = bytearray(d.files[FETCHED])
    at = content.index(b"file", len(content) // 2)
    content[at] ^= 1
    d.files[FETCHED] = bytes(content)


@case(0)
def former_master_is_ahead_of_its_metalogger(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, h.last - 30)
    d.files[OWN] = h.log(SPLIT, h.last)


@case(0)
def former_master_is_behind_its_metalogger(d: Directory, h: History) -> None:
    d.files[OWN] = h.log(SPLIT, h.last - 30)


@case(0)
def file_numbers_shuffled(d: Directory, _h: History) -> None:
    _name(d, STREAM, "changelog_ml.37.mfs")
    _name(d, STREAM_1, STREAM)


@case(0)
def forty_small_overlapping_files(d: Directory, h: History) -> None:
    del d.files[STREAM], d.files[STREAM_1]
    for index in range(40):
        first = 3990 + index * 22
        d.files[f"changelog_ml.{index}.mfs"] = h.log(first, min(h.last, first + 30))


@case(0)
def first_line_is_the_end_of_another(d: Directory, h: History) -> None:
    d.files[STREAM] = b"E(1,x):7\n" + h.log(SPLIT - 5, h.last)


@case(0)
def empty_line_in_the_middle(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, 4600) + b"\n" + h.log(4601, h.last)


@case(RefusalCode.CHANGELOG_DAMAGED)
def zeros_at_the_end(d: Directory, _h: History) -> None:
    d.files[STREAM] = d.files[STREAM][:-900] + bytes(900)


@case(RefusalCode.GAP)
def block_of_zeros_in_the_middle(d: Directory, _h: History) -> None:
    content = d.files[STREAM]
    d.files[STREAM] = content[:4096] + bytes(4096) + content[8192:]


@case(RefusalCode.CHANGELOG_DAMAGED)
def newest_file_is_all_zeros(d: Directory, _h: History) -> None:
    d.files[STREAM] = bytes(len(d.files[STREAM]))


@case(RefusalCode.GAP)
def number_with_a_flipped_bit(d: Directory, h: History) -> None:
    d.files[STREAM] = h.log(SPLIT + 1, 4599) + b"6" + h.line(4600)[1:] + h.log(4601, h.last)


@case(RefusalCode.CHANGELOG_DAMAGED)
def edited_with_an_editor_of_another_system(d: Directory, _h: History) -> None:
    d.files[STREAM] = d.files[STREAM].replace(b"\n", b"\r\n")


@case(RefusalCode.GAP)
def line_longer_than_any(d: Directory, h: History) -> None:
    long = h.line(4600)[:-1] + b"x" * 400_000 + b"\n"
    d.files[STREAM] = h.log(SPLIT + 1, 4599) + long + h.log(4601, h.last)


@case(RefusalCode.GAP)
def older_file_compressed_by_log_rotation(d: Directory, h: History) -> None:
    _name(d, STREAM_1, STREAM_1 + ".gz")
    d.files[FETCHED] = h.log(NEWEST, 4100)


@case(RefusalCode.METAID_MIXED)
def changes_of_a_brand_new_file_system(d: Directory, h: History) -> None:
    fresh = b"1: 1795405400|SETMETAID(%d)\n" % FOREIGN_ID
    d.files[OWN] = fresh + b"".join(other_history(renumbered(line, 2 + n)) for n, line in enumerate(h.lines[:20]))


@case(0)
def base_cut_off_and_an_older_one_there(d: Directory, _h: History) -> None:
    d.files[METADATA] = d.files[METADATA][:-3000]


@case(RefusalCode.GAP)
def base_cut_off_and_the_older_one_too_old(d: Directory, h: History) -> None:
    d.files[METADATA] = d.files[METADATA][:-3000]
    d.files |= {FETCHED_1: h.log(3900, NEWEST - 1)}


@case(0)
def base_with_a_damaged_section(d: Directory, _h: History) -> None:
    content = bytearray(d.files[METADATA])
    at = content.index(b"EDGE ")
    content[at + 14] ^= 0x40
    d.files[METADATA] = bytes(content)


@case(LOAD_FAILS)
def base_with_bits_rotten_inside_a_section(d: Directory, _h: History) -> None:
    content = bytearray(d.files[METADATA])
    at = content.index(b"NODE ") + 16 + 8
    content[at : at + 64] = bytes(byte ^ 0x55 for byte in content[at : at + 64])
    d.files[METADATA] = bytes(content)


@case(RefusalCode.BASE_DAMAGED)
def every_base_cut_off(d: Directory, _h: History) -> None:
    for name in (METADATA, OLDER, OLDEST):
        d.files[name] = d.files[name][:-16]


@case(0)
def base_of_a_future_format(d: Directory, _h: History) -> None:
    d.files[METADATA] = b"MFSM 3.0" + d.files[METADATA][8:]


@case(RefusalCode.BASE_DAMAGED)
def base_of_version_1_6_only(d: Directory, _h: History) -> None:
    d.files[METADATA] = b"MFSM 1.5" + d.files[METADATA][8:]
    del d.files[OLDER], d.files[OLDEST]


@case(RefusalCode.NO_BASE)
def no_base(d: Directory, _h: History) -> None:
    del d.files[METADATA], d.files[OLDER], d.files[OLDEST]


@case(RefusalCode.EMPTY_ONLY)
def only_the_packages_empty_metadata(d: Directory, _h: History) -> None:
    d.files.clear()
    d.files["metadata.mfs.empty"] = NEW


@case(RefusalCode.EMPTY_ONLY)
def empty_metadata_beside_the_changelogs(d: Directory, _h: History) -> None:
    del d.files[METADATA], d.files[OLDER], d.files[OLDEST]
    d.files["metadata.mfs"] = NEW


@case(0)
def empty_metadata_beside_everything(d: Directory, _h: History) -> None:
    d.files |= {"metadata.mfs": NEW, "metadata.mfs.empty": NEW}


@case(RefusalCode.LOADER_TRAP)
def base_of_the_version_that_kills_mfsmaster(d: Directory, h: History) -> None:
    d.files.clear()
    d.files |= {METADATA: h.bases[TRAP], STREAM: h.log(TRAP - 50, h.last)}


@case(0)
def base_of_that_version_and_an_older_one(d: Directory, h: History) -> None:
    d.files.clear()
    d.files |= {METADATA: h.bases[TRAP], OLDER: h.bases[2000], STREAM: h.log(1900, h.last)}


@case(RefusalCode.METAID_MIXED)
def base_of_another_file_system_beside_ours(d: Directory, h: History) -> None:
    d.files["metadata.mfs.back"] = of_another_file_system(h.bases[3000])


@case(RefusalCode.METAID_UNEXPECTED)
def everything_of_another_file_system(d: Directory, _h: History) -> None:
    for name in (METADATA, OLDER, OLDEST):
        d.files[name] = of_another_file_system(d.files[name])


@case(0, knows_metaid=False)
def host_that_has_never_served(_d: Directory, _h: History) -> None:
    pass


@case(0)
def download_of_a_base_in_progress(d: Directory, h: History) -> None:
    d.files["metadata_ml.tmp"] = h.bases[h.last + 1][:-1000]


@case(0)
def master_killed_while_it_saved(d: Directory, h: History) -> None:
    d.files["metadata.mfs.back.tmp"] = h.bases[h.last + 1][:-20_000]


@case(0)
def new_base_with_the_old_changelogs(d: Directory, h: History) -> None:
    d.files |= {METADATA: h.bases[4121], OLDER: h.bases[NEWEST]}


@case(0)
def clean_stop(d: Directory, h: History) -> None:
    d.files["metadata.mfs"] = h.bases[h.last + 1]


@case(RefusalCode.BASE_DAMAGED)
def newest_base_cut_off_and_nothing_reaches_it(d: Directory, h: History) -> None:
    d.files["metadata.mfs"] = h.bases[h.last + 1][:-20]
    d.files[STREAM] = h.log(SPLIT + 1, h.last - 50)


@case(0)
def emergency_save_in_the_directory(d: Directory, h: History) -> None:
    d.files[EMERGENCY] = h.bases[h.last + 1]
    d.files[STREAM] = h.log(SPLIT + 1, h.last - 50)


@case(RefusalCode.EMERGENCY_SAVE)
def emergency_save_outside_the_directory(d: Directory, h: History) -> None:
    d.elsewhere[EMERGENCY] = h.bases[h.last + 1]
    d.files[STREAM] = h.log(SPLIT + 1, h.last - 50)


@case(0)
def old_emergency_save_outside_the_directory(d: Directory, h: History) -> None:
    d.elsewhere[EMERGENCY] = h.bases[3000]


@case(0)
def pipe_link_and_directory_among_the_files(d: Directory, _h: History) -> None:
    d.extra.append(lambda path: os.mkfifo(path / "metadata_ml.mfs.back.3"))
    d.extra.append(lambda path: (path / "metadata_ml.mfs.back.4").symlink_to("nowhere"))
    d.extra.append(lambda path: (path / "changelog_ml.9.mfs").mkdir())


def of_another_file_system(base: bytes) -> bytes:
    """Return *base* with the metaid of another file system."""
    return base[:16] + FOREIGN_ID.to_bytes(8) + base[24:]
