"""The worker's part in a switchover: wishes become plans, findings are told, the operator hears how it ended."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pycarpd.control.reports import Report
from pycarpd.daemon import messages as msg
from pycarpd.daemon.board import Board
from pycarpd.daemon.channel import Channel, Closed, pair
from pycarpd.daemon.handover import HandoverDesk
from pycarpd.daemon.jobs import Job, Kind
from pycarpd.daemon.patient import Patient
from pycarpd.daemon.plans import PlanDesk
from pycarpd.election import effects as fx
from pycarpd.election import events as ev
from pycarpd.election.model import Role
from pycarpd.takeover.actions import ContextStep
from pycarpd.takeover.context import Context, Request, TakeoverSettings
from pycarpd.takeover.plans import parameters_of
from pycarpd.takeover.step import Plan, StepFault, StepSpec, UndoScope
from pycarpd.takeover.switchover import HOLD
from tests.unit.daemon.values import MEMBERS, daemon_settings, peer_news, status_news

NS_PER_S = 1_000_000_000
WAIT_S = 20.0
POLL_S = 0.005
POLLS_MAX = 4000
VERSION = 130


class Watched:
    """What the patient is told."""

    def __init__(self) -> None:
        self.is_operated_on = False
        self.looks = 0

    def look_now(self) -> None:
        self.looks += 1


class Room:
    """A plan desk and a handover desk, and the heartbeat's end of their channel."""

    def __init__(self, directory: Path, done: list[str]) -> None:
        ours, theirs = pair()
        self.done = done
        self.heartbeat = Channel(theirs)
        self._channel = Channel(ours)
        settings = TakeoverSettings(directory, directory, directory, 0, 0, ("192.0.2.100",))
        self.desk = PlanDesk(settings, directory / "journal", lambda: None)
        self.board = Board(daemon_settings())
        self.patient = Watched()
        patient = cast("Patient", self.patient)
        self.handover = HandoverDesk(self._channel, self.desk, patient, self.board, self.desk.ask)

    async def told(self) -> msg.Message:
        """Return the next thing that the heartbeat is told."""
        for _ in range(POLLS_MAX):
            message = self.heartbeat.receive()
            if message is not None:
                assert not isinstance(message, Closed)
                return message
            await asyncio.sleep(POLL_S)
        raise AssertionError("the heartbeat is told nothing")

    async def settle(self) -> None:
        assert await self.desk.idle(WAIT_S)

    def close(self) -> None:
        self.heartbeat.close()
        self._channel.close()


Play = Callable[[Callable[[Room], Awaitable[None]]], None]


def tiny_plan(done: list[str], name: str, request: Request) -> Plan[Context]:
    """Return a plan whose first step leaves a trace and whose last one, in a half of a switchover, waits."""

    def run(_context: Context, _cancel: threading.Event) -> StepFault | None:
        done.append(f"{name} begins")
        return None

    def undo(_context: Context) -> StepFault | None:
        done.append(f"{name} is undone")
        return None

    def wait(context: Context, cancel: threading.Event) -> StepFault | None:
        assert context.parley is not None
        context.parley.told(VERSION)
        fault = context.parley.await_word(WAIT_S, cancel)
        if fault is None and name == HOLD:
            context.parley.confirmed()
        return fault

    first = ContextStep(StepSpec("first", 60 * NS_PER_S, undo=UndoScope.ALWAYS), run, undo)
    waiting = ContextStep(StepSpec("wait", 60 * NS_PER_S), wait)
    is_half = name in (Kind.HOLD.value, Kind.LEVEL.value)
    return Plan(name, request.label, parameters_of(request), (first, waiting) if is_half else (first,))


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    done: list[str] = []

    def build(name: str, _settings: TakeoverSettings, request: Request) -> Plan[Context]:
        return tiny_plan(done, name, request)

    monkeypatch.setattr("pycarpd.daemon.plans.build_plan", build)
    monkeypatch.setattr("pycarpd.daemon.handover.patience_ns", lambda _now_ns, _phases, **_how: 0)

    def run(body: Callable[[Room], Awaitable[None]]) -> None:
        async def main() -> None:
            room = Room(tmp_path, done)
            await body(room)
            room.close()

        asyncio.run(main())

    return run


def test_a_hold_is_told_confirmed_and_left_as_it_is(play: Play) -> None:
    async def body(room: Room) -> None:
        assert room.handover.on_message(fx.HoldClients(7))
        assert await room.told() == ev.ClientsHeld(7, VERSION)
        room.handover.on_message(fx.ConfirmHandover(7, VERSION))
        assert await room.told() == ev.HandoverConfirmed(7)
        room.desk.ask(Job(Kind.DEMOTE, 7))
        room.handover.on_message(fx.EndHandover(7))
        await room.settle()
        assert room.done == ["hold begins", "demote begins"]

    play(body)


