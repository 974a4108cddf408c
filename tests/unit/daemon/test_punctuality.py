"""A node that may be late asks for more patience, says so, and asks for none that it has not told."""

from dataclasses import replace

import pytest

from pycarpd.daemon import punctuality
from pycarpd.daemon.punctuality import KEPT_INTERVAL_NS, Punctuality
from pycarpd.election.timing import NS_PER_MS
from pycarpd.linux.realtime import Degradation
from tests.unit.election.bench import settings

FAST = replace(settings(), interval_ns=10 * NS_PER_MS)
REFUSED = Degradation("no-realtime", "refused", "grant it")
OTHER = Degradation("memory-not-locked", "refused", "grant it")


def test_a_punctual_node_promises_its_own_interval() -> None:
    of = Punctuality((OTHER,))
    assert of.promised(FAST) == FAST
    assert of.changed() is None
    assert of.degradations(None, REFUSED) == (OTHER, REFUSED)


@pytest.mark.parametrize("code", ["no-realtime", "no-priority"])
def test_a_node_that_may_be_late_asks_for_patience_and_says_how_much(code: str) -> None:
    of = Punctuality((OTHER, replace(REFUSED, code=code)))
    promised = of.promised(FAST)
    assert (promised.interval_ns, promised.told_interval_ns) == (FAST.interval_ns, KEPT_INTERVAL_NS)
    assert promised.patience_ns == FAST.missed_adverts * KEPT_INTERVAL_NS
    assert of.degradations()[0] == OTHER
    assert of.degradations()[1].detail == "refused; the others wait for it as for adverts 50 ms apart"
    assert of.changed() is None


def test_an_interval_that_can_be_kept_is_promised_as_it_is() -> None:
    of = Punctuality((REFUSED,))
    slow = replace(FAST, interval_ns=KEPT_INTERVAL_NS)
    assert of.promised(slow) == slow
    assert of.degradations() == (REFUSED,)


def test_what_is_taken_away_later_changes_the_promise_once(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Punctuality(())
    of.promised(FAST)
    monkeypatch.setattr(punctuality, "lost_realtime", lambda: REFUSED)
    promised = of.changed()
    assert promised is not None
    assert promised.told_interval_ns == KEPT_INTERVAL_NS
    assert [each.code for each in of.degradations()] == ["no-realtime"]
    assert of.changed() is None
