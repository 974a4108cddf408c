"""A node's dealings with etcd: asking for a term, prolonging its lease, giving it back, telling what its files prove.

The lease is an etcd lease. It counts here from the moment its grant or renewal was *asked for*, shrunk by the bound on
clock drift, and at etcd from the moment the request was handled: so a holder stops before anybody else can be given
the master's key, without synchronised clocks. Each renewal looks at the key too: a lease without it proves nothing.

A node whose lease ran out unnoticed (etcd was out of reach) gets the same term again, if none was given since.
A candidate waits for a member that stands by, could be promoted, and whose files are newer than its own: all of them
tell etcd, so all see the same. Nothing here decides anything else: the election hears of terms granted and lost.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pycarpd.arbiter import records
from pycarpd.arbiter.gateway import Gateway, GatewayFault
from pycarpd.arbiter.records import Holder, MemberRecord, Standings
from pycarpd.election.freshness import is_newer
from pycarpd.election.model import Freshness

logger = logging.getLogger(__name__)

NS_PER_S = 1_000_000_000
DRIFT_PPM = 1000
ASK_EVERY_S = 0.1
RENEWALS_PER_LEASE = 6
PUBLISH_EVERY_S = 1.0
RELEASE_WITHIN_S = 2.0


class Stage(Enum):
    """What this node has to do with the master's key."""

    IDLE = "idle"
    ASKING = "asking"
    HOLDING = "holding"


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of terms: ``granted`` (wish, term, until_ns), ``lost`` (wish)."""

    granted: Callable[[int, int, int], None]
    lost: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Grant:
    """A term with the lease it is bound to."""

    term: int
    lease_id: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a claim did not succeed, in words for the log; *is_final*: another node was given a newer term."""

    detail: str
    is_final: bool = False


