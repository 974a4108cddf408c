"""The rehearsal's own parts: clocks that stand still, writes that are torn, a shrinking that keeps the rule."""

from random import Random

import pytest

from pycarpd.sim import faults, schedule
from pycarpd.sim.agenda import NS_PER_MS, NS_PER_S, Agenda
from pycarpd.sim.clock import HostClock
from pycarpd.sim.files import Copy, DataPath
from pycarpd.sim.host import Doom, DoomMoment, Host


@pytest.mark.parametrize("drift_ppm", [-499, 0, 499])
def test_a_clock_that_stood_still_goes_on_where_it_was(drift_ppm: int) -> None:
    agenda, clock, rung = Agenda(), HostClock(drift_ppm=drift_ppm), []
    clock.after(agenda, 2 * NS_PER_S, lambda: rung.append(agenda.now_ns))
    agenda.run_until(NS_PER_S)
    before_ns = clock.local_ns(agenda.now_ns)
    clock.stop(agenda)
    agenda.run_until(11 * NS_PER_S)
    assert clock.local_ns(agenda.now_ns) == before_ns
    clock.go_on(agenda)
    agenda.run_until(20 * NS_PER_S)
    assert rung == [12 * NS_PER_S]
    local_ns = clock.local_ns(15 * NS_PER_S)
    assert clock.local_ns(clock.true_ns(local_ns)) >= local_ns
    assert clock.true_ns(local_ns) <= 15 * NS_PER_S


@pytest.mark.parametrize(
    ("moment", "wanted"), [(DoomMoment.BEFORE, []), (DoomMoment.TORN, ["half"]), (DoomMoment.AFTER, ["whole"])]
)
def test_power_is_lost_around_the_chosen_write_alone(moment: DoomMoment, wanted: list[str]) -> None:
    host, disk = Host(doom=Doom(2, moment)), list[str]()
    assert host.write(lambda: disk.append("first"))
    assert not host.write(lambda: disk.append("whole"), lambda: disk.append("half"))
    assert disk == ["first", *wanted]
    assert host.write(lambda: None)


def test_an_installation_can_be_taken_back_at_any_write() -> None:
    for writes in range(3):
        data = DataPath(logger=Copy(7), own=Copy(5), staging=Copy(7))
        data.remember()
        for write in (lambda data=data: data.displace("x"), data.place)[:writes]:
            write()
        data.take_back("another")
        data.take_back("x")
        data.take_back("x")
        assert data.is_as_before


def test_an_address_behind_a_fence_is_reachable_for_the_lease_only() -> None:
    host = Host(has_mfsmaster=True)
    host.kernel.attach(host.now_ns, has_fence=True)
    assert not host.serves
    host.kernel.renew(host.now_ns + NS_PER_S, host.now_ns)
    assert host.serves
    host.agenda.run_until(NS_PER_S)
    assert not host.serves
    assert host.holds_vip


def test_a_seed_draws_each_kind_of_fault_now_and_then() -> None:
    drawn = {
        moment.fault
        for seed in range(200)
        for moment in schedule.draw_moments(Random(seed), schedule.draw_plan(Random(seed)), ("meta1", "meta2"))
    }
    assert drawn == {fault.__name__ for fault in faults.FAULTS}


def test_moments_come_in_order_and_within_the_time_of_the_faults() -> None:
    plan = schedule.draw_plan(Random(3), duration_ns=NS_PER_S)
    moments = schedule.draw_moments(Random(3), plan, ("meta1",))
    assert [m.at_ns for m in moments] == sorted(m.at_ns for m in moments)
    assert all(0 < m.at_ns < 1000 * NS_PER_MS for m in moments)


def test_what_the_old_mfsmaster_writes_before_it_is_ended_is_no_trace_of_a_plan() -> None:
    data = DataPath(own=Copy(5, ((1, 5),)), staging=Copy(7, ((1, 7),)))
    data.remember()
    data.write(1)
    assert data.is_as_before
    data.displace("x")
    data.place()
    data.write(2)
    assert not DataPath(own=data.own, before=(None, Copy(5, ((1, 5),)))).is_as_before
    data.take_back("x")
    assert data.own == Copy(6, ((1, 6),))
    assert data.is_as_before


def test_a_term_without_lines_leaves_what_stands_around_it_one_piece() -> None:
    copy = Copy(203, ((0, 1), (1, 37), (2, 48), (3, 48), (2, 203)))
    assert copy.lines == ((0, 1), (1, 37), (2, 203))
    assert Copy(1, ()).lines == ()
