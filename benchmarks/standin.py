"""pycarpd's supervisor and heartbeat as they are, with a worker that has no MooseFS: its plans are done at once.

What is left is the election alone, down to the vote that has to be on disk before it is told and the address that comes
with a majority's lease, comparable with keepalived without scripts. ``python -m benchmarks.standin CONFIG`` runs it.
"""

import argparse
import select
import socket
import sys
from dataclasses import fields
from pathlib import Path

from pycarpd.daemon import children, supervisor
from pycarpd.daemon import messages as msg
from pycarpd.daemon.channel import Channel, Closed
from pycarpd.daemon.heartbeat_process import ignore_stop_signals, receive_settings
from pycarpd.daemon.scribe import Scribe
from pycarpd.election.model import Freshness
from pycarpd.linux.realtime import come_first

METAID = 1
VERSION = 2


class StandIn:
    """Calls every promotion ready the moment that it is asked for; votes are written as they are."""

    def __init__(self, heartbeat: Channel, scribe: Scribe) -> None:
        self._heartbeat = heartbeat
        self._scribe = scribe

    def run(self, to_supervisor: Channel) -> None:
        """Work until the heartbeat is gone."""
        self._scribe.start()
        self._heartbeat.send(msg.WorkerHello(mfsmaster_serves=False))
        self._tell_files()
        to_supervisor.send(msg.ReadyNews())
        ready = select.poll()
        ready.register(self._heartbeat.fileno(), select.POLLIN)
        while True:
            ready.poll()
            while (message := self._heartbeat.receive()) is not None:
                if isinstance(message, Closed | msg.Goodbye):
                    return
                self._obey(message)

    def _obey(self, message: msg.Message) -> None:
        match message:
            case msg.PreserveRequest():
                self._tell_files()
            case msg.PromoteRequest(term=term):
                self._heartbeat.send(msg.EarlyAddress(term))
                self._heartbeat.send(_attach_request(term))
            case msg.AttachAnswer(term=term, is_attached=is_ok):
                self._heartbeat.send(msg.PlanEnded(term, is_promotion=True, is_ok=is_ok))
            case msg.DemoteRequest(term=term, successor=successor, is_foreign=is_foreign):
                self._heartbeat.send(msg.PlanEnded(term, is_promotion=False, is_ok=True))
                if successor:
                    self._heartbeat.send(msg.StandbyNews(term, is_ok=True, has_archived=is_foreign))
                    self._tell_files()
            case msg.AbortRequest(term=term):
                self._heartbeat.send(msg.PlanEnded(term, is_promotion=True, is_ok=False))
            case msg.LogNews(text=text):
                sys.stderr.write(f"{text}\n")
            case _:
                pass

    def _tell_files(self) -> None:
        """Say that this host has what every other has: after each plan, and when a master is lost, as the worker does.

        There is no metalogger, so there is nothing that could be in its buffer.
        """
        self._heartbeat.send(msg.FreshnessNews(Freshness(METAID, VERSION), "", is_settled=True))


def _attach_request(term: int) -> msg.AttachRequest:
    known = {"term": term, "version": VERSION}
    return msg.AttachRequest(**{field.name: known[field.name] for field in fields(msg.AttachRequest)})


def _work(heartbeat_fd: int, votes_fd: int, supervisor_fd: int) -> int:
    ignore_stop_signals()
    received = receive_settings(socket.socket(fileno=supervisor_fd))
    if received is None:
        return 1
    to_supervisor, settings = received
    if settings.realtime:
        come_first()
    heartbeat = Channel(socket.socket(fileno=heartbeat_fd))
    votes = Channel(socket.socket(fileno=votes_fd))
    scribe = Scribe(Path(settings.state_dir), votes, is_urgent=settings.realtime)
    StandIn(heartbeat, scribe).run(to_supervisor)
    return 0


def main() -> int:
    """Be the supervisor, or its worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="?", type=Path)
    parser.add_argument("--heartbeat-fd", type=int)
    parser.add_argument("--votes-fd", type=int)
    parser.add_argument("--supervisor-fd", type=int)
    arguments = parser.parse_args()
    if arguments.config is None:
        return _work(arguments.heartbeat_fd, arguments.votes_fd, arguments.supervisor_fd)
    children.MODULES["worker"] = "benchmarks.standin"
    return supervisor.run(arguments.config)


if __name__ == "__main__":
    sys.exit(main())
