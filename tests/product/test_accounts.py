"""What explains a file that is missing after a failover, and what does not."""

from netns.writer import Acknowledged, Damage, Failure, Verdict
from tests.product.accounts import EXISTS, made_unheard, told_last, unexplained

FILES = [Acknowledged(f"a{number}", 1, "", at_ns, at_ns + 5_000_000) for number, at_ns in enumerate((0, 10**7, 10**9))]
S = 1_000_000_000
DAMAGED = Verdict(3, (Damage("a1", "short", 20),), 7)


def test_a_lost_operation_explains_the_file_it_is_about_and_no_other() -> None:
    assert not unexplained(DAMAGED, ["5: 1|CREATE(7,a1,1,420,0,0,0,0):20"])
    assert not unexplained(DAMAGED, ["6: 1|LENGTH(20,4096,0)"])
    assert unexplained(DAMAGED, ["5: 1|CREATE(8,a1,1,420,0,0,0,0):21", "6: 1|LENGTH(2,4096,0)"])


def test_only_the_last_file_before_mfsmaster_was_killed_can_have_been_told_to_nobody_else() -> None:
    assert told_last(FILES, [14_000_000]) == {"a1"}
    assert told_last(FILES, [14_000_000, 2 * 10**9]) == {"a1", "a2"}
    assert told_last(FILES, []) == set()
    assert told_last([], [14_000_000]) == set()


def test_a_file_that_was_made_while_mfsmaster_died_is_no_error_to_the_writer_that_hears_it_exists() -> None:
    files = [Acknowledged("f1", 1, "", 1 * S, 2 * S), Acknowledged("f3", 1, "", 11 * S, 12 * S)]
    exists = Failure("f2", f"{EXISTS} File exists: f2", 10 * S)
    assert made_unheard([exists], files, [3 * S]) == {"f2"}
    assert made_unheard([Failure("f2", "[Errno 5] f2", 10 * S)], files, [3 * S]) == set()
    assert made_unheard([exists], files, []) == set()
    between = Acknowledged("f1b", 1, "", 5 * S, 6 * S)  # heard of since: nothing was under way any more
    assert made_unheard([exists], [*files, between], [3 * S]) == set()
