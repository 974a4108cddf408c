"""Votes, promises and quorum leases of one Elector whose peers say what the test wants."""

from typing import Any

import pytest

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election import quorum
from pycarpd.election.model import Arbiter, Cause, Flags, Freshness, Member, Persistent, Role
from tests.unit.election.bench import FRESH, INTERVAL, ME, MS, SECOND, THIRD, Bench, S, in_backup

LEASE_MS = 750
WELCOMING = Flags.PROMOTABLE | Flags.NO_MASTER


def majority(**changes: Any) -> Bench:
    return in_backup(arbiter=Arbiter.MAJORITY, **changes)


def candidate() -> Bench:
    bench = majority()
    bench.wait(S)
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    assert bench.role() is Role.PROMOTING
    return bench


def master() -> Bench:
    bench = candidate()
    bench.support()
    bench.tell(ev.PromotionReady(bench.term))
    bench.tell(ev.PromotionFinished(bench.term, is_ok=True))
    assert bench.role() is Role.MASTER
    return bench


def claim(
    bench: Bench, term: int, *, by: Member = SECOND, role: Role = Role.PROMOTING, **changes: Any
) -> fx.Persist | None:
    bench.hear(role, term, by=by, **({"hold_ms": LEASE_MS} | changes))
    return next(iter(bench.got(fx.Persist)), None)


def vote_of(bench: Bench) -> tuple[int, int]:
    persistent = bench.elector._node.durable
    return persistent.vote_term, persistent.vote_for


def test_nobody_opens_a_term_alone() -> None:
    bench = majority()
    bench.wait(20 * S)
    assert bench.role() is Role.BACKUP


def test_a_term_is_opened_when_a_majority_has_no_master() -> None:
    bench = candidate()
    assert vote_of(bench) == (6, ME.node_id)


def test_nothing_is_promoted_before_a_majority_has_voted() -> None:
    bench = candidate()
    assert not bench.got(fx.StartPromotion)
    bench.support()
    assert bench.got(fx.StartPromotion) == [fx.StartPromotion(6)]


def test_a_vote_for_somebody_else_is_no_support() -> None:
    bench = candidate()
    bench.support(vote_for=THIRD.node_id)
    bench.support(by=THIRD, vote_term=5)
    assert not bench.got(fx.StartPromotion)


def test_an_unproven_voter_is_no_support() -> None:
    bench = candidate()
    bench.support(is_proven=False)
    assert not bench.got(fx.StartPromotion)


def test_the_lease_counts_from_the_send_time_of_the_acknowledged_advert() -> None:
    bench = candidate()
    sent_ns = bench.elector._node.sent[-1].sent_ns
    bench.now += 200 * MS
    bench.support()
    assert bench.elector.snapshot(bench.now).lease_until_ns == sent_ns + quorum.shrunk(LEASE_MS * MS)


def test_an_acknowledgement_of_another_run_is_worth_nothing() -> None:
    bench = master()
    before = bench.elector.snapshot(bench.now).lease_until_ns
    bench.now += 100 * MS
    node = bench.elector._node
    stale = (type(node.peers.acks()[0])(ME.node_id, 0xBAD, node.sequence),)
    bench.hear(Role.BACKUP, 6, vote_term=6, vote_for=ME.node_id, acks=stale)
    assert bench.elector.snapshot(bench.now).lease_until_ns == before


def test_a_master_whose_lease_runs_out_lets_the_address_go_and_keeps_mfsmaster() -> None:
    bench = master()
    effects = bench.wait(2 * S)
    assert bench.role() is Role.SUSPENDED
    assert any(isinstance(e, fx.DetachVip) for e in effects)
    assert not any(isinstance(e, fx.StartDemotion) for e in effects)


def test_a_suspended_master_serves_on_when_the_same_voters_are_heard_again() -> None:
    bench = master()
    bench.wait(2 * S)
    bench.hear(Role.BACKUP, 6, vote_term=6, vote_for=ME.node_id)  # heard again: from now on it asks
    bench.wait(INTERVAL)
    bench.support()
    assert bench.role() is Role.MASTER
    assert (Role.SUSPENDED, Cause.RESTORED) in bench.causes


def test_a_suspended_master_that_hears_nobody_binds_nobody() -> None:
    bench = master()
    bench.wait(3 * S)
    sent = [e.advert for e in bench.wait(S) if isinstance(e, fx.Send)]
    assert sent
    assert {a.hold_ms for a in sent} == {0}


