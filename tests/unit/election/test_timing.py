import pytest

from pycarpd.election import timing
from tests.unit.election.bench import INTERVAL, MS, S


@pytest.mark.parametrize(
    ("priority", "demotion", "expected_ns"),
    [
        (254, 0, INTERVAL * 2 // 256),
        (100, 0, INTERVAL * 156 // 256),
        (1, 0, INTERVAL * 255 // 256),
        (100, timing.DEMOTION_FULL, INTERVAL * (156 + 240 * 32) // 256),
    ],
)
def test_skew_is_a_share_of_the_interval(priority: int, demotion: int, expected_ns: int) -> None:
    assert timing.skew_ns(INTERVAL, priority, demotion) == expected_ns


def test_without_demotion_every_skew_is_below_one_interval() -> None:
    skews = [timing.skew_ns(INTERVAL, priority, 0) for priority in range(1, 255)]
    assert skews == sorted(skews, reverse=True)
    assert 0 < skews[-1] < skews[0] < INTERVAL


def test_one_failure_puts_a_node_behind_every_other_by_many_intervals() -> None:
    failed = timing.skew_ns(INTERVAL, 254, timing.DEMOTION_FULL)
    assert failed > timing.skew_ns(INTERVAL, 1, 0) + 25 * INTERVAL


@pytest.mark.parametrize(
    ("priority", "demotion", "expected"),
    [(254, 0, 0), (1, 0, 253), (254, 1, 240), (254, 1920, 240), (1, 1, 253)],
)
def test_the_headers_skew_says_ill_from_240_on(priority: int, demotion: int, expected: int) -> None:
    assert timing.advskew(priority, demotion) == expected


def test_the_headers_skew_is_never_that_of_a_resignation() -> None:
    assert all(timing.advskew(p, d) <= timing.ADVSKEW_MAX for p in range(256) for d in (0, 1, 240, 1920) if p <= 254)


@pytest.mark.parametrize(("own", "peer", "larger"), [(250, 250, 250), (250, 1000, 1000), (1000, 10, 1000)])
def test_the_master_down_interval_takes_the_larger_of_both_intervals(own: int, peer: int, larger: int) -> None:
    assert timing.master_down_interval_ns(own * MS, peer * MS, 3, 7) == 3 * larger * MS + 7


def test_demotion_halves_each_half_life_and_ends() -> None:
    half_life = 30 * S
    left = [timing.decayed_demotion(240, age * S, half_life) for age in range(0, 600, 5)]
    assert left == sorted(left, reverse=True)
    assert left[0] == 240
    assert timing.decayed_demotion(240, half_life, half_life) == 120
    assert timing.decayed_demotion(240, half_life // 2, half_life) == 180
    assert left[-1] == 0
    assert timing.decayed_demotion(240, -5, half_life) == 240


def test_a_suspended_master_listens_less_than_its_backups_wait_and_hears_two_adverts() -> None:
    listening = timing.listening_ns(INTERVAL, 3)
    assert 2 * INTERVAL < listening < 3 * INTERVAL - INTERVAL // 2
    assert timing.listening_ns(INTERVAL, 1) > INTERVAL
