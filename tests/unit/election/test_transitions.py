"""The table of role changes: each row happens to a real Elector, nothing else is possible, and the README shows it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pycarpd.election import events as ev
from pycarpd.election.model import Arbiter, Cause, Flags, Role
from pycarpd.election.transitions import TRANSITIONS, mermaid
from pycarpd.invariant import InvariantError
from tests.unit.election.bench import (
    FRESH,
    INTERVAL,
    Bench,
    S,
    finish_handover,
    in_backup,
    in_demoting,
    in_fault,
    in_init,
    in_master,
    in_promoting,
    in_suspended,
)

README = Path(__file__).parents[3] / "README.md"
RESIGN = ev.Commanded(ev.OperatorCommand.RESIGN)
LINK_UP, LINK_DOWN = ev.LinkChanged(is_up=True), ev.LinkChanged(is_up=False)
WORKER_READY = ev.WorkerReady(mfsmaster_serves=False, vip_is_held=False)


def _told(way: Callable[[], Bench], *events: ev.Event) -> Bench:
    bench = way()
    for event in events:
        bench.tell(event)
    return bench


def _waiting(bench: Bench, duration_ns: int = 3 * S) -> Bench:
    bench.wait(duration_ns)
    return bench


def _adopting() -> Bench:
    return _waiting(_told(in_init, LINK_UP, ev.WorkerReady(mfsmaster_serves=True, vip_is_held=True)))


def _resigned_to() -> Bench:
    bench = in_backup()
    bench.hear(Role.MASTER, 6)
    bench.hear(Role.DEMOTING, 6, flags=Flags.RESIGNED)
    return _waiting(bench)


def _preempting() -> Bench:
    bench = in_backup(strict=False, preempt=True, priority=254)
    bench.hear_plain(1, 200)
    return bench


def _outranked(way: Callable[[], Bench]) -> Bench:
    bench = way()
    bench.hear(Role.MASTER, 9)
    return bench


def _handing_over() -> Bench:
    bench = in_master()
    bench.hear(Role.BACKUP, 5, priority=200, flags=Flags.PROMOTABLE | Flags.WANTS_MASTER)
    return finish_handover(bench)


def _switching_over() -> Bench:
    bench = in_master()
    bench.hear(Role.BACKUP, bench.term)
    bench.tell(ev.SwitchoverAsked())
    return finish_handover(bench)


def _late() -> Bench:
    bench = in_master()
    bench.now += 5 * S
    bench.tell(ev.TimeAdvanced(late_ns=4 * S))
    return bench


def _finished(way: Callable[[], Bench]) -> Bench:
    bench = way()
    bench.tell(ev.PromotionFinished(bench.term, is_ok=False))
    return bench


def _ready() -> Bench:
    bench = in_promoting()
    bench.tell(ev.PromotionReady(bench.term))
    return bench


def _behind() -> Bench:
    bench = in_master()
    bench.tell(ev.MfsmasterLost(may_restart=True))
    bench.hear(Role.BACKUP, bench.term, freshness=replace(FRESH, version=FRESH.version + 1, lineage=bench.term))
    bench.tell(ev.PromotionReady(bench.term, FRESH.version))
    return bench


def _demoted() -> Bench:
    bench = in_demoting()
    bench.tell(ev.DemotionFinished(bench.term))
    return bench


def _unelected() -> Bench:
    bench = in_backup(arbiter=Arbiter.MAJORITY)
    bench.wait(S)
    bench.hear(Role.BACKUP, 5, flags=Flags.PROMOTABLE | Flags.NO_MASTER)
    return _waiting(bench)


def _asking_beside_mfsmaster() -> Bench:
    bench = Bench(arbiter=Arbiter.MAJORITY)
    bench.tell(LINK_UP)
    bench.tell(ev.WorkerReady(mfsmaster_serves=True, vip_is_held=True))
    return _waiting(bench)


def _confirmed() -> Bench:
    bench = _asking_beside_mfsmaster()
    bench.support()
    return bench


def _heard_in_vain() -> Bench:
    """A majority is heard, but its votes of this term went to somebody else."""
    bench = _waiting(_confirmed())
    for _ in range(12):
        bench.hear(Role.BACKUP, bench.term)
        bench.wait(INTERVAL)
    return bench


STOP, WORKER_LOST, NAME = ev.StopRequested(), ev.WorkerLost(), ev.NameClaimed()

HAPPENINGS: dict[tuple[Role, Cause], Callable[[], Bench]] = {
    (Role.INIT, Cause.STARTED): in_backup,
    (Role.INIT, Cause.ADOPTED): _adopting,
    (Role.INIT, Cause.ADOPTING): _asking_beside_mfsmaster,
    (Role.INIT, Cause.LINK_DOWN): lambda: _told(in_init, LINK_DOWN, WORKER_READY),
    (Role.BACKUP, Cause.MASTER_DOWN): in_promoting,
    (Role.BACKUP, Cause.MASTER_RESIGNED): _resigned_to,
    (Role.BACKUP, Cause.PREEMPTED): _preempting,
    (Role.BACKUP, Cause.LINK_DOWN): lambda: _told(in_backup, LINK_DOWN),
    (Role.BACKUP, Cause.WORKER_LOST): lambda: _told(in_backup, WORKER_LOST),
    (Role.BACKUP, Cause.DUPLICATE_NAME): lambda: _told(in_backup, NAME),
    (Role.PROMOTING, Cause.PROMOTION_READY): _ready,
    (Role.PROMOTING, Cause.ADOPTED): _confirmed,
    (Role.PROMOTING, Cause.NOT_ELECTED): _unelected,
    (Role.PROMOTING, Cause.PROMOTION_FAILED): lambda: _finished(in_promoting),
    (Role.PROMOTING, Cause.BEHIND_STANDBY): _behind,
    (Role.PROMOTING, Cause.OUTRANKED): lambda: _outranked(in_promoting),
    (Role.PROMOTING, Cause.LINK_DOWN): lambda: _told(in_promoting, LINK_DOWN),
    (Role.PROMOTING, Cause.RESIGNED): lambda: _told(in_promoting, RESIGN),
    (Role.PROMOTING, Cause.STOPPED): lambda: _told(in_promoting, STOP),
    (Role.PROMOTING, Cause.DUPLICATE_NAME): lambda: _told(in_promoting, NAME, NAME, NAME),
    (Role.PROMOTING, Cause.WORKER_LOST): lambda: _told(in_promoting, WORKER_LOST),
    (Role.MASTER, Cause.LINK_DOWN): in_suspended,
    (Role.MASTER, Cause.LATE_WAKE): _late,
    (Role.MASTER, Cause.LEASE_LOST): lambda: _waiting(_confirmed()),
    (Role.MASTER, Cause.MFSMASTER_LOST): lambda: _told(in_master, ev.MfsmasterLost(may_restart=True)),
    (Role.MASTER, Cause.MFSMASTER_FAILS): lambda: _told(in_master, ev.MfsmasterLost(may_restart=False)),
    (Role.MASTER, Cause.PROMOTION_FAILED): lambda: _finished(in_master),
    (Role.MASTER, Cause.OUTRANKED): lambda: _outranked(in_master),
    (Role.MASTER, Cause.RESIGNED): in_demoting,
    (Role.MASTER, Cause.HANDED_OVER): _handing_over,
    (Role.MASTER, Cause.SWITCHOVER): _switching_over,
    (Role.MASTER, Cause.DUPLICATE_NAME): lambda: _told(in_master, NAME, NAME, NAME),
    (Role.MASTER, Cause.STOPPED): lambda: _told(in_master, STOP),
    (Role.MASTER, Cause.WORKER_LOST): lambda: _told(in_master, WORKER_LOST),
    (Role.SUSPENDED, Cause.RESTORED): lambda: _waiting(_told(in_suspended, LINK_UP)),
    (Role.SUSPENDED, Cause.OUTRANKED): lambda: _outranked(in_suspended),
    (Role.SUSPENDED, Cause.NOT_ELECTED): _heard_in_vain,
    (Role.SUSPENDED, Cause.MFSMASTER_FAILS): lambda: _told(in_suspended, ev.MfsmasterLost(may_restart=True)),
    (Role.SUSPENDED, Cause.PROMOTION_FAILED): lambda: _finished(in_suspended),
    (Role.SUSPENDED, Cause.RESIGNED): lambda: _told(in_suspended, RESIGN),
    (Role.SUSPENDED, Cause.DUPLICATE_NAME): lambda: _told(in_suspended, NAME, NAME, NAME),
    (Role.SUSPENDED, Cause.STOPPED): lambda: _told(in_suspended, STOP),
    (Role.SUSPENDED, Cause.WORKER_LOST): lambda: _told(in_suspended, WORKER_LOST),
    (Role.DEMOTING, Cause.DEMOTED): _demoted,
    (Role.DEMOTING, Cause.WORKER_LOST): lambda: _told(in_demoting, WORKER_LOST),
    (Role.FAULT, Cause.LINK_UP): lambda: _told(in_backup, LINK_DOWN, LINK_UP),
    (Role.FAULT, Cause.WORKER_READY): lambda: _told(in_fault, WORKER_READY),
    (Role.FAULT, Cause.NAME_CLEARED): lambda: _waiting(_told(in_backup, NAME)),
}


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row[0].name}-{row[1].name}")
def test_every_row_happens(row: tuple[Role, Cause]) -> None:
    bench = HAPPENINGS[row]()
    assert row in bench.causes


def test_no_happening_is_left_of_a_row_that_is_gone() -> None:
    assert HAPPENINGS.keys() == TRANSITIONS.keys()


@pytest.mark.parametrize("role", Role)
def test_a_change_that_is_not_in_the_table_is_a_bug(role: Role) -> None:
    for cause in Cause:
        node = Bench().elector._node
        node.role = role
        if (role, cause) in TRANSITIONS:
            node.move(cause, 0)
            assert node.role is TRANSITIONS[role, cause]
        else:
            with pytest.raises(InvariantError):
                node.move(cause, 0)


def test_every_role_but_the_first_is_entered_and_every_role_is_left() -> None:
    assert set(TRANSITIONS.values()) == set(Role) - {Role.INIT}
    assert {was for was, _ in TRANSITIONS} == set(Role)


def test_the_readme_shows_the_table() -> None:
    text = README.read_text(encoding="utf-8")
    _, begin, rest = text.partition("<!-- transitions -->")
    shown, end, _ = rest.partition("<!-- /transitions -->")
    assert begin
    assert end
    assert shown.strip() == f"```mermaid\n{mermaid()}\n```"