def test_a_vote_is_on_disk_before_it_is_told() -> None:
    bench = majority()
    bench.wait(S)
    bench.writes = False
    persist = claim(bench, 6)
    assert persist is not None
    assert (persist.persistent.vote_term, persist.persistent.vote_for) == (6, SECOND.node_id)
    assert all(s.advert.vote_for == 0 for s in bench.got(fx.Send))
    bench.tell(ev.StatePersisted(persist.persistent))
    assert [(s.advert.vote_term, s.advert.vote_for) for s in bench.got(fx.Send)] == [(6, SECOND.node_id)]


def test_one_vote_a_term_across_restarts() -> None:
    bench = Bench(Persistent(6, 5, 6, THIRD.node_id), arbiter=Arbiter.MAJORITY)
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    bench.wait(30 * S)
    claim(bench, 6)
    assert vote_of(bench) == (6, THIRD.node_id)


def test_a_restarted_voter_keeps_the_promise_it_may_have_given() -> None:
    bench = Bench(Persistent(5, 5, 5, THIRD.node_id), arbiter=Arbiter.MAJORITY)
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    bench.wait(9 * S)
    claim(bench, 6)
    assert vote_of(bench) == (5, THIRD.node_id)
    bench.wait(2 * S)
    claim(bench, 6)
    assert vote_of(bench) == (6, SECOND.node_id)


@pytest.mark.parametrize("is_judged", [False, True])
def test_a_voter_that_has_not_judged_its_files_does_not_vote_for_a_restart_in_place(is_judged: bool) -> None:
    bench = Bench(Persistent(5, 5, 5, THIRD.node_id), arbiter=Arbiter.MAJORITY)
    bench.makes_standby = is_judged
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False))
    claim(bench, 6, role=Role.MASTER)  # while this voter is bound: followed without its vote
    assert vote_of(bench) == (5, THIRD.node_id)
    bench.now += 11 * S
    claim(bench, 6)
    assert vote_of(bench) == ((6, SECOND.node_id) if is_judged else (5, THIRD.node_id))


def test_a_promise_is_kept_until_the_lease_has_run_out() -> None:
    bench = majority()
    bench.wait(S)
    claim(bench, 6, by=THIRD)
    bench.now += LEASE_MS * MS
    claim(bench, 7)
    assert vote_of(bench) == (6, THIRD.node_id)
    bench.now += 2 * MS
    claim(bench, 7)
    assert vote_of(bench) == (7, SECOND.node_id)


def test_a_resignation_frees_the_voter_at_once() -> None:
    bench = majority()
    bench.wait(S)
    claim(bench, 6, by=THIRD)
    bench.hear(Role.DEMOTING, 6, by=THIRD, flags=Flags.RESIGNED)
    claim(bench, 7)
    assert vote_of(bench) == (7, SECOND.node_id)


@pytest.mark.parametrize(
    ("theirs", "is_granted"),
    [
        (FRESH, True),
        (Freshness(FRESH.metaid, FRESH.version + 1), True),
        (Freshness(FRESH.metaid, FRESH.version - 1), False),
        (Freshness(FRESH.metaid + 1, FRESH.version + 1), False),
        (None, False),
    ],
)
def test_a_candidate_is_at_least_as_fresh_as_each_voter(theirs: Freshness | None, is_granted: bool) -> None:
    bench = majority()
    bench.wait(S)
    claim(bench, 6, freshness=theirs)
    assert (vote_of(bench) == (6, SECOND.node_id)) is is_granted


def test_a_planned_restart_waits_until_a_majority_knows() -> None:
    bench = master()
    bench.tell(ev.StopRequested(keep_serving=True))
    assert not bench.got(fx.Stopped)
    bench.support()
    assert bench.got(fx.Stopped)


def found_serving(persistent: Persistent, *, vip_is_held: bool) -> Bench:
    bench = Bench(persistent, arbiter=Arbiter.MAJORITY)
    bench.tell(ev.LinkChanged(is_up=True))
    bench.tell(ev.WorkerReady(mfsmaster_serves=True, vip_is_held=vip_is_held))
    bench.tell(ev.FreshnessKnown(FRESH, ""))
    return bench


@pytest.mark.parametrize(("voted_for", "term"), [(ME.node_id, 5), (SECOND.node_id, 6)])
def test_a_node_that_adopts_does_not_vote_twice_in_one_term(voted_for: int, term: int) -> None:
    bench = found_serving(Persistent(5, 5, 5, voted_for), vip_is_held=True)
    bench.wait(2 * INTERVAL)
    assert (bench.role(), vote_of(bench)) == (Role.PROMOTING, (term, ME.node_id))


