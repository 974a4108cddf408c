"""Of which mastership a host's files are: what is noted, what is archived, and who wins with it."""

from dataclasses import replace

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.freshness import is_at_least, is_newer
from pycarpd.election.model import Arbiter, Branch, Flags, Freshness, Handover, Lineage, Persistent, Role
from tests.unit.election.bench import FRESH, ME, SECOND, THIRD, Bench, S, in_backup, in_demoting, in_master

OLD = Persistent(5, 5, lineage=Lineage(5, FRESH.metaid, 50))
BRANCH = Branch(5, 100)


def fresh(version: int, lineage: int | None = None) -> Freshness:
    return replace(FRESH, version=version, lineage=lineage)


def following(version: int, **changes: object) -> Bench:
    """A standby of lineage 5 that has begun to follow the master of term 6, promoted from version 100 of lineage 5."""
    bench = in_backup(persistent=OLD, **changes)
    bench.makes_standby = False
    bench.tell(ev.FreshnessKnown(None, "its metalogger loads anew"))
    bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH)
    bench.tell(ev.StandbyMade(6, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(version), ""))
    return bench


def known(bench: Bench) -> Freshness | None:
    return bench.elector.snapshot(bench.now).freshness


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [
        (fresh(90, 6), fresh(999, 5), True),
        (fresh(999, 5), fresh(90, 6), False),
        (fresh(91, 6), fresh(90, 6), True),
        (fresh(90, 6), fresh(90, 6), False),
        (fresh(91), fresh(90, 6), True),
        (fresh(90, 6), fresh(91), False),
        (fresh(1, 1), fresh(999, 0), True),
        (replace(fresh(91, 6), metaid=1), fresh(90, 6), False),
    ],
)
def test_a_newer_lineage_comes_before_a_higher_version(one: Freshness, other: Freshness, newer: bool) -> None:
    assert is_newer(one, other) is newer
    assert is_at_least(one, other) is (newer or one == other)


def test_files_that_lead_up_to_the_branch_and_reach_it_are_the_masters() -> None:
    bench = following(95)
    assert known(bench) == fresh(95, 5)
    bench.tell(ev.FreshnessKnown(fresh(103), ""))
    assert known(bench) == fresh(103, 6)
    assert bench.elector._node.persistent.lineage == Lineage(6, FRESH.metaid, 103)


def test_files_beyond_the_branch_are_archived_and_what_comes_then_is_the_masters() -> None:
    bench = following(101)
    assert bench.got(fx.StartDemotion) == [fx.StartDemotion(6, SECOND.node_id, is_foreign=True)]
    assert known(bench) == fresh(101, 0)  # of the master that was lost, or of another while this node was down
    bench.tell(ev.StandbyMade(6, is_ok=True, has_archived=True))
    bench.tell(ev.FreshnessKnown(fresh(110), ""))
    assert known(bench) == fresh(110, 6)


def test_a_look_of_the_moment_when_nobody_served_tells_as_much() -> None:
    bench = in_backup(persistent=OLD)
    bench.hear(Role.MASTER, 5, freshness=fresh(100, 5))
    bench.makes_standby = False
    bench.hear(Role.PROMOTING, 6, by=THIRD)
    assert bench.got(fx.PreserveFiles)
    bench.tell(ev.FreshnessKnown(fresh(100), ""))
    bench.hear(Role.MASTER, 6, by=THIRD, freshness=fresh(120, 6), branch=BRANCH)
    bench.tell(ev.StandbyMade(6, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(115), ""))
    assert known(bench) == fresh(115, 6)


def test_files_of_a_smaller_version_than_was_noted_are_of_no_known_lineage() -> None:
    bench = in_backup(persistent=OLD)
    bench.tell(ev.FreshnessKnown(fresh(49), ""))
    assert known(bench) == fresh(49, 0)


def test_a_former_master_says_nothing_of_its_old_files_while_another_serves() -> None:
    bench = in_demoting()
    bench.makes_standby = False
    bench.tell(ev.DemotionFinished(bench.term))
    bench.hear(Role.MASTER, bench.term + 1, freshness=fresh(120, 7), branch=Branch(6, 100))
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    assert bench.elector.snapshot(bench.now).why_not
    assert all(Flags.PROMOTABLE not in e.advert.flags for e in bench.wait(S) if isinstance(e, fx.Send))


