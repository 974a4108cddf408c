import select

from pycarpd.linux.clock import DeadlineTimer, boottime_ns, realtime_ns, realtime_offset_ns

MS = 1_000_000


def is_readable(timer: DeadlineTimer, timeout_s: float) -> bool:
    return bool(select.select([timer], [], [], timeout_s)[0])


def test_a_deadline_is_never_early_and_comes_once() -> None:
    with DeadlineTimer() as timer:
        deadline_ns = boottime_ns() + 30 * MS
        timer.arm(deadline_ns)
        assert timer.acknowledge() == 0
        assert is_readable(timer, 10)
        assert boottime_ns() >= deadline_ns
        assert timer.acknowledge() == 1
        assert timer.acknowledge() == 0
        assert not is_readable(timer, 0.05)


def test_past_and_zero_deadlines_expire_at_once() -> None:
    with DeadlineTimer() as timer:
        for deadline_ns in (boottime_ns() - MS, 0, -5):
            timer.arm(deadline_ns)
            assert is_readable(timer, 10)
            assert timer.acknowledge() == 1


def test_arming_again_replaces_and_disarming_forgets() -> None:
    with DeadlineTimer() as timer:
        timer.arm(boottime_ns() - MS)
        timer.arm(boottime_ns() + 3600_000 * MS)
        assert not is_readable(timer, 0.02)
        timer.arm(boottime_ns() - MS)
        timer.disarm()
        assert not is_readable(timer, 0.02)
        timer.close()
        timer.close()


def test_the_offset_leads_from_the_wall_clock_to_the_boot_clock() -> None:
    offset_ns = realtime_offset_ns()
    before_ns, wall_ns, after_ns = boottime_ns(), realtime_ns(), boottime_ns()
    assert before_ns - 200 * MS <= wall_ns - offset_ns <= after_ns + 200 * MS
