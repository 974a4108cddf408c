"""What an Elector must do in particular moments; most of them were found by the rehearsal or by reading it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.elector import Elector
from pycarpd.election.model import Cause, Flags, Freshness, Member, Persistent, Role
from pycarpd.election.node import Fault, Identity
from tests.unit.election.bench import (
    FRESH,
    INTERVAL,
    ME,
    MEMBERS,
    MS,
    NONCE,
    SECOND,
    THIRD,
    Bench,
    S,
    in_backup,
    in_demoting,
    in_init,
    in_master,
    in_promoting,
    in_suspended,
    settings,
)


def test_nothing_is_claimed_before_the_term_is_on_disk() -> None:
    bench = in_backup()
    bench.writes = False
    effects = bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING
    assert [e.persistent.term for e in bench.got(fx.Persist)] == [6]
    assert not [e for e in effects if isinstance(e, fx.StartPromotion)]
    assert not [e for e in bench.got(fx.Send) if e.advert.role.claims]
    bench.tell(ev.StatePersisted(Persistent(6, 5)))
    assert [e.advert.term for e in bench.got(fx.Send)] == [6]
    assert bench.got(fx.StartPromotion) == [fx.StartPromotion(6)]


def test_an_older_state_that_reaches_the_disk_does_not_open_the_term() -> None:
    bench = in_backup()
    bench.writes = False
    bench.wait(2 * S)
    bench.tell(ev.StatePersisted(Persistent(5, 5)))
    assert not bench.effects


def test_a_candidate_that_gives_up_before_its_term_was_written_goes_on_reporting() -> None:
    bench = in_backup()
    bench.writes = False
    bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING
    bench.tell(ev.Commanded(ev.OperatorCommand.RESIGN))
    assert bench.role() is Role.BACKUP
    assert not bench.got(fx.Send)
    bench.wait(INTERVAL)
    assert [e.advert.role for e in bench.got(fx.Send)] == [Role.BACKUP]


def test_the_address_is_attached_before_the_claim_to_serve_is_sent() -> None:
    bench = in_promoting()
    bench.tell(ev.PromotionReady(6))
    kinds = [type(e) for e in bench.effects]
    assert kinds.index(fx.AttachVip) < kinds.index(fx.Send) < kinds.index(fx.RenewLease)


@pytest.mark.parametrize("term", [5, 7])
def test_reports_of_another_terms_plan_change_nothing(term: int) -> None:
    bench = in_promoting()
    bench.tell(ev.PromotionReady(term))
    bench.tell(ev.PromotionFinished(term, is_ok=False))
    assert bench.role() is Role.PROMOTING


def test_a_master_that_wakes_late_takes_the_address_away_before_it_answers_anybody() -> None:
    bench = in_master()
    bench.now += 800 * MS
    bench.hear(Role.PROMOTING, 7)
    assert isinstance(bench.effects[0], fx.DetachVip)
    assert (Role.MASTER, Cause.LATE_WAKE) in bench.causes
    assert not [e for e in bench.got(fx.Send) if e.advert.role is Role.MASTER]
    assert not bench.got(fx.RenewLease)


def test_the_address_goes_before_a_learnt_term_is_written() -> None:
    bench = in_master()
    bench.hear(Role.MASTER, 9)
    assert isinstance(bench.effects[0], fx.DetachVip)
    assert bench.got(fx.Persist)


def test_a_claim_that_its_own_resignation_has_overtaken_is_not_believed() -> None:
    bench = in_backup()
    bench.hear(Role.MASTER, 6, sequence=200)
    bench.hear(Role.DEMOTING, 6, sequence=202, flags=Flags.RESIGNED)
    assert bench.elector.snapshot(bench.now).master_id == 0
    bench.hear(Role.MASTER, 6, sequence=201)
    assert bench.elector.snapshot(bench.now).master_id == 0
    bench.wait(INTERVAL)
    assert bench.role() is Role.PROMOTING


def test_a_restarted_peer_is_believed_although_its_sequence_begins_anew() -> None:
    bench = in_backup()
    bench.hear(Role.MASTER, 6, sequence=200)
    bench.hear(Role.MASTER, 6, sequence=1, epoch=2, flags=Flags.PROMOTABLE)
    peer = next(p for p in bench.elector.snapshot(bench.now).peers if p.member is SECOND)
    assert peer.advert is not None
    assert peer.advert.epoch == 2


def _found_serving() -> Bench:
    bench = in_init()
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=True, vip_is_held=True))
    return bench


def test_a_running_mfsmaster_is_adopted_in_its_own_term() -> None:
    bench = _found_serving()
    effects = bench.wait(S)
    assert bench.role() is Role.MASTER
    assert bench.term == 5
    assert not [e for e in effects if isinstance(e, fx.StartPromotion | fx.StartDemotion)]


def test_a_mfsmaster_of_an_older_served_term_is_not_adopted() -> None:
    bench = _found_serving()
    bench.hear(Role.BACKUP, 7, served_term=7)
    effects = bench.wait(S)
    assert [type(e) for e in effects if isinstance(e, fx.AttachVip | fx.StartDemotion)] == [fx.StartDemotion]
    assert bench.role() is Role.BACKUP


@pytest.mark.parametrize("lost", [ev.LinkChanged(is_up=False), ev.WorkerLost()])
def test_nothing_is_adopted_without_a_link_or_a_worker(lost: ev.Event) -> None:
    bench = _found_serving()
    bench.tell(lost)
    effects = bench.wait(5 * S)
    assert bench.role() is not Role.MASTER
    assert not [e for e in effects if isinstance(e, fx.AttachVip)]


def test_a_stale_address_goes_also_when_the_link_is_down_at_the_start() -> None:
    bench = in_init()
    bench.tell(ev.LinkChanged(is_up=False))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=True))
    assert bench.role() is Role.FAULT
    assert bench.got(fx.DetachVip)


def test_a_node_that_leaves_fault_reports_at_once() -> None:
    bench = in_init()
    bench.tell(ev.LinkChanged(is_up=False))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    bench.tell(ev.LinkChanged(is_up=True))
    assert [e.advert.role for e in bench.got(fx.Send)] == [Role.BACKUP]


def test_a_backup_that_woke_late_gives_the_master_one_more_interval_and_then_keeps_its_files() -> None:
    bench = in_backup()
    bench.hear(Role.MASTER, 6)
    bench.now += 3 * S
    bench.tell(ev.TimeAdvanced(late_ns=2 * S))
    assert bench.role() is Role.BACKUP
    assert not bench.got(fx.PreserveFiles)
    effects = bench.wait(2 * INTERVAL)
    assert [e for e in effects if isinstance(e, fx.PreserveFiles)]
    assert bench.role() is Role.PROMOTING


def test_lateness_is_forgiven_once() -> None:
    bench = in_backup()
    bench.hear(Role.MASTER, 6)
    for _ in range(2):
        bench.now += 3 * S
        bench.tell(ev.TimeAdvanced(late_ns=2 * S))
    assert bench.role() is Role.PROMOTING


def _fresher(role: Role = Role.BACKUP, *, demotion: int = 0, flags: Flags = Flags.PROMOTABLE) -> Bench:
    bench = in_backup()
    bench.hear(role, 5, freshness=Freshness(FRESH.metaid, 999), demotion=demotion, flags=flags)
    return bench


def test_a_fresher_node_goes_first() -> None:
    bench = _fresher()
    bench.wait(S)
    assert bench.role() is Role.BACKUP
    bench.wait(S)
    assert bench.role() is Role.PROMOTING


@pytest.mark.parametrize(
    "fresher",
    [
        lambda: _fresher(demotion=240),
        lambda: _fresher(flags=Flags.PROMOTABLE | Flags.PAUSED),
        lambda: _fresher(flags=Flags.PROMOTABLE | Flags.RESIGNED),
        lambda: _fresher(flags=Flags.CAN_SPLIT),
        lambda: _fresher(Role.FAULT),
    ],
    ids=["demoted", "paused", "resigned", "unpromotable", "in fault"],
)
def test_a_fresher_node_that_cannot_is_not_waited_for(fresher: Callable[[], Bench]) -> None:
    bench = fresher()
    bench.wait(S)
    assert bench.role() is Role.PROMOTING


def test_the_master_that_was_just_lost_is_no_fresher_candidate() -> None:
    bench = in_backup()
    bench.hear(Role.MASTER, 6, freshness=Freshness(FRESH.metaid, 999))
    bench.wait(3 * INTERVAL + INTERVAL * 128 // 256)
    assert bench.role() is Role.PROMOTING


def _follow_well_known(bench: Bench, term: int, *, by: Member = SECOND) -> None:
    bench.hear(Role.MASTER, term, by=by)
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    bench.hear(Role.MASTER, term, by=by)


def _asks(bench: Bench) -> bool:
    return any(Flags.WANTS_MASTER in e.advert.flags for e in bench.got(fx.Send))


def test_a_better_node_asks_for_the_mastership_only_with_preempt() -> None:
    for preempt in (True, False):
        bench = in_backup(preempt=preempt, priority=200)
        _follow_well_known(bench, 6)
        assert _asks(bench) is preempt


def test_who_is_paused_or_could_not_promote_does_not_ask() -> None:
    paused = in_backup(preempt=True, priority=200)
    paused.tell(ev.Commanded(ev.OperatorCommand.PAUSE))
    unfit = in_backup(preempt=True, priority=200)
    unfit.tell(ev.FreshnessKnown(None, "a gap"))
    older = in_backup(preempt=True, priority=200)
    older.hear(Role.BACKUP, 5, by=THIRD, freshness=Freshness(FRESH.metaid, 999))
    for bench in (paused, unfit, older):
        bench.hear(Role.MASTER, 6)
        bench.tell(ev.FreshnessKnown(None, "a gap") if bench is unfit else ev.FreshnessKnown(FRESH, ""))
        bench.hear(Role.MASTER, 6)
        assert bench.got(fx.Send)
        assert not _asks(bench)


def test_a_node_does_not_ask_before_its_files_were_looked_at_under_the_new_master() -> None:
    bench = in_backup(preempt=True, priority=200)
    bench.makes_standby = False
    bench.hear(Role.MASTER, 6)
    assert bench.got(fx.StartDemotion)
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    bench.hear(Role.MASTER, 6)
    assert not _asks(bench)
    bench.tell(ev.StandbyMade(6, is_ok=True))
    bench.hear(Role.MASTER, 6)
    assert not _asks(bench)
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    bench.hear(Role.MASTER, 6)
    assert _asks(bench)


def test_after_a_handover_to_somebody_else_a_node_does_not_ask_again_soon() -> None:
    bench = in_backup(preempt=True, priority=200)
    _follow_well_known(bench, 6)
    assert _asks(bench)
    _follow_well_known(bench, 7, by=THIRD)
    assert not _asks(bench)
    bench.now += 31 * S
    bench.hear(Role.MASTER, 7, by=THIRD)
    assert _asks(bench)


@pytest.mark.parametrize(("priority", "hands_over"), [(200, True), (128, False), (1, False)])
def test_a_master_hands_over_to_a_better_node_only(priority: int, hands_over: bool) -> None:
    bench = in_master()
    bench.hear(Role.BACKUP, 6, flags=Flags.PROMOTABLE | Flags.WANTS_MASTER, priority=priority)
    assert bool(bench.got(fx.HoldClients)) is hands_over
    assert bench.role() is Role.MASTER


def test_a_master_hands_over_nothing_to_another_file_system() -> None:
    bench = in_master()
    wants = Flags.PROMOTABLE | Flags.WANTS_MASTER
    bench.hear(Role.BACKUP, 6, flags=wants, priority=200, freshness=replace(FRESH, metaid=1))
    assert bench.role() is Role.MASTER


def test_a_backup_waits_for_the_resignation_of_a_master_that_steps_down_but_not_for_ever() -> None:
    bench = in_backup()
    bench.hear(Role.MASTER, 6)
    waited = 0
    while bench.role() is Role.BACKUP and waited < 60 * S:
        bench.wait(INTERVAL)
        waited += INTERVAL
        bench.hear(Role.DEMOTING, 6)
    assert bench.role() is Role.PROMOTING
    assert 5 * S < waited <= 12 * S


def test_stepping_down_is_said_at_once_and_the_resignation_when_mfsmaster_is_gone() -> None:
    bench = in_demoting()
    said = bench.got(fx.Send)
    assert [e.advert.role for e in said] == [Role.DEMOTING]
    assert Flags.RESIGNED not in said[0].advert.flags
    bench.tell(ev.DemotionFinished(bench.term))
    burst = [e.advert for e in bench.got(fx.Send)]
    assert [a.term for a in burst] == [6, 6, 6]
    assert all(Flags.RESIGNED in a.flags for a in burst)
    assert len({a.sequence for a in burst}) == 3


def test_whoever_was_outranked_resigns_nothing() -> None:
    bench = in_master()
    bench.hear(Role.MASTER, 9)
    bench.tell(ev.DemotionFinished(6))
    assert bench.role() is Role.BACKUP
    assert not [e for e in bench.got(fx.Send) if Flags.RESIGNED in e.advert.flags]


def test_a_failed_promotion_hands_the_turn_on_at_once_and_keeps_this_node_back() -> None:
    bench = in_promoting()
    bench.tell(ev.PromotionFinished(6, is_ok=False))
    assert bench.role() is Role.BACKUP
    assert Flags.RESIGNED in bench.got(fx.Send)[0].advert.flags
    assert bench.elector.snapshot(bench.now).demotion == 240
    bench.wait(7 * S)
    assert bench.role() is Role.BACKUP
    bench.wait(3 * S)
    assert bench.role() is Role.PROMOTING


def test_an_aborted_promotion_that_had_succeeded_is_demoted() -> None:
    bench = in_promoting()
    bench.hear(Role.MASTER, 9)
    assert bench.got(fx.AbortPromotion) == [fx.AbortPromotion(6)]
    bench.tell(ev.PromotionFinished(6, is_ok=True))
    assert bench.got(fx.StartDemotion) == [fx.StartDemotion(6, 0)]
    bench.tell(ev.DemotionFinished(6))
    assert bench.role() is Role.BACKUP


def test_a_suspended_master_serves_on_in_its_term_without_a_plan() -> None:
    bench = in_suspended()
    bench.tell(ev.LinkChanged(is_up=True))
    effects = bench.wait(3 * INTERVAL)
    assert bench.role() is Role.MASTER
    assert bench.term == 6
    assert not [e for e in effects if isinstance(e, fx.StartPromotion | fx.StartDemotion)]


def test_a_planned_restart_asks_for_patience() -> None:
    bench = in_master()
    bench.tell(ev.StopRequested(keep_serving=True))
    assert [e.advert.hold_ms for e in bench.got(fx.Send)] == [10_000]
    assert not bench.got(fx.DetachVip)
    other = in_backup()
    other.hear(Role.MASTER, 6, hold_ms=10_000)
    other.wait(10 * S)
    assert other.role() is Role.BACKUP
    other.wait(2 * S)
    assert other.role() is Role.PROMOTING


def test_a_hold_has_a_bound_whatever_an_advert_says() -> None:
    bench = in_backup()
    bench.hear(Role.MASTER, 6, hold_ms=2**32 - 1)
    bench.wait(12 * S)
    assert bench.role() is Role.PROMOTING


@pytest.mark.parametrize("role", [Role.PROMOTING, Role.MASTER])
def test_unproven_claims_neither_lead_nor_delay_for_ever(role: Role) -> None:
    bench = in_backup()
    waited = 0
    while bench.role() is Role.BACKUP and waited < 20 * S:
        bench.hear(role, 99, is_proven=False)
        bench.wait(100 * MS)
        waited += 100 * MS
    assert bench.term == 6
    assert bench.role() is Role.PROMOTING


@pytest.mark.parametrize("way", [in_promoting, in_master, in_suspended])
def test_an_unproven_claim_changes_no_role(way: Callable[[], Bench]) -> None:
    bench = way()
    before = bench.role(), bench.term
    for role in (Role.PROMOTING, Role.MASTER):
        bench.hear(role, 99, is_proven=False, served_term=99)
    assert (bench.role(), bench.term) == before


def test_a_worse_ucarp_host_is_the_masters_to_answer() -> None:
    bench = in_backup(strict=False, preempt=True, priority=254)
    bench.hear(Role.MASTER, 6, advskew=0)
    bench.hear_plain(1, 200)
    snapshot = bench.elector.snapshot(bench.now)
    assert bench.role() is Role.BACKUP
    assert snapshot.master_id == SECOND.node_id


def test_in_a_mixed_group_a_start_waits_for_an_advert_of_ucarps() -> None:
    bench = in_backup(strict=False)
    bench.wait(2 * S)
    assert bench.role() is Role.BACKUP
    bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING


def test_a_ucarp_masters_own_interval_counts() -> None:
    bench = in_backup(strict=False)
    bench.hear_plain(5, 0)
    bench.wait(14 * S)
    assert bench.role() is Role.BACKUP
    bench.wait(3 * S)
    assert bench.role() is Role.PROMOTING


def test_a_witness_never_promotes() -> None:
    witness = replace(ME, is_witness=True)
    bench = in_backup(members=(witness, SECOND, THIRD))
    bench.wait(30 * S)
    assert bench.role() is Role.BACKUP


def test_a_node_waits_for_all_to_report_when_it_starts_but_not_for_ever() -> None:
    bench = Bench()
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    bench.wait(9 * S)
    assert bench.role() is Role.BACKUP
    bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING


def test_a_node_that_has_not_looked_at_its_files_yet_has_not_reported() -> None:
    bench = Bench()
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    bench.hear(Role.BACKUP, 0)
    bench.hear(Role.BACKUP, 0, by=THIRD, freshness=None, flags=Flags.HAS_FILES)
    bench.wait(4 * S)
    assert bench.role() is Role.BACKUP
    bench.hear(Role.BACKUP, 0)
    bench.hear(Role.BACKUP, 0, by=THIRD, freshness=None, flags=Flags(0))
    bench.wait(2 * S)
    assert bench.role() is Role.PROMOTING


def test_new_settings_count_from_the_next_deadline_on() -> None:
    bench = in_backup()
    bench.elector.reconfigure(settings(priority=254, interval_ns=10 * MS))
    bench.hear(Role.MASTER, 6, interval_us=10_000)
    bench.wait(40 * MS)
    assert bench.role() is Role.PROMOTING


def test_a_snapshot_says_what_is_wrong() -> None:
    elector = Elector(settings(), Identity(1, NONCE), Persistent(3, 2))
    elector.handle(ev.LinkChanged(is_up=False), S)
    snapshot = elector.snapshot(S)
    assert snapshot.faults == (Fault.LINK, Fault.WORKER)
    assert snapshot.why_not
    assert snapshot.can_split
    assert (snapshot.term, snapshot.served_term, snapshot.live_members) == (3, 2, 1)
    assert {p.member for p in snapshot.peers} == set(MEMBERS) - {ME}


def test_who_wakes_late_serves_only_after_all_that_its_worker_has_said_meanwhile() -> None:
    given_up, still_there = in_promoting(), in_promoting()
    for bench in (given_up, still_there):
        bench.now += 5 * S
        bench.tell(ev.PromotionReady(bench.term))
        assert bench.role() is Role.PROMOTING
    given_up.tell(ev.PromotionFinished(given_up.term, is_ok=False))
    given_up.tell(ev.TimeAdvanced(5 * S))
    still_there.tell(ev.TimeAdvanced(5 * S))
    assert (given_up.role(), still_there.role()) == (Role.BACKUP, Role.MASTER)
