from hypothesis import given
from hypothesis import strategies as st

from pycarpd.linux.stamps import StampConverter

MS = 1_000_000
instants = st.integers(0, 10**15)
spans = st.integers(0, 10**12)
steps = st.integers(-(10**14), 10**14)


@given(empty_ns=instants, waited_ns=spans, queued_ns=spans, offset_ns=steps, step_ns=steps, step_before=st.booleans())
def test_one_clock_step_never_makes_a_datagram_look_younger_or_older_than_possible(
    empty_ns: int, waited_ns: int, queued_ns: int, offset_ns: int, step_ns: int, *, step_before: bool
) -> None:
    arrived_ns = empty_ns + waited_ns
    asked_ns = arrived_ns + queued_ns
    stamp_ns = arrived_ns + offset_ns + (step_ns if step_before else 0)
    received_ns = StampConverter(empty_ns, offset_ns).received_ns(stamp_ns, asked_ns, offset_ns + step_ns)
    assert empty_ns <= received_ns <= arrived_ns


@given(empty_ns=instants, waited_ns=spans, queued_ns=spans, offset_ns=steps)
def test_without_a_step_the_arrival_is_exact(empty_ns: int, waited_ns: int, queued_ns: int, offset_ns: int) -> None:
    arrived_ns = empty_ns + waited_ns
    converter = StampConverter(empty_ns, offset_ns)
    assert converter.received_ns(arrived_ns + offset_ns, arrived_ns + queued_ns, offset_ns) == arrived_ns


@given(stamp_ns=st.none() | steps, offset_ns=steps)
def test_any_stamp_stays_between_the_last_empty_queue_and_the_asking(stamp_ns: int | None, offset_ns: int) -> None:
    assert 5 * MS <= StampConverter(5 * MS, 0).received_ns(stamp_ns, 9 * MS, offset_ns) <= 9 * MS


def test_a_stamp_made_while_reading_counts_as_unknown() -> None:
    assert StampConverter(5 * MS, 0).received_ns(9 * MS + 1, 9 * MS, 0) == 5 * MS


def test_an_empty_queue_moves_the_lower_bound() -> None:
    converter = StampConverter(5 * MS, 0)
    converter.queue_was_empty(8 * MS, 100)
    assert converter.received_ns(None, 9 * MS, 100) == 8 * MS
    assert converter.received_ns(8 * MS + 150, 9 * MS, 100) == 8 * MS + 50