def test_a_standby_that_cannot_be_made_one_is_tried_again_later_each_time() -> None:
    bench = in_backup()
    bench.makes_standby = False
    bench.hear(Role.MASTER, 6)
    gaps = []
    for _ in range(8):
        began = bench.now
        bench.tell(ev.StandbyMade(6, is_ok=False))
        while not bench.got(fx.StartDemotion):
            bench.hear(Role.MASTER, 6)
            bench.wait(S // 4)
        gaps.append((bench.now - began) // S)
    assert gaps == sorted(gaps)
    assert gaps[0] <= 2
    assert gaps[-1] == 60


@pytest.mark.parametrize(("version", "lineage", "hands_over"), [(100, 6, True), (99, 6, False), (100, 5, False)])
def test_a_master_hands_over_only_to_who_has_nearly_what_it_serves(
    version: int, lineage: int, hands_over: bool
) -> None:
    bench = in_master()
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    flags = Flags.PROMOTABLE | Flags.WANTS_MASTER
    bench.hear(Role.BACKUP, 6, flags=flags, priority=200, freshness=fresh(version, lineage))
    assert bool(bench.got(fx.HoldClients)) is hands_over


def test_a_name_said_once_is_reported_and_said_again_and_again_ends_a_mastership() -> None:
    bench = in_master()
    bench.tell(ev.NameClaimed())
    assert bench.role() is Role.MASTER
    assert bench.elector.snapshot(bench.now).faults
    bench.tell(ev.NameClaimed())
    bench.tell(ev.NameClaimed())
    assert bench.role() is Role.DEMOTING


def test_a_pause_is_on_disk_and_outlasts_a_restart_and_its_node_votes_on() -> None:
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.tell(ev.Commanded(ev.OperatorCommand.PAUSE))
    kept = bench.got(fx.Persist)[-1].persistent
    again = in_backup(persistent=kept, arbiter=Arbiter.MAJORITY)
    assert again.elector.snapshot(again.now).is_paused
    again.wait(20 * S)
    assert again.role() is Role.BACKUP
    again.hear(Role.PROMOTING, 9, hold_ms=750, vote_term=9, vote_for=SECOND.node_id, freshness=fresh(100, 5))
    assert again.elector._node.persistent.vote == (9, SECOND.node_id)
    assert ME.node_id != SECOND.node_id


def test_files_are_not_archived_any_more_once_their_master_is_lost() -> None:
    bench = in_backup()
    bench.makes_standby = False
    bench.hear(Role.MASTER, 6)
    bench.tell(ev.StandbyMade(6, is_ok=False))
    bench.hear(Role.MASTER, 6, flags=Flags.RESIGNED)
    bench.wait(S // 100)
    assert not [e for e in bench.wait(3 * S) if isinstance(e, fx.StartDemotion) and e.successor]


def test_a_new_master_goes_on_telling_where_the_lineages_before_it_began() -> None:
    bench = in_backup(persistent=OLD)
    bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH, older=(Branch(3, 40),))
    bench.tell(ev.FreshnessKnown(fresh(125), ""))
    bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING
    bench.tell(ev.PromotionReady(bench.term, 125))
    (told,) = (each.advert for each in bench.got(fx.Send)[-1:])
    assert told.role is Role.MASTER
    assert (told.branch, told.older) == (Branch(6, 125), (BRANCH, Branch(3, 40)))
    again = Bench(bench.elector._node.durable)
    again.tell(ev.LinkChanged(is_up=True))
    again.tell(ev.WorkerReady(mfsmaster_serves=True, vip_is_held=True))
    told = next(e.advert for e in again.wait(3 * S) if isinstance(e, fx.Send) and e.advert.role is Role.MASTER)
    assert (told.branch, told.older) == (Branch(6, 125), (BRANCH, Branch(3, 40)))  # a restart forgets none


@pytest.mark.parametrize(
    ("standby", "version", "serves"),
    [(101, 100, False), (100, 100, True), (101, 101, True), (101, 0, True)],
    ids=["behind", "level", "ahead of its last report", "a version that is not told"],
)
def test_a_restart_in_place_goes_on_from_no_less_than_a_standby_has(standby: int, version: int, serves: bool) -> None:
    bench = in_master()
    bench.tell(ev.MfsmasterLost(may_restart=True))
    bench.hear(Role.BACKUP, bench.term, freshness=fresh(standby, bench.term))
    bench.tell(ev.PromotionReady(bench.term, version))
    assert bench.role() is (Role.MASTER if serves else Role.DEMOTING)
    assert bool(bench.got(fx.AttachVip)) is serves


@pytest.mark.parametrize(("version", "is_foreign"), [(100, False), (101, True)])
def test_files_of_which_nothing_was_noted_are_foreign_if_they_were_beyond_the_branch_before(
    version: int, is_foreign: bool
) -> None:
    bench = in_backup(persistent=Persistent(5, 5))
    bench.makes_standby = False
    bench.hear(Role.PROMOTING, 6, freshness=fresh(100, 4))
    bench.tell(ev.FreshnessKnown(fresh(version), ""))
    bench.hear(Role.MASTER, 6, freshness=fresh(110, 6), branch=Branch(4, 100))
    bench.tell(ev.StandbyMade(6, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(version), ""))
    assert bench.elector.snapshot(bench.now).has_foreign_files is is_foreign


def test_levelled_files_that_have_reached_the_branch_are_the_masters() -> None:
    bench = following(95)
    offer = Handover(ME.node_id, 130)
    bench.hear(Role.MASTER, 6, freshness=fresh(130, 6), branch=BRANCH, handover=offer)
    assert bench.got(fx.LevelFiles)
    bench.tell(ev.FilesLevel(6, 130))
    assert known(bench) == fresh(130, 6)
    assert bench.elector._node.persistent.lineage == Lineage(6, FRESH.metaid, 130)


def test_files_that_have_shrunk_are_not_level_whatever_their_version() -> None:
    bench = following(95)
    bench.tell(ev.FreshnessKnown(fresh(140), ""))
    assert known(bench) == fresh(140, 6)
    bench.hear(Role.MASTER, 6, freshness=fresh(130, 6), branch=BRANCH, handover=Handover(ME.node_id, 130))
    bench.tell(ev.FilesLevel(6, 130))
    assert known(bench) == fresh(130, 0)
    assert bench.got(fx.Send)[-1].advert.handover == Handover(SECOND.node_id, 0)


@pytest.mark.parametrize(("version", "is_foreign"), [(80, False), (81, True)])
def test_files_of_which_nothing_was_noted_are_not_believed_beyond_where_a_lineage_was_left(
    version: int, is_foreign: bool
) -> None:
    bench = in_backup(persistent=Persistent(5, 5))
    bench.makes_standby = False
    older = (Branch(4, 80), Branch(0, 10))
    bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH, older=older)
    bench.tell(ev.StandbyMade(6, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(version), ""))
    assert bool(bench.got(fx.StartDemotion)) is is_foreign


def test_what_a_metalogger_adds_to_foreign_files_makes_them_of_no_lineage() -> None:
    bench = in_backup(persistent=OLD)
    bench.makes_standby = False
    bench.hear(Role.MASTER, 5, freshness=fresh(101, 5), by=THIRD)
    bench.tell(ev.FreshnessKnown(fresh(101), ""))
    bench.tell(ev.NameClaimed())
    assert bench.role() is Role.FAULT
    bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH)
    bench.tell(ev.FreshnessKnown(fresh(101), ""))
    assert known(bench) == fresh(101, 5)
    bench.tell(ev.FreshnessKnown(fresh(121), ""))
    assert known(bench) == fresh(121, 0)


