from pycarpd.wire.replay import WINDOW, ReplayWindow


def begun(at: int = 100) -> ReplayWindow:
    window = ReplayWindow()
    window.begin(7, at)
    return window


def test_nothing_has_been_heard_at_first() -> None:
    window = ReplayWindow()
    assert window.epoch == -1
    assert not window.has_heard(0)


def test_each_sequence_is_fresh_once_in_any_order() -> None:
    window = begun()
    for sequence in (101, 105, 103, 102, 104):
        assert window.is_fresh(sequence)
        window.take(sequence)
        assert not window.is_fresh(sequence)
        assert window.has_heard(sequence)
    assert window.newest == 105


def test_taking_tells_whether_it_was_the_newest() -> None:
    window = begun()
    assert window.take(110)
    assert not window.take(105)


def test_what_is_older_than_the_window_is_never_fresh() -> None:
    window = begun(1000)
    assert window.is_fresh(1000 - WINDOW + 1)
    assert not window.is_fresh(1000 - WINDOW)
    assert not window.has_heard(1000 - WINDOW)


def test_a_leap_forgets_the_old_window_and_stays_bounded() -> None:
    window = begun()
    window.take(100 + WINDOW)
    assert window.is_fresh(101)
    window.take(2**64 - 1)
    assert window.seen == 1
    for sequence in range(2**64 - WINDOW, 2**64 - 1):
        window.take(sequence)
    assert window.seen == 2**WINDOW - 1
