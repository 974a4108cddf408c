"""One Elector between adverts of two peers, its worker and its kernel, in any order that hypothesis thinks of."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Flags, Persistent, Role
from pycarpd.election.transitions import TRANSITIONS
from tests.unit.election.bench import FRESH, INTERVAL, SECOND, THIRD, Bench

CLAIMING = st.sampled_from([Role.PROMOTING, Role.MASTER])
ROLES = st.sampled_from(list(Role))
TERMS = st.integers(min_value=0, max_value=3)


class ElectionMachine(RuleBasedStateMachine):
    """Keeps what is true beside what the Elector is told."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(preempt=True)
        self.bench.writes = False
        self.disk = Persistent(5, 5)
        self.unwritten: list[Persistent] = []
        self.has_vip = False
        self.is_over = False
        self.newest_term = 0

    def _perform(self, was: Role) -> None:
        """Carry out the last effects in order, as the heartbeat does, and judge the order."""
        kinds = [type(effect) for effect in self.bench.effects]
        if was is Role.MASTER and self.bench.role() is not Role.MASTER:
            assert kinds[0] is fx.DetachVip
        for effect in self.bench.effects:
            match effect:
                case fx.Persist(persistent=persistent):
                    self.unwritten.append(persistent)
                case fx.Send(advert=advert):
                    assert not advert.role.claims or advert.term <= self.disk.term
                    assert not (advert.role.claims and Flags.RESIGNED in advert.flags)
                case fx.AttachVip():
                    self.has_vip = True
                case fx.DetachVip():
                    self.has_vip = False
                case fx.Transition(was=before, role=role, cause=cause):
                    assert TRANSITIONS[before, cause] is role
                case fx.Stopped():
                    self.is_over = True
                case _:
                    pass

    def _tell(self, event: ev.Event) -> None:
        was = self.bench.role()
        self.bench.tell(event)
        self._perform(was)

    @initialize(mfsmaster_serves=st.booleans(), vip_is_held=st.booleans())
    def start(self, *, mfsmaster_serves: bool, vip_is_held: bool) -> None:
        self.has_vip = vip_is_held
        self._tell(ev.LinkChanged(is_up=True))
        self._tell(ev.WorkerReady(mfsmaster_serves, vip_is_held))
        self._tell(ev.FreshnessKnown(FRESH, ""))

    @rule(role=ROLES, ahead=TERMS, by=st.sampled_from([SECOND, THIRD]), is_proven=st.booleans(), wants=st.booleans())
    def hear(self, role: Role, ahead: int, by: object, *, is_proven: bool, wants: bool) -> None:
        member = SECOND if by is SECOND else THIRD
        term = max(0, self.bench.term - 1 + ahead)
        flags = Flags.PROMOTABLE | (Flags.WANTS_MASTER if wants else Flags(0))
        was, before = self.bench.role(), self.bench.term
        self.bench.hear(role, term, by=member, is_proven=is_proven, flags=flags, priority=200)
        if not is_proven and was is not Role.MASTER:  # an unproven advert may find a lease that has lapsed
            assert (self.bench.role(), self.bench.term) == (was, before)
        self._perform(was)

    @rule(by=st.sampled_from([SECOND, THIRD]))
    def hear_resignation(self, by: object) -> None:
        was = self.bench.role()
        member = SECOND if by is SECOND else THIRD
        self.bench.hear(Role.DEMOTING, self.bench.term, by=member, flags=Flags.RESIGNED)
        self._perform(was)

    @rule(advbase=st.sampled_from([1, 255]), advskew=st.sampled_from([0, 200, 255]))
    def hear_plain(self, advbase: int, advskew: int) -> None:
        was = self.bench.role()
        self.bench.hear_plain(advbase, advskew)
        self._perform(was)

    @rule(intervals=st.integers(min_value=0, max_value=8), is_late=st.booleans())
    def advance(self, intervals: int, *, is_late: bool) -> None:
        end = self.bench.now + intervals * INTERVAL // 2
        if is_late:
            self.bench.now = end
        deadline = self.bench.elector.next_deadline()
        rounds = 0
        while deadline is not None and deadline <= end:
            rounds += 1
            assert rounds <= 100, "a deadline that is met does not come back at once"
            self.bench.now = max(self.bench.now, deadline)
            self._tell(ev.TimeAdvanced(self.bench.now - deadline))
            deadline = self.bench.elector.next_deadline()
        self.bench.now = end

    @precondition(lambda self: bool(self.unwritten))
    @rule()
    def write(self) -> None:
        self.disk = self.unwritten.pop(0)
        self._tell(ev.StatePersisted(self.disk))

    @rule(is_up=st.booleans())
    def change_link(self, *, is_up: bool) -> None:
        self._tell(ev.LinkChanged(is_up))

    @rule(is_ready=st.booleans(), serves=st.booleans())
    def change_worker(self, *, is_ready: bool, serves: bool) -> None:
        self._tell(ev.WorkerReady(serves, self.has_vip) if is_ready else ev.WorkerLost())

    @rule(
        event=st.sampled_from(
            [
                ev.MfsmasterLost(may_restart=True),
                ev.MfsmasterLost(may_restart=False),
                ev.NameClaimed(),
                ev.VipClaimed(),
                ev.AdvertsLost(),
                ev.SendingFailed(is_failing=True),
                ev.SendingFailed(is_failing=False),
                ev.FreshnessKnown(None, "a gap"),
                ev.FreshnessKnown(FRESH, ""),
                ev.Commanded(ev.OperatorCommand.RESIGN),
                ev.Commanded(ev.OperatorCommand.PAUSE),
                ev.Commanded(ev.OperatorCommand.RESUME),
            ]
        )
    )
    def happen(self, event: ev.Event) -> None:
        self._tell(event)

    @precondition(lambda self: self.bench.role() is Role.PROMOTING and self.disk.term >= self.bench.term)
    @rule()
    def be_ready(self) -> None:
        self._tell(ev.PromotionReady(self.bench.term))

    @precondition(lambda self: self.bench.role() in (Role.PROMOTING, Role.DEMOTING, Role.MASTER))
    @rule(is_ok=st.booleans())
    def finish_promotion(self, *, is_ok: bool) -> None:
        self._tell(ev.PromotionFinished(self.bench.term, is_ok))

    @rule()
    def finish_demotion(self) -> None:
        self._tell(ev.DemotionFinished(self.bench.term))

    @invariant()
    def the_address_is_only_with_a_master(self) -> None:
        if self.bench.role() not in (Role.INIT, Role.MASTER):
            assert not self.has_vip

    @invariant()
    def terms_only_grow(self) -> None:
        term = self.bench.elector._node.persistent.term
        assert term >= self.newest_term
        self.newest_term = term

    @invariant()
    def somebody_wakes_the_node(self) -> None:
        """Every state but one that waits for another process, or for the link, has something planned."""
        has_link = self.bench.elector._node.has_link
        is_waiting = not has_link or self.bench.role() in (Role.INIT, Role.PROMOTING)
        assert is_waiting or self.bench.elector.next_deadline() is not None


TestElectionMachine = ElectionMachine.TestCase