@pytest.mark.parametrize(("seen", "lineage"), [(90, 0), (100, 0), (119, 0), (120, 5)])
def test_files_that_have_grown_unseen_beyond_the_branch_are_of_no_lineage(seen: int, lineage: int) -> None:
    bench = in_backup(persistent=OLD)
    bench.makes_standby = False
    bench.hear(Role.MASTER, 5, freshness=fresh(seen, 5), by=THIRD)
    bench.tell(ev.FreshnessKnown(fresh(seen), ""))
    bench.tell(ev.WorkerLost())
    bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH)
    bench.wait(10 * S)
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    bench.tell(ev.FreshnessKnown(fresh(120), ""))
    assert known(bench) == fresh(120, lineage)
    bench.hear(Role.MASTER, 7, freshness=fresh(300, 7), branch=Branch(5, 300))
    bench.tell(ev.StandbyMade(7, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(120), ""))
    assert bool(bench.got(fx.StartDemotion)) is (lineage == 0)


@pytest.mark.parametrize("is_heard_first", [False, True])
@pytest.mark.parametrize(("noted", "lineage"), [(50, 0), (100, 0), (110, 0), (120, 5)])
def test_files_that_have_grown_while_the_node_was_down_are_of_no_lineage(
    noted: int, lineage: int, is_heard_first: bool
) -> None:
    kept = Persistent(5, 5, lineage=Lineage(5, FRESH.metaid, noted))
    bench = Bench(kept)
    bench.makes_standby = False
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    for is_look in (not is_heard_first, is_heard_first):
        if is_look:
            bench.tell(ev.FreshnessKnown(fresh(120), ""))
        else:
            bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH)
    bench.tell(ev.StandbyMade(6, is_ok=False))
    bench.tell(ev.FreshnessKnown(fresh(120), ""))
    bench.wait(5 * S)  # it is lost before anything could be put away
    bench.tell(ev.FreshnessKnown(fresh(120), ""))
    assert known(bench) == fresh(120, lineage)


