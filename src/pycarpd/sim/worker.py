"""The simulated worker: one plan at a time, which takes its time, fails, hangs or is aborted, as the host's fate is."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pycarpd.election.events import (
    DemotionFinished,
    Event,
    FreshnessKnown,
    PromotionFinished,
    PromotionReady,
    StatePersisted,
)
from pycarpd.election.model import Persistent
from pycarpd.sim.agenda import NS_PER_MS, Action, Agenda
from pycarpd.sim.host import Host, PlanFate

LOOK_EVERY_NS = 500 * NS_PER_MS
"""How often a host looks at its files."""


@dataclass(frozen=True, slots=True)
class Job:
    """A plan asked for."""

    term: int
    is_promotion: bool


class SimWorker:
    """Carries out one node's requests and reports to its heartbeat."""

    def __init__(self, agenda: Agenda, host: Host, report: Callable[[Event], None]) -> None:
        self._agenda = agenda
        self._host = host
        self._report = report
        self._jobs: deque[Job] = deque()
        self._current: Job | None = None
        self._step = 0
        self._is_alive = True
        self._look()

    def die(self) -> None:
        """End without a word; what was under way stays as it is."""
        self._is_alive = False
        self._step += 1

    def persist(self, persistent: Persistent) -> None:
        """Write the state and report it when it is on disk."""

        def write() -> None:
            self._host.disk = persistent
            self._report(StatePersisted(persistent))

        self._later(self._host.habits.persist_ns, write)

    def promote(self, term: int) -> None:
        """Queue a promotion."""
        self._jobs.append(Job(term, is_promotion=True))
        self._next()

    def demote(self, term: int) -> None:
        """Queue a demotion; a promotion under way is ended for it."""
        for job in [job for job in self._jobs if job.is_promotion]:
            self._jobs.remove(job)
            self._report(PromotionFinished(job.term, is_ok=False))
        if self._current is not None and self._current.is_promotion:
            self._undo(self._current)
        self._jobs.append(Job(term, is_promotion=False))
        self._next()

    def abort(self, term: int) -> None:
        """End and undo a promotion, if it has not ended already."""
        job = Job(term, is_promotion=True)
        if job in self._jobs:
            self._jobs.remove(job)
            self._report(PromotionFinished(term, is_ok=False))
        elif self._current == job:
            self._undo(job)

    def answer_attach(self, term: int, *, is_attached: bool) -> None:
        """Go on after PromotionReady: the address is there, or the node is no candidate any more."""
        job = Job(term, is_promotion=True)
        if self._current != job:
            return
        if is_attached:
            self._during(self._host.habits.completion_ns, lambda: self._end(PromotionFinished(term, is_ok=True)))
        else:
            self._undo(job)

    def _next(self) -> None:
        if self._current is not None or not self._jobs:
            return
        job = self._current = self._jobs.popleft()
        if job.is_promotion:
            self._begin_promotion(job)
        else:
            self._during(self._host.habits.demotion_ns, lambda: self._end_demotion(job))

    def _begin_promotion(self, job: Job) -> None:
        habits = self._host.habits
        match self._host.fate:
            case PlanFate.SUCCEEDS:
                self._during(habits.promotion_ns, lambda: self._be_ready(job))
            case PlanFate.FAILS:
                self._during(habits.promotion_ns, lambda: self._undo(job))
            case PlanFate.HANGS:
                self._during(habits.plan_timeout_ns, lambda: self._undo(job))

    def _be_ready(self, job: Job) -> None:
        self._host.has_mfsmaster = True
        self._report(PromotionReady(job.term))

    def _undo(self, job: Job) -> None:
        def undone() -> None:
            self._host.has_mfsmaster = False
            self._end(PromotionFinished(job.term, is_ok=False))

        self._during(self._host.habits.undo_ns, undone)

    def _end_demotion(self, job: Job) -> None:
        self._host.has_mfsmaster = False
        self._end(DemotionFinished(job.term))

    def _end(self, event: Event) -> None:
        self._current = None
        self._report(event)
        self._next()

    def _during(self, delay_ns: int, action: Action) -> None:
        """Plan the next thing of the current plan; whatever else it had planned does not happen."""
        self._step += 1
        step = self._step

        def happen() -> None:
            if step == self._step:
                action()

        self._later(delay_ns, happen)

    def _later(self, delay_ns: int, action: Action) -> None:
        def happen() -> None:
            if self._is_alive:
                action()

        self._agenda.after(delay_ns, happen)

    def _look(self) -> None:
        self._report(FreshnessKnown(self._host.freshness, self._host.why_not))
        self._later(LOOK_EVERY_NS, self._look)