@pytest.mark.parametrize("kind", [Kind.DEMOTE, Kind.PROMOTE])
def test_a_hold_that_is_not_confirmed_is_undone_for_what_is_asked_next(play: Play, kind: Kind) -> None:
    async def body(room: Room) -> None:
        room.handover.on_message(fx.HoldClients(7))
        assert await room.told() == ev.ClientsHeld(7, VERSION)
        room.desk.ask(Job(kind, 7))
        await room.settle()
        assert room.done == ["hold begins", "hold is undone", f"{kind.value} begins"]
        failed = await room.told()
        assert isinstance(failed, ev.HandoverFailed)
        assert failed.term == 7

    play(body)


def test_a_level_standby_promotes_without_going_back(play: Play) -> None:
    async def body(room: Room) -> None:
        room.handover.on_message(fx.LevelFiles(7))
        assert await room.told() == ev.FilesLevel(7, VERSION)
        room.desk.ask(Job(Kind.PROMOTE, 8))
        await room.settle()
        assert room.done == ["level begins", "promote begins"]

    play(body)


@pytest.mark.parametrize("wish", [fx.HoldClients(7), fx.LevelFiles(7)])
def test_a_half_that_is_called_off_is_undone_and_the_patient_looked_at_again(
    play: Play, wish: fx.HoldClients | fx.LevelFiles
) -> None:
    async def body(room: Room) -> None:
        room.patient.is_operated_on = True
        room.handover.on_message(wish)
        await room.told()
        room.handover.on_message(fx.EndHandover(6))
        room.handover.on_message(fx.EndHandover(7))
        await room.settle()
        assert room.done[1].endswith("is undone")
        assert isinstance(await room.told(), ev.HandoverFailed)
        assert not room.patient.is_operated_on
        assert room.patient.looks == 1

    play(body)


@pytest.mark.parametrize("wish", [fx.HoldClients(7), fx.LevelFiles(7)])
@pytest.mark.parametrize("kind", [Kind.PROMOTE, Kind.DEMOTE])
def test_no_half_cuts_a_plan_short_that_is_in_progress(
    play: Play, kind: Kind, wish: fx.HoldClients | fx.LevelFiles
) -> None:
    async def body(room: Room) -> None:
        room.desk.ask(Job(kind, 7))
        room.handover.on_message(wish)
        failed = await room.told()
        assert isinstance(failed, ev.HandoverFailed)
        await room.settle()
        assert room.done == [f"{kind.value} begins"]

    play(body)


def test_a_level_standby_is_one_again_for_a_demotion(play: Play) -> None:
    async def body(room: Room) -> None:
        room.handover.on_message(fx.LevelFiles(7))
        await room.told()
        room.desk.ask(Job(Kind.DEMOTE, 8))
        await room.settle()
        assert room.done == ["level begins", "level is undone", "demote begins"]

    play(body)


def test_what_concerns_no_handover_is_left_to_others(play: Play) -> None:
    async def body(room: Room) -> None:
        assert not room.handover.on_message(msg.Goodbye())

    play(body)


def codes(reports: tuple[Report, ...]) -> list[str]:
    return [each.code for each in reports]


@pytest.mark.parametrize(
    ("role", "args", "code"),
    [
        (Role.BACKUP, {}, "not-master"),
        (Role.MASTER, {"to": "meta9"}, "switchover-unknown-node"),
        (Role.MASTER, {"to": "meta1"}, "switchover-unknown-node"),
        (Role.MASTER, {"to": 1}, "command-bad-argument"),
        (Role.MASTER, {"into": "meta2"}, "command-bad-argument"),
    ],
)
def test_what_cannot_be_meant_is_refused(play: Play, role: Role, args: dict[str, Any], code: str) -> None:
    async def body(room: Room) -> None:
        room.board.news = replace(status_news(), role=role, master="meta2")
        reports = await room.handover.command(args)
        assert codes(reports) == [code]
        if code == "not-master":
            assert "meta2" in reports[0].message

    play(body)


def test_the_operator_hears_why_it_was_refused(play: Play) -> None:
    async def body(room: Room) -> None:
        room.board.news = replace(status_news(), role=Role.MASTER, master="meta1")
        command = asyncio.create_task(room.handover.command({"to": "meta2"}))
        assert await room.told() == ev.SwitchoverAsked(MEMBERS[1].node_id)
        assert codes(await room.handover.command({})) == ["switchover-busy"]
        room.handover.on_message(msg.SwitchoverNews("switchover-not-level", "it lacks some", "meta2"))
        reports = await command
        assert codes(reports) == ["switchover-not-level"]
        assert reports[0].message == "it lacks some"

    play(body)


@pytest.mark.parametrize(("master", "code"), [("meta2", "switchover-done"), ("meta3", "switchover-elsewhere")])
def test_the_operator_hears_who_serves(play: Play, master: str, code: str) -> None:
    async def body(room: Room) -> None:
        room.board.news = replace(status_news(), role=Role.MASTER, master="meta1")
        command = asyncio.create_task(room.handover.command({}))
        assert await room.told() == ev.SwitchoverAsked(0)
        room.handover.on_message(msg.SwitchoverNews("", "", "meta2"))
        await asyncio.sleep(0.05)
        assert not command.done()
        peers = (peer_news(master, role=Role.MASTER),)
        room.board.news = replace(status_news(), role=Role.BACKUP, master=master, peers=peers)
        assert codes(await command) == [code]

    play(body)
