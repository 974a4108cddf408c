"""ucarp's rules, step by step, and what is kept out of them."""

import pytest

from pycarpd.election.carp import (
    Announce,
    CarpNode,
    DemotionAsked,
    Effect,
    EndAsked,
    Ended,
    Entered,
    Event,
    Heard,
    LinkSeen,
    Rules,
    RunScript,
    Script,
    ScriptEnded,
    SendAdvert,
    Sent,
    State,
    Ticked,
)

S = 1_000_000_000
LOW, OWN, HIGH = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 5]), bytes([192, 0, 2, 9])


def rules(**changes: int) -> Rules:
    known = {"advbase": 1, "advskew": 0, "dead_ratio": 3, "preempt": False, "neutral": False}
    return Rules(**(known | changes), source=OWN)  # type: ignore[arg-type]  # booleans are given as such


class Bench:
    """A node, its time, and what it did since it was last asked."""

    def __init__(self, **changes: int) -> None:
        self.node = CarpNode(rules(**changes))
        self.now_ns = 10 * S
        self.told(LinkSeen(is_up=True))
        self.told(ScriptEnded())

    def told(self, event: Event) -> list[Effect]:
        return list(self.node.handle(event, self.now_ns))

    def until_due(self, late_ns: int = 0) -> list[Effect]:
        due_ns = self.node.next_deadline()
        assert due_ns is not None
        self.now_ns = due_ns + late_ns
        return self.told(Ticked(late_ns))

    def as_master(self) -> "Bench":
        self.until_due()
        self.told(ScriptEnded())
        return self


def test_the_downscript_runs_at_the_start_unless_neutral() -> None:
    assert CarpNode(rules()).handle(LinkSeen(is_up=True), 0) == (Entered(State.BACKUP), RunScript(Script.DOWN))
    assert CarpNode(rules(neutral=True)).handle(LinkSeen(is_up=True), 0) == (Entered(State.BACKUP),)


def test_a_silent_master_is_replaced_after_three_bases_and_one_skew() -> None:
    bench = Bench(advskew=128)
    began_ns = bench.now_ns
    done = bench.until_due()
    assert bench.now_ns - began_ns == 3 * S + S // 2
    assert done == [Entered(State.MASTER), SendAdvert(1, 128), RunScript(Script.UP)]


def test_the_address_is_announced_when_the_script_has_ended_and_two_adverts_later() -> None:
    bench = Bench()
    bench.until_due()
    assert bench.until_due() == [SendAdvert(1, 0)], "adverts go on while the script works"
    assert bench.told(ScriptEnded()) == [Announce()]
    assert bench.until_due() == [SendAdvert(1, 0)]
    assert bench.until_due() == [SendAdvert(1, 0), Announce()]
    assert bench.until_due() == [SendAdvert(1, 0)]


@pytest.mark.parametrize(
    ("advert", "gives_way"),
    [
        (Heard(1, 0, LOW), True),
        (Heard(1, 0, HIGH), False),
        (Heard(0, 255, HIGH), True),
        (Heard(1, 1, LOW), False),
        (Heard(255, 255, LOW), False),
    ],
)
def test_a_master_gives_way_to_the_better_advert_alone(advert: Heard, gives_way: bool) -> None:
    done = Bench().as_master().told(advert)
    if gives_way:
        assert done == [SendAdvert(1, 0), Entered(State.BACKUP), RunScript(Script.DOWN)]
    else:
        assert done == [SendAdvert(1, 0), Announce()]


def test_a_backup_follows_a_worse_master_unless_it_preempts() -> None:
    assert Bench().told(Heard(1, 100, HIGH)) == []
    assert Entered(State.MASTER) in Bench(preempt=True).told(Heard(1, 100, HIGH))
    assert Bench(preempt=True).told(Heard(1, 0, HIGH)) == []


def test_a_resignation_is_followed_at_once() -> None:
    assert Entered(State.MASTER) in Bench().told(Heard(255, 255, HIGH))


def test_each_advert_puts_the_takeover_off() -> None:
    bench = Bench()
    bench.now_ns += 2 * S
    bench.told(Heard(1, 0, HIGH))
    assert bench.node.next_deadline() == bench.now_ns + 3 * S


def test_scripts_never_overlap_and_what_became_pointless_is_not_run() -> None:
    bench = Bench()
    bench.until_due()
    assert RunScript(Script.DOWN) not in bench.told(Heard(1, 0, LOW)), "the upscript runs still"
    assert bench.told(ScriptEnded()) == [RunScript(Script.DOWN)]
    assert RunScript(Script.UP) not in bench.told(Heard(255, 255, LOW))
    bench.told(Heard(1, 0, LOW))
    assert bench.told(ScriptEnded()) == [], "down is what was run and what is wanted"


def test_who_is_demoted_gives_up_audibly_behind_the_script_and_listens() -> None:
    bench = Bench().as_master()
    assert bench.told(DemotionAsked()) == [Entered(State.BACKUP), RunScript(Script.DOWN)]
    assert bench.told(ScriptEnded()) == [SendAdvert(255, 255)]
    assert bench.node.next_deadline() == bench.now_ns + 6 * S
    assert Bench().told(DemotionAsked()) == []


def test_a_master_that_ends_runs_its_script_and_resigns() -> None:
    bench = Bench().as_master()
    assert bench.told(EndAsked()) == [Entered(State.BACKUP), RunScript(Script.DOWN)]
    assert bench.told(Heard(255, 255, LOW)) == [], "nothing begins any more"
    assert bench.told(ScriptEnded()) == [SendAdvert(255, 255), Ended()]
    assert Bench().told(EndAsked()) == [Ended()]


def test_without_a_carrier_there_is_no_master() -> None:
    bench = Bench().as_master()
    assert bench.told(LinkSeen(is_up=False)) == [Entered(State.BACKUP), RunScript(Script.DOWN)]
    assert bench.node.next_deadline() is None
    bench.told(LinkSeen(is_up=True))
    assert bench.node.next_deadline() == bench.now_ns + 3 * S


def test_who_wakes_up_late_listens_once_before_it_takes_over() -> None:
    bench = Bench()
    assert bench.until_due(late_ns=30 * S) == []
    assert Entered(State.MASTER) in bench.until_due(late_ns=30 * S)


def test_three_failed_sends_make_a_node_ill_and_three_good_ones_well() -> None:
    bench = Bench().as_master()
    for _ in range(3):
        bench.told(Sent(is_ok=False))
    assert bench.until_due()[0] == SendAdvert(1, 240)
    bench.told(Sent(is_ok=True))
    bench.told(Sent(is_ok=False))
    for _ in range(3):
        bench.told(Sent(is_ok=True))
    assert bench.until_due()[0] == SendAdvert(1, 0)