def test_who_has_followed_the_lineage_in_this_life_knows_what_came_of_it() -> None:
    bench = in_backup(persistent=Persistent(5, 5, lineage=Lineage(5, FRESH.metaid, 50)))
    bench.makes_standby = False
    bench.hear(Role.MASTER, 5, freshness=fresh(90, 5), by=THIRD, branch=Branch(0, 10))
    bench.tell(ev.StandbyMade(5, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(120), ""))
    bench.wait(5 * S)
    bench.tell(ev.FreshnessKnown(fresh(120), ""))
    bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH)
    bench.tell(ev.FreshnessKnown(fresh(120), ""))
    assert known(bench) == fresh(120, 5)


def test_who_begins_with_nothing_notes_on_disk_that_what_comes_is_the_masters() -> None:
    bench = following(140)
    bench.tell(ev.StandbyMade(6, is_ok=True, has_archived=True))
    kept = bench.elector._node.persistent.lineage
    assert kept == Lineage(6, FRESH.metaid, 0, BRANCH.lineage, BRANCH.version)
    again = Bench(Persistent(6, 6, lineage=kept))
    again.tell(ev.LinkChanged(is_up=True))
    again.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    again.makes_standby = False
    again.tell(ev.FreshnessKnown(fresh(BRANCH.version + 5), ""))
    assert known(again) == fresh(BRANCH.version + 5, 0)  # of another master, perhaps
    again.tell(ev.FreshnessKnown(None, "its metalogger loads anew"))
    again.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH)
    again.tell(ev.StandbyMade(6, is_ok=True))
    again.tell(ev.FreshnessKnown(fresh(BRANCH.version - 1), ""))
    assert known(again) == fresh(BRANCH.version - 1, 0)  # not all has come yet
    assert not again.got(fx.StartDemotion)
    again.tell(ev.FreshnessKnown(fresh(BRANCH.version + 10), ""))
    assert known(again) == fresh(BRANCH.version + 10, 6)
    assert again.elector._node.persistent.lineage == Lineage(6, FRESH.metaid, BRANCH.version + 10)