def test_a_mfsmaster_without_the_address_does_not_serve_unproved() -> None:
    bench = found_serving(Persistent(5, 5, 5, ME.node_id), vip_is_held=False)
    for other in (SECOND, THIRD):
        bench.hear(Role.BACKUP, 5, by=other, flags=WELCOMING)
    bench.wait(S)
    bench.hear(Role.BACKUP, 5, flags=WELCOMING)
    assert bench.role() is Role.PROMOTING
    bench.support()
    assert bench.role() is Role.PROMOTING
    assert bench.got(fx.StartPromotion)


def test_a_vote_that_is_being_replaced_is_told_to_nobody() -> None:
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.hear(Role.MASTER, 6, hold_ms=750)
    assert vote_of(bench) == (6, SECOND.node_id)
    bench.writes = False
    bench.wait(3 * S)
    bench.hear(Role.BACKUP, 6, by=THIRD, flags=WELCOMING)
    bench.hear(Role.BACKUP, 6, by=SECOND, flags=WELCOMING)
    assert bench.role() is Role.PROMOTING
    bench.hear(Role.MASTER, 7, by=THIRD, hold_ms=750)
    assert bench.role() is Role.BACKUP
    bench.wait(INTERVAL)
    told = [e.advert for e in bench.got(fx.Send)]
    assert told
    assert {a.vote_for for a in told} == {0}


def test_a_demotion_that_could_not_make_sure_is_no_resignation() -> None:
    bench = in_backup()
    bench.wait(2 * S)
    bench.tell(ev.PromotionReady(bench.term))
    bench.tell(ev.Commanded(ev.OperatorCommand.RESIGN))
    bench.tell(ev.DemotionFinished(bench.term, is_ok=False))
    assert bench.role() is Role.BACKUP
    assert bench.got(fx.StartDemotion)
    assert not [e for e in bench.got(fx.Send) if Flags.RESIGNED in e.advert.flags]


def test_a_restart_in_place_is_proved_anew_before_the_address_returns() -> None:
    bench = found_serving(Persistent(5, 5, 5, ME.node_id), vip_is_held=True)
    bench.wait(2 * INTERVAL)
    bench.support()
    bench.elector._node.is_ready = True
    assert bench.role() is Role.MASTER
    bench.tell(ev.MfsmasterLost(may_restart=True))
    bench.support()
    assert bench.role() is Role.PROMOTING
    bench.tell(ev.PromotionReady(bench.term))
    assert bench.role() is Role.MASTER


def test_what_runs_is_adopted_in_a_new_term_when_the_votes_of_the_old_one_are_used_up() -> None:
    bench = found_serving(Persistent(5, 5, 5, ME.node_id), vip_is_held=True)
    bench.wait(2 * INTERVAL)
    bench.writes = False
    while bench.term == 5 and bench.now < 200 * S:
        bench.hear(Role.BACKUP, 5)
        bench.wait(INTERVAL)
    assert bench.term == 6
    bench.wait(INTERVAL)
    assert not bench.got(fx.Send)
    bench.tell(ev.StatePersisted(bench.elector._node.persistent))
    assert [e.advert.term for e in bench.got(fx.Send)] == [6]


def test_a_suspended_master_gets_the_vote_of_one_that_has_not_voted_yet() -> None:
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.hear(Role.SUSPENDED, 6, hold_ms=750)
    assert vote_of(bench) == (6, SECOND.node_id)


def test_who_asks_beside_a_running_mfsmaster_and_loses_its_worker_gives_the_address_up_first() -> None:
    bench = found_serving(Persistent(5, 5, 5, ME.node_id), vip_is_held=True)
    bench.wait(2 * INTERVAL)
    assert bench.role() is Role.PROMOTING
    effects = bench.tell(ev.WorkerLost())
    assert isinstance(effects[0], fx.DetachVip)
    assert all(Flags.RESIGNED in e.advert.flags for e in bench.got(fx.Send))


@pytest.mark.parametrize(("version", "opens"), [(FRESH.version, True), (FRESH.version + 1, False)])
def test_who_could_not_win_opens_no_term(version: int, opens: bool) -> None:
    """The only other voter that is left has newer files, and would refuse; that it is paused makes no difference."""
    bench = majority(persistent=Persistent(5, 5, 5, SECOND.node_id))
    bench.hear(Role.MASTER, 5, hold_ms=LEASE_MS)
    for _ in range(12):
        files = Freshness(FRESH.metaid, version)
        bench.hear(Role.BACKUP, 5, by=THIRD, flags=WELCOMING | Flags.PAUSED, freshness=files)
        bench.wait(INTERVAL)
    assert (Cause.MASTER_DOWN in [cause for _, cause in bench.causes]) is opens
