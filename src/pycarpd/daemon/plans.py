"""The worker's desk for plans: one runs, at most one waits, the newest wish counts.

What the election asks for may overtake what is in progress. A demotion ends a promotion (undone, or, once clients were
served, stopped); a promotion waits for a demotion, which is on the way to it. A promotion that was overtaken is not
reported, since nobody waits for its end any more.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from pycarpd.daemon.jobs import HandoverListener, Job, Kind, Listener
from pycarpd.election.model import Freshness
from pycarpd.linux.clock import realtime_ns
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.takeover.context import Context, Request, TakeoverSettings
from pycarpd.takeover.demote import DEMOTE
from pycarpd.takeover.events import Outcome
from pycarpd.takeover.executor import PlanExecutor, StepProgress
from pycarpd.takeover.plans import build_plan, make_context, rebuild
from pycarpd.takeover.prune import label
from pycarpd.takeover.records import OpenPlan
from pycarpd.takeover.step import Plan, StepFault, Verb
from pycarpd.takeover.switchover import Parley

logger = logging.getLogger(__name__)

ADDRESS_TIMEOUT_S = 4.0
KILL_STEP = "kill-mfsmaster"
PROVING_STEP = "assemble"


class PlanDesk:
    """Runs the plans that the election asks for; use from one event loop only."""

    def __init__(
        self,
        takeover: TakeoverSettings,
        journal_path: Path,
        expected_metaid: Callable[[], int | None],
        follower: ChainFollower | None = None,
    ) -> None:
        self._takeover = takeover
        self._follower = follower
        self._expected_metaid = expected_metaid
        self._loop = asyncio.get_running_loop()
        self._executor: PlanExecutor[Context] = PlanExecutor(
            journal_path, self._rebuild, self._on_progress, self._on_finish
        )
        self._current: Job | None = None
        self._waiting: Job | None = None
        self._is_overtaken = False
        self._is_reported = False
        self._aborted_term: int | None = None
        self._address: tuple[int, Future[bool]] | None = None
        self._recovered: asyncio.Future[Outcome] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._parley: Parley | None = None
        self._is_confirmed = False
        self.listener: Listener | None = None
        self.fence: Callable[[threading.Event], StepFault | None] | None = None
        self.handover_listener: HandoverListener | None = None
        self.context: Context | None = None
        """Of the newest plan: what its steps have learnt."""

    @property
    def is_busy(self) -> bool:
        """Tell whether a plan is in progress or waits."""
        return self._current is not None or self._waiting is not None

    @property
    def is_promoting(self) -> bool:
        """Tell whether a PROMOTE plan is in progress."""
        return self._current is not None and self._current.kind is Kind.PROMOTE

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is in progress; False when something still is."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def recover(self) -> Outcome:
        """Take back what an earlier process has left half done; call once, before anything else."""
        self._recovered = self._loop.create_future()
        self._executor.recover()
        outcome = await self._recovered
        self._recovered = None
        return outcome

    def ask(self, job: Job) -> None:
        """Run the job now, or after what is in progress; a wish that waits already is replaced."""
        if self._current is None:
            self._begin(job)
            return
        self._waiting = job
        if self._current.kind is Kind.PROMOTE:
            self._is_overtaken = True
            self._executor.abort(f"{job.kind.value} was asked for")
        elif self._current.kind is Kind.SPECULATE:
            self._ask_while_speculating(job)
        elif self._current.kind is Kind.LEVEL and job.kind is Kind.PROMOTE and self._parley is not None:
            self._parley.go_on()
        elif self._current.kind.is_handovers and not self._is_confirmed:
            self._executor.abort(f"{job.kind.value} was asked for")

    def _ask_while_speculating(self, job: Job) -> None:
        """Let what was loaded beforehand be the promotion, or undo it; what fails is begun anew."""
        context = self.context
        if job.kind is not Kind.PROMOTE or context is None or self._parley is None:
            self._executor.abort(f"{job.kind.value} was asked for")
            return
        context.old_connections = job.connections
        context.request = replace(context.request, term=job.term, minimum_version=job.minimum_version)
        self._parley.go_on()

    def speculate(self, term: int) -> bool:
        """Load beforehand, unless something is in progress; tells whether it was begun."""
        if self._current is not None:
            return False
        self._begin(Job(Kind.SPECULATE, term))
        return True

    def end_speculation(self) -> None:
        """Undo what was loaded beforehand, unless it is a promotion by now."""
        if self.is_speculating:
            self._executor.abort("it was in vain")

    @property
    def is_speculating(self) -> bool:
        """Tell whether a plan that waits for its term is in progress."""
        return self._current is not None and self._current.kind is Kind.SPECULATE

    def confirm(self, term: int) -> None:
        """Let the clients' hold of that term look once more, and end with the gate closed."""
        job = self._current
        if self._parley is not None and job is not None and (job.kind, job.term) == (Kind.HOLD, term):
            self._parley.go_on()

    def end_handover(self, term: int) -> None:
        """Call the switchover's half of that term off, which is undone then."""
        job = self._current
        if job is not None and job.kind.is_handovers and job.term == term and not self._is_confirmed:
            self._executor.abort("the switchover was called off")

    @property
    def has_waiting(self) -> bool:
        """Tell whether another plan begins as soon as the present one has ended."""
        return self._waiting is not None

    def abort(self, term: int) -> None:
        """End the promotion of that term, wherever it is; its end is reported once nothing of it runs any more."""
        if self._waiting is not None and self._waiting.kind is Kind.PROMOTE:
            self._waiting = None
        if not self.is_promoting and not self.is_speculating:
            self._tell_ended(Job(Kind.PROMOTE, term), is_ok=False)
            return
        self._aborted_term = term
        self._executor.abort("another node is to serve: a better claim was heard, or it has newer metadata")

    def give_up(self) -> None:
        """End a promotion and begin nothing more: nobody is there any more to be told. A demotion goes on."""
        self._waiting = None
        is_half = self._current is not None and self._current.kind.is_handovers
        if self.is_promoting or self.is_speculating or is_half:
            self._is_overtaken = True
            self._executor.abort("the heartbeat is gone")

    def answer_address(self, term: int, *, is_attached: bool) -> None:
        """Take in the heartbeat's answer to the question for the address; one to an older question says nothing."""
        if self._address is not None and self._address[0] == term and not self._address[1].done():
            self._address[1].set_result(is_attached)

    def _begin(self, job: Job) -> None:
        self._current = job
        self._idle.clear()
        self._is_overtaken = False
        self._is_reported = False
        self._is_confirmed = False
        plan, context = self._build(job)
        self.context = context
        if not self._executor.submit(plan, context):
            logger.error("plan executor is busy kind=%s term=%d", job.kind.value, job.term)

    def _build(self, job: Job) -> tuple[Plan[Context], Context]:
        now_ns = realtime_ns()
        request = Request(
            label=label(now_ns, job.term),
            term=job.term,
            realtime_ns=now_ns,
            expected_metaid=self._expected_metaid(),
            has_successor=bool(job.successor),
            is_foreign=job.is_foreign,
            inherits=job.inherits,
            successor_version=job.successor_version,
            master_version=job.master_version,
            minimum_version=job.minimum_version,
            is_address_held=job.is_address_held,
            is_speculative=job.kind is Kind.SPECULATE,
        )
        self._parley = Parley(lambda version: self._told(job, version), lambda: self._confirmed(job))
        context: Context = make_context(
            self._takeover,
            request,
            take_address=lambda: self._take_address(context),
            release_address=self._release_address,
            old_connections=job.connections,
            follower=self._follower,
            parley=self._parley,
        )
        context.fence = self.fence
        context.want_address = lambda: self._want_address(job)
        return build_plan(job.kind.plan, self._takeover, request), context

    def _rebuild(self, interrupted: OpenPlan) -> tuple[Plan[Context], Context]:
        """Build the plan that an earlier process left open; its address is no longer ours to take or give."""
        plan, request = rebuild(interrupted, self._takeover)
        return plan, make_context(self._takeover, request, lambda: False, lambda: True)

    def _want_address(self, job: Job) -> None:
        """Tell the heartbeat, from the step's thread, that the address may come now; nothing is answered."""

        def tell() -> None:
            if self.listener is not None and not self._is_overtaken and job == self._current:
                self.listener.want_address(job.term)

        self._loop.call_soon_threadsafe(tell)

    def _take_address(self, context: Context) -> bool:
        """Ask the heartbeat for the address and wait for the answer; called in the step's thread."""
        answer: Future[bool] = Future()
        version = context.chain.version if context.chain is not None else 0

        def ask() -> None:
            job = self._current
            if job is None or self.listener is None or self._is_overtaken:
                answer.set_result(False)
                return
            self._address = (job.term, answer)
            self.listener.ask_address(job.term, version)

        self._loop.call_soon_threadsafe(ask)
        try:
            return answer.result(ADDRESS_TIMEOUT_S)
        except TimeoutError:
            return False

    def _told(self, job: Job, version: int) -> None:
        """Pass on, from the step's thread, what a plan that waits has found."""
        if job.kind is not Kind.SPECULATE and self.handover_listener is not None:
            self._loop.call_soon_threadsafe(self.handover_listener.told, job, version)

    def _confirmed(self, job: Job) -> None:
        """Pass on, from the step's thread, that the role may be given away: from here on the hold is not undone."""

        def tell() -> None:
            if job.kind is Kind.SPECULATE:
                self._adopt(job)
            elif job == self._current and self.handover_listener is not None:
                self._is_confirmed = True
                self.handover_listener.confirmed(job)

        self._loop.call_soon_threadsafe(tell)

    def _adopt(self, job: Job) -> None:
        """Let the plan that has waited be the promotion that was asked for meanwhile."""
        if job == self._current and self._waiting is not None and self._waiting.kind is Kind.PROMOTE:
            self._current, self._waiting = self._waiting, None

    def _release_address(self) -> bool:
        """Give the address up: the news that the promotion has failed makes the heartbeat take it away first."""

        def report() -> None:
            if self._current is not None:
                self._report(self._current, False)

        self._loop.call_soon_threadsafe(report)
        return True

    def _report(self, job: Job, is_ok: bool) -> None:
        if not self._is_overtaken and not self._is_reported and job == self._current:
            self._is_reported = True
            self._aborted_term = None
            self._tell_ended(job, is_ok=is_ok)

    def _tell_ended(self, job: Job, *, is_ok: bool) -> None:
        if self.listener is not None:
            self.listener.ended(job, is_ok)

    def _on_progress(self, progress: StepProgress) -> None:
        self._loop.call_soon_threadsafe(self._progressed, progress)

    def _progressed(self, progress: StepProgress) -> None:
        job = self._current
        if job is None or self.listener is None:
            return
        self.listener.progress(job, progress)
        chain = self.context.chain if self.context is not None else None
        if progress.has_done(PROVING_STEP) and chain is not None:
            self.listener.proved(Freshness(chain.metaid, chain.version))
        is_forward = progress.plan == DEMOTE and progress.verb is not Verb.UNDO
        if job.kind is Kind.DEMOTE and is_forward and progress.step != KILL_STEP:
            # The next step has begun, so no mfsmaster runs here any more: whoever waits for that may go on.
            # (An undo belongs to an older plan that is taken back first.)
            self._report(job, True)

    def _on_finish(self, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(self._finished, outcome)

    def _finished(self, outcome: Outcome) -> None:
        if self._recovered is not None:
            self._recovered.set_result(outcome)
            return
        job, waiting = self._current, self._waiting
        if job is not None and job.kind.is_handovers:
            if self.handover_listener is not None:
                self.handover_listener.finished(job, outcome)
        elif job is not None:
            if job.kind is not Kind.SPECULATE:
                self._report(job, outcome.ok)
            if self.listener is not None:
                self.listener.finished(job, outcome)
        aborted_term, self._aborted_term = self._aborted_term, None
        if aborted_term is not None:
            self._tell_ended(Job(Kind.PROMOTE, aborted_term), is_ok=False)
        self._current, self._waiting = None, None
        if waiting is not None:
            self._begin(waiting)
        else:
            self._idle.set()