@pytest.mark.parametrize(
    ("is_told", "is_heard", "is_foreign"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_files_of_a_node_that_missed_a_mastership_which_was_given_up_do_not_lead_up(
    is_told: bool, is_heard: bool, is_foreign: bool
) -> None:
    bench = in_backup(persistent=OLD, arbiter=Arbiter.MAJORITY)
    bench.makes_standby = False
    if is_heard:
        bench.hear(Role.MASTER, 6, by=THIRD, freshness=fresh(130, 6), branch=Branch(5, 120))
        bench.tell(ev.FreshnessKnown(fresh(100), ""))
    if is_told:
        bench.hear(Role.BACKUP, 6, by=THIRD, served_term=6)
    bench.wait(5 * S)
    bench.tell(ev.FreshnessKnown(fresh(100), ""))
    bench.hear(Role.MASTER, 7, freshness=fresh(130, 7), branch=Branch(5, 125))
    bench.tell(ev.StandbyMade(7, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(100), ""))
    assert bool(bench.got(fx.StartDemotion)) is is_foreign


def test_a_mastership_that_was_heard_and_not_judged_by_is_a_missed_one() -> None:
    bench = in_backup(persistent=OLD, arbiter=Arbiter.MAJORITY)
    bench.makes_standby = False
    bench.hear(Role.MASTER, 6, by=THIRD, freshness=fresh(130, 6), branch=Branch(5, 120))
    bench.hear(Role.BACKUP, 6, by=THIRD, served_term=6)
    bench.wait(5 * S)
    bench.hear(Role.MASTER, 7, freshness=fresh(130, 7), branch=Branch(5, 125))
    bench.tell(ev.StandbyMade(7, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(100), ""))
    assert bench.got(fx.StartDemotion) == [fx.StartDemotion(7, SECOND.node_id, is_foreign=True)]


def test_files_put_back_from_an_archive_are_not_taken_for_those_that_came_since() -> None:
    bench = following(140)
    bench.tell(ev.StandbyMade(6, is_ok=True, has_archived=True))
    bench.tell(ev.FreshnessKnown(fresh(150), ""))
    again = in_backup(persistent=bench.elector._node.persistent)
    again.makes_standby = False
    again.tell(ev.FreshnessKnown(None, "its metalogger loads anew"))
    again.tell(ev.FreshnessKnown(fresh(140), ""))
    assert known(again) == fresh(140, 0)


@pytest.mark.parametrize("arbiter", list(Arbiter))
def test_a_mastership_before_this_life_counts_as_missed_unless_an_arbiter_outside_gave_its_term(
    arbiter: Arbiter,
) -> None:
    bench = in_backup(persistent=replace(OLD, term=6, served_term=6), arbiter=arbiter)
    bench.makes_standby = False
    bench.hear(Role.MASTER, 7, freshness=fresh(120, 7), branch=Branch(5, 105))
    bench.tell(ev.StandbyMade(7, is_ok=True))
    bench.tell(ev.FreshnessKnown(fresh(100), ""))
    foreign = [fx.StartDemotion(7, SECOND.node_id, is_foreign=True)]
    assert bench.got(fx.StartDemotion) == ([] if arbiter is Arbiter.ETCD else foreign)


def test_a_node_knows_what_came_of_its_own_mastership() -> None:
    bench = in_master(persistent=OLD)
    bench.tell(ev.FreshnessKnown(fresh(130), ""))
    own, masterships = bench.term, bench.elector._node.peers.masterships
    bench.hear(Role.MASTER, 9, freshness=fresh(125, 9), branch=Branch(own, 120), served_term=own)
    bench.tell(ev.DemotionFinished(own))
    assert bench.elector._node.standby.is_known
    assert masterships.has_missed(0, own)  # the one before this life
    assert not masterships.has_missed(OLD.lineage.term, 100)


def test_a_node_out_of_the_election_remembers_what_lay_there_when_it_heard_nobody() -> None:
    bench = in_backup(persistent=OLD)
    bench.makes_standby = False
    bench.tell(ev.NameClaimed())
    bench.tell(ev.FreshnessKnown(fresh(100), ""))
    bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH)
    bench.tell(ev.FreshnessKnown(fresh(120), ""))
    assert known(bench) == fresh(120, 6)


def test_files_that_have_shrunk_since_the_last_look_are_of_no_known_lineage() -> None:
    bench = following(95)
    bench.tell(ev.FreshnessKnown(fresh(130), ""))
    assert known(bench) == fresh(130, 6)
    bench.tell(ev.FreshnessKnown(fresh(125), ""))
    assert known(bench) == fresh(125, 0)


def test_a_master_whose_files_have_become_unreadable_tells_its_lineage_still() -> None:
    bench = in_master(persistent=OLD)
    before = known(bench)
    assert before is not None
    bench.tell(ev.FreshnessKnown(None, "a gap in its changelogs", has_files=True))
    assert known(bench) == before


@pytest.mark.parametrize(("lasts_ns", "term"), [(S, 5), (3 * S, 0)])
def test_files_that_stay_unreadable_under_another_mastership_are_not_the_ones_from_before(
    lasts_ns: int, term: int
) -> None:
    bench = in_backup(persistent=OLD)
    bench.makes_standby = False
    bench.hear(Role.MASTER, 6, freshness=fresh(120, 6), branch=BRANCH)
    bench.tell(ev.FreshnessKnown(None, "a gap in its changelogs", has_files=True))
    bench.now += lasts_ns
    bench.tell(ev.FreshnessKnown(None, "a gap in its changelogs", has_files=True))
    assert bench.elector._node.persistent.lineage.term == term