class EtcdArbiter:
    """One node's side of the arbiter; runs in the worker's event loop. ``clock_ns`` is CLOCK_BOOTTIME."""

    def __init__(
        self, gateway: Gateway, prefix: str, node: str, lease_s: int, clock_ns: Callable[[], int], listener: Listener
    ) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._node = node
        self._lease_s = lease_s
        self._clock_ns = clock_ns
        self._listener = listener
        self._stage = Stage.IDLE
        self._wish = 0
        self._term = 0
        self._is_adoption = False
        self._grant: Grant | None = None
        self._record = MemberRecord(node, is_standby=False, is_promotable=False, freshness=None)
        self._published: MemberRecord | None = None
        self._session_id = 0
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._releases: set[asyncio.Task[None]] = set()
        self._refusal = ""
        self.answered_ns = 0

    def start(self) -> tuple["asyncio.Task[None]", ...]:
        """Begin to publish, and to do what is asked for; returns the tasks, which end only by ``close`` or a bug."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._publish_for_ever())]
        return tuple(self._tasks)

    async def close(self) -> None:
        """End: what was given back is told to etcd first; a term that is held stays held until its lease ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._releases:
            await asyncio.wait(self._releases, timeout=RELEASE_WITHIN_S)
        await self._gateway.close()

    def ask(self, wish: int, term: int, *, is_adoption: bool) -> None:
        """Ask for a term, *term* at least, again and again until it is given or the wish of that number is taken back.

        *is_adoption*: mfsmaster runs here already, so no fresher member is waited for.
        """
        self.release()
        self._stage, self._wish, self._term, self._is_adoption = Stage.ASKING, wish, term, is_adoption

    def release(self, *, is_free: bool = True) -> None:
        """Stop asking, or give back the term that is held; where it is not *free* yet its lease is to run out."""
        grant, self._grant = self._grant, None
        self._stage = Stage.IDLE
        self._wake.set()
        if grant is not None and is_free:
            self._release(grant.lease_id)

    def publish(self, *, is_standby: bool, is_promotable: bool, freshness: Freshness | None) -> None:
        """Tell the others, within a second or so, what this node's files prove."""
        self._record = MemberRecord(self._node, is_standby, is_promotable, freshness)

    def _release(self, lease_id: int) -> None:
        task = asyncio.get_running_loop().create_task(self._revoke(lease_id))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _revoke(self, lease_id: int) -> None:
        """Give the lease back; where etcd cannot be reached it runs out by itself."""
        answer = await self._ask("/v3/lease/revoke", {"ID": lease_id})
        if isinstance(answer, GatewayFault):
            logger.warning("cannot give the lease back, it runs out by itself fault=%s", answer.detail)

    async def _run(self) -> None:
        while True:
            match self._stage:
                case Stage.IDLE:
                    await self._wake.wait()
                case Stage.ASKING:
                    await self._try_to_claim()
                case Stage.HOLDING:
                    await self._renew()
            self._wake.clear()

    async def _try_to_claim(self) -> None:
        wish = self._wish
        answer = await self._claim(self._term, is_adoption=self._is_adoption)
        if self._stage is not Stage.ASKING or wish != self._wish:
            if isinstance(answer, Grant):
                self._release(answer.lease_id)
            return
        if isinstance(answer, Grant):
            self._grant, self._stage, self._refusal = answer, Stage.HOLDING, ""
            logger.info("etcd has given term=%d lease_s=%d", answer.term, self._lease_s)
            self._listener.granted(wish, answer.term, answer.until_ns)
            return
        self._note(answer)
        await self._sleep(ASK_EVERY_S)

    def _note(self, refusal: Refusal) -> None:
        if refusal.detail != self._refusal:
            self._refusal = refusal.detail
            logger.info("not given the master's key: %s", refusal.detail)

    async def _claim(self, term: int, *, is_adoption: bool) -> Grant | Refusal:
        """Try once to become the holder of a new term."""
        standings = await self._read()
        if isinstance(standings, Refusal):
            return standings
        holder = standings.holder
        if holder is not None and holder.node != self._node:
            return Refusal(f"{holder.node} holds term {holder.term}")
        fresher = None if is_adoption else self._fresher(standings)
        if fresher is not None:
            return Refusal(f"{fresher} has newer metadata")
        new_term = self._next_term(standings, term)
        return await self._write(standings, new_term, is_new=True)

    def _next_term(self, standings: Standings, wanted: int) -> int:
        """Return a term that is newer than any: etcd's revision, unless terms have run ahead of it.

        A claim whose answer was lost may have succeeded: the same node then asks again, and gets a newer one.
        """
        return max(standings.revision + 1, standings.term + 1, wanted)

    def _fresher(self, standings: Standings) -> str | None:
        own = self._record.freshness
        for each in standings.members:
            if each.node == self._node or not (each.is_standby and each.is_promotable) or each.freshness is None:
                continue
            if own is None or is_newer(each.freshness, own):
                return each.node
        return None

    async def _write(self, standings: Standings, term: int, *, is_new: bool) -> Grant | Refusal:
        began_ns = self._clock_ns()
        lease_id = await self._new_lease(self._lease_s)
        if isinstance(lease_id, Refusal):
            return lease_id
        body_of = records.claim_body if is_new else records.renewed_body
        answer = await self._ask("/v3/kv/txn", body_of(self._prefix, standings, self._node, term, lease_id))
        if isinstance(answer, GatewayFault):
            self._release(lease_id)  # the transaction may have succeeded all the same: with its lease goes its key
            return Refusal(answer.detail)
        if not answer.get("succeeded", False):
            self._release(lease_id)
            return Refusal("another node was faster")
        return Grant(term, lease_id, began_ns + self._lease_ns())

    def _lease_ns(self) -> int:
        whole_ns = self._lease_s * NS_PER_S
        return whole_ns - whole_ns * DRIFT_PPM // 1_000_000

    async def _renew(self) -> None:
        grant = self._grant
        if grant is None:
            self._stage = Stage.IDLE
            return
        began_ns = self._clock_ns()
        renewed = await self._keep_alive(grant, began_ns)
        if self._grant is not grant:
            return
        if isinstance(renewed, Grant):
            self._grant = renewed
            self._listener.granted(self._wish, renewed.term, renewed.until_ns)
        elif renewed.is_final:
            self._grant, self._stage = None, Stage.IDLE
            logger.warning("term=%d is lost: %s", grant.term, renewed.detail)
            self._listener.lost(self._wish)
        else:
            self._note(renewed)
            await self._sleep(ASK_EVERY_S)
            return
        elapsed_s = (self._clock_ns() - began_ns) / NS_PER_S
        await self._sleep(max(0.0, self._lease_s / RENEWALS_PER_LEASE - elapsed_s))

    async def _keep_alive(self, grant: Grant, began_ns: int) -> Grant | Refusal:
        answer = await self._ask("/v3/lease/keepalive", {"ID": grant.lease_id})
        if isinstance(answer, GatewayFault):
            return Refusal(answer.detail)
        standings = await self._read()
        if isinstance(standings, Refusal):
            return standings
        is_alive = int(answer.get("result", {}).get("TTL", 0)) > 0
        if is_alive and self._is_held(standings.holder, grant):
            return Grant(grant.term, grant.lease_id, began_ns + self._lease_ns())
        if standings.holder is not None and not self._is_held(standings.holder, grant):
            return Refusal(f"{standings.holder.node} holds term {standings.holder.term}", is_final=True)
        if standings.term != grant.term:
            return Refusal(f"term {standings.term} was given since", is_final=True)
        return await self._write(standings, grant.term, is_new=False)

    def _is_held(self, holder: Holder | None, grant: Grant) -> bool:
        return holder is not None and (holder.node, holder.term) == (self._node, grant.term)

    async def _new_lease(self, lease_s: int) -> int | Refusal:
        answer = await self._ask("/v3/lease/grant", {"TTL": lease_s})
        if isinstance(answer, GatewayFault):
            return Refusal(answer.detail)
        return int(answer["ID"])

    async def _read(self) -> Standings | Refusal:
        answer = await self._ask("/v3/kv/range", records.range_body(self._prefix))
        if isinstance(answer, GatewayFault):
            return Refusal(answer.detail)
        standings = records.parse_standings(self._prefix, answer)
        return (
            Refusal(f"what stands below {self._prefix} was not written by pycarpd") if standings is None else standings
        )

    async def _ask(self, path: str, body: records.Body) -> records.Body | GatewayFault:
        answer = await self._gateway.ask(path, body)
        if not isinstance(answer, GatewayFault):
            self.answered_ns = self._clock_ns()
        return answer

    async def _sleep(self, duration_s: float) -> None:
        """Wait, or until something is asked for."""
        try:
            async with asyncio.timeout(duration_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _publish_for_ever(self) -> None:
        while True:
            await self._publish()
            await asyncio.sleep(PUBLISH_EVERY_S)

    async def _publish(self) -> None:
        """Keep this member's session alive, and its record as it is."""
        if self._session_id:
            answer = await self._ask("/v3/lease/keepalive", {"ID": self._session_id})
            if isinstance(answer, GatewayFault):
                return
            if int(answer.get("result", {}).get("TTL", 0)) <= 0:
                self._session_id = 0
        if not self._session_id:
            lease_id = await self._new_lease(self._lease_s)
            if isinstance(lease_id, Refusal):
                return
            self._session_id, self._published = lease_id, None
        record = self._record
        if record != self._published:
            body = records.member_body(self._prefix, record, self._session_id)
            if not isinstance(await self._ask("/v3/kv/put", body), GatewayFault):
                self._published = record
