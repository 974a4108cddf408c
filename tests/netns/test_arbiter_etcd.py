"""Terms and leases from a real etcd: given to one node, prolonged, lost with the lease, never given twice."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from netns.etcd import EtcdCluster, running
from pycarpd.arbiter.etcd import EtcdArbiter, Listener
from pycarpd.arbiter.gateway import Access, Gateway
from pycarpd.election.model import Freshness
from pycarpd.linux.clock import boottime_ns
from tests.own_network import own_network

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

PREFIX = "/pycarpd/10"
LEASE_S = 2
NS_PER_S = 1_000_000_000


@dataclass
class Node:
    """A node's side of the arbiter, and what it was told."""

    name: str
    urls: tuple[str, ...]
    grants: list[tuple[int, int]] = field(default_factory=list)
    losses: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        listener = Listener(lambda _wish, term, until_ns: self.grants.append((term, until_ns)), self.losses.append)
        gateway = Gateway(Access(self.urls), timeout_s=0.5)
        self.arbiter = EtcdArbiter(gateway, PREFIX, self.name, LEASE_S, boottime_ns, listener)

    @property
    def term(self) -> int:
        return self.grants[-1][0] if self.grants else 0

    @property
    def until_ns(self) -> int:
        return self.grants[-1][1] if self.grants else 0

    @property
    def is_holding(self) -> bool:
        return boottime_ns() < self.until_ns


@asynccontextmanager
async def nodes(etcd: EtcdCluster, *names: str) -> AsyncIterator[tuple[Node, ...]]:
    made = tuple(Node(name, etcd.urls) for name in names)
    for each in made:
        each.arbiter.start()
    try:
        yield made
    finally:
        for each in made:
            await each.arbiter.close()


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is no event of this process
            await asyncio.sleep(0.01)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdCluster]:
    with own_network() as address, running(EtcdCluster.on_address(address, tmp_path)) as cluster:
        yield cluster


@pytest.fixture
def three(tmp_path: Path) -> Iterator[EtcdCluster]:
    with own_network() as address, running(EtcdCluster.on_address(address, tmp_path, 3)) as cluster:
        yield cluster


def play(story: Coroutine[None, None, None]) -> None:
    asyncio.run(story)


def test_one_of_two_is_given_the_term_and_it_is_prolonged(etcd: EtcdCluster) -> None:
    async def story() -> None:
        async with nodes(etcd, "m1", "m2") as (one, two):
            one.arbiter.ask(1, 1, is_adoption=False)
            two.arbiter.ask(1, 1, is_adoption=False)
            await until(lambda: bool(one.grants or two.grants))
            winner, other = (one, two) if one.grants else (two, one)
            first_until_ns = winner.until_ns
            await until(lambda: len(winner.grants) > 2 * LEASE_S * 3)
            assert winner.until_ns > first_until_ns + LEASE_S * NS_PER_S
            assert len({term for term, _ in winner.grants}) == 1
            assert not other.grants

    play(story())


def test_a_term_that_is_given_back_goes_to_the_next_at_once(etcd: EtcdCluster) -> None:
    async def story() -> None:
        async with nodes(etcd, "m1", "m2") as (one, two):
            one.arbiter.ask(1, 7, is_adoption=False)
            await until(lambda: bool(one.grants))
            two.arbiter.ask(1, 7, is_adoption=False)
            await asyncio.sleep(0.3)
            assert not two.grants
            left_ns = one.until_ns
            one.arbiter.release()
            await until(lambda: bool(two.grants))
            assert boottime_ns() < left_ns, "the next did not have to wait for the lease"
            assert two.term > one.term >= 7

    play(story())


def test_a_holder_that_is_gone_is_followed_when_its_lease_has_run_out(etcd: EtcdCluster) -> None:
    async def story() -> None:
        async with nodes(etcd, "m2") as (two,):
            async with nodes(etcd, "m1") as (one,):
                one.arbiter.ask(1, 1, is_adoption=False)
                await until(lambda: bool(one.grants))
            two.arbiter.ask(1, 1, is_adoption=False)
            await until(lambda: bool(two.grants))
            assert two.until_ns - LEASE_S * NS_PER_S > one.until_ns - LEASE_S * NS_PER_S // 100
            assert boottime_ns() > one.until_ns, "nobody is given a term while another may hold one"
            assert two.term > one.term

    play(story())


def test_a_node_that_comes_back_soon_holds_a_term_again(etcd: EtcdCluster) -> None:
    async def story() -> None:
        async with nodes(etcd, "m1") as (before,):
            before.arbiter.ask(1, 1, is_adoption=False)
            await until(lambda: bool(before.grants))
        async with nodes(etcd, "m1") as (after,):
            after.arbiter.ask(1, before.term, is_adoption=True)
            await until(lambda: bool(after.grants))
            assert boottime_ns() < before.until_ns + NS_PER_S
            assert after.term > before.term

    play(story())


def test_a_standby_with_newer_metadata_is_waited_for(etcd: EtcdCluster) -> None:
    async def story() -> None:
        async with nodes(etcd, "m1", "m2") as (stale, fresh):
            stale.arbiter.publish(is_standby=True, is_promotable=True, freshness=Freshness(5, 100, lineage=3))
            fresh.arbiter.publish(is_standby=True, is_promotable=True, freshness=Freshness(5, 90, lineage=4))
            await asyncio.sleep(2.5)
            stale.arbiter.ask(1, 1, is_adoption=False)
            await asyncio.sleep(0.5)
            assert not stale.grants
            fresh.arbiter.ask(1, 1, is_adoption=False)
            await until(lambda: bool(fresh.grants))
            assert not stale.grants

    play(story())


def test_a_hung_etcd_prolongs_nothing_and_the_same_term_is_given_again(etcd: EtcdCluster) -> None:
    async def story() -> None:
        async with nodes(etcd, "m1") as (one,):
            one.arbiter.ask(1, 1, is_adoption=False)
            await until(lambda: bool(one.grants))
            term = one.term
            etcd.servers[0].send(signal.SIGSTOP)
            await asyncio.sleep(LEASE_S + 1.0)
            assert not one.is_holding
            etcd.servers[0].send(signal.SIGCONT)
            await until(lambda: one.is_holding)
            assert one.term == term
            assert not one.losses

    play(story())


def test_who_lost_the_term_to_another_is_told(three: EtcdCluster) -> None:
    async def story() -> None:
        first, *rest = three.servers
        async with nodes(three, "m2") as (two,):
            cut = Node("m1", (first.url,))
            cut.arbiter.start()
            cut.arbiter.ask(1, 1, is_adoption=False)
            await until(lambda: bool(cut.grants))
            for each in three.servers:
                if each is first:
                    each.send(signal.SIGSTOP)
            two.arbiter.ask(1, 1, is_adoption=False)
            await until(lambda: bool(two.grants), 30)
            assert not cut.is_holding
            assert all(each.is_healthy() for each in rest)
            first.send(signal.SIGCONT)
            await until(lambda: bool(cut.losses), 30)
            assert cut.losses == [1]
            assert two.is_holding
            await cut.arbiter.close()

    play(story())


def test_the_death_of_one_member_of_three_disturbs_nobody(three: EtcdCluster) -> None:
    async def story() -> None:
        async with nodes(three, "m1") as (one,):
            one.arbiter.ask(1, 1, is_adoption=False)
            await until(lambda: bool(one.grants))
            term = one.term
            three.servers[0].end()
            count = len(one.grants)
            await until(lambda: len(one.grants) > count + 6, 30)
            assert one.term == term
            assert not one.losses

    play(story())
