"""The histogram counts every wake-up once, in the bucket that its bound names."""

from hypothesis import given
from hypothesis import strategies as st

from pycarpd.daemon.lateness import BUCKETS_US, Lateness


def test_a_wake_up_exactly_at_a_bound_counts_below_it() -> None:
    for index, bound_us in enumerate(BUCKETS_US):
        lateness = Lateness()
        lateness.note(bound_us * 1000)
        lateness.note((bound_us + 1) * 1000)
        counts = lateness.counts()
        assert counts[index] == 1
        assert counts[index + 1] == 1
        assert sum(counts) == 2


def test_a_wake_up_before_its_time_is_not_late() -> None:
    lateness = Lateness()
    lateness.note(-5_000_000)
    assert lateness.counts()[0] == 1
    assert lateness.sum_us == 0


@given(st.lists(st.integers(min_value=0, max_value=10**12)))
def test_every_wake_up_is_counted_once_and_the_size_is_fixed(late_ns: list[int]) -> None:
    lateness = Lateness()
    for each in late_ns:
        lateness.note(each)
    counts = lateness.counts()
    assert len(counts) == len(BUCKETS_US) + 1
    assert sum(counts) == len(late_ns)
    assert lateness.sum_us == sum(each // 1000 for each in late_ns)
    assert counts[-1] == sum(each // 1000 > BUCKETS_US[-1] for each in late_ns)
