"""Clusters whose terms come from an etcd: the same rules, and bugs in the dealings with it that they notice."""

from collections.abc import Callable
from typing import Any

import pytest

from pycarpd.election import events as ev
from pycarpd.election import granting
from pycarpd.election import node as nodes
from pycarpd.election.effects import ReleaseTerm
from pycarpd.election.model import Arbiter
from pycarpd.sim import etcd
from pycarpd.sim.etcd import EtcdClient, SimEtcd
from pycarpd.sim.rehearsal import draw, perform

SEEDS = 60
SEARCHED = 150


def violation_of(seed: int) -> str:
    return perform(draw(seed, Arbiter.ETCD)).violation


@pytest.mark.timeout(300)
def test_no_rule_is_broken() -> None:
    broken = [found for seed in range(SEEDS) if (found := violation_of(seed))]
    assert not broken, "\n".join(broken)


def count_the_lease_from_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(self: EtcdClient, wish: Any, _began_ns: int) -> None:
        self.report(ev.TermGranted(wish.wish, self.term, self.host.now_ns + etcd.LEASE_NS + etcd.TIMEOUT_NS))

    monkeypatch.setattr(EtcdClient, "_tell_granted", tell)


def give_a_term_whoever_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimEtcd, "_holder", lambda _self: None)


def give_the_term_back_before_mfsmaster_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Release the lease as soon as a demotion begins, and keep the address until it is over."""
    usual = granting.settle

    def settle(node: nodes.Node) -> None:
        if node.role.claims and node.grant_term and node.claimed_term % 3 == 0:
            node.effects.append(ReleaseTerm(is_free=True))
        usual(node)

    monkeypatch.setattr(granting, "settle", settle)


BUGS = (count_the_lease_from_the_answer, give_a_term_whoever_holds_it, give_the_term_back_before_mfsmaster_is_stopped)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", BUGS)
def test_a_planted_bug_is_noticed(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert any(violation_of(seed) for seed in range(SEARCHED))
