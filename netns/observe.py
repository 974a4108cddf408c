"""Turns what is seen on the wire, in netlink and in the writer's log into the lines of a live timeline.

An Observer follows the files in a thread of its own, five times a second, so that a story can be told while the
main thread waits for something. It never asks a daemon.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from netns.capture import Kind, Sighting
from netns.cluster import Cluster
from netns.commands import boottime_ns
from netns.topology import VIP

_EVERY_S: Final = 0.2
_STALL_NS: Final = 500_000_000
_HOLD_NS: Final = 400_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline, with its moment (CLOCK_BOOTTIME)."""

    at_ns: int
    text: str


class Tail:
    """The complete JSON lines of a growing file, each given out once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def fresh(self) -> Iterator[dict[str, Any]]:
        """Yield what has been completed since the last time."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for text in whole.splitlines():
            yield json.loads(text)


@dataclass(slots=True)
class HostView:
    """What the outside knows of a host."""

    role: str = ""
    term: int = 0
    heard_ns: int = 0
    has_vip: bool = False
    announced: bool = False
    accepted: bool = False


@dataclass(slots=True)
class View:
    """What the outside knows of the cluster."""

    hosts: dict[str, HostView] = field(default_factory=dict)
    files: int = 0
    written_ns: int = 0
    is_stalled: bool = False
    is_done: bool = False
    """The writer was told to stop."""


class Observer:
    """Follows one cluster and hands each line to ``tell``, in the observer's thread."""

    def __init__(self, cluster: Cluster, tell: Callable[[Line], None]) -> None:
        self._cluster = cluster
        self._tell = tell
        self._netlink = Tail(cluster.directory / "netlink.jsonl")
        self._writer = Tail(cluster.directory / "writer.jsonl")
        self._sightings_told = 0
        self._held: list[Line] = []
        self._inbox = deque[Line]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self.view = View({host: HostView() for host in cluster.daemons.hosts})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def put(self, line: Line) -> None:
        """Hand in a line of one's own, to be told in its order; from any thread."""
        self._inbox.append(line)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._look()
        self._look()

    def _look(self) -> None:
        while self._inbox:
            self._held.append(self._inbox.popleft())
        self._held += [*self._from_netlink(), *self._from_wire(), *self._from_writer()]
        self._held.sort(key=lambda one: one.at_ns)
        # The witnesses are read one after the other; what is told only a little later is told in order.
        while self._held and (self._held[0].at_ns < boottime_ns() - _HOLD_NS or self._stop.is_set()):
            self._tell(self._held.pop(0))

    def _from_netlink(self) -> Iterator[Line]:
        for change in self._netlink.fresh():
            host, what, detail, at_ns = change["host"], change["what"], change["detail"], change["at_ns"]
            if detail == VIP and host in self.view.hosts:
                view = self.view.hosts[host]
                view.has_vip, view.announced, view.accepted = what == "address-added", False, False
                yield Line(at_ns, f"{host}: the VIP is {'added' if view.has_vip else 'removed'}")
            elif what.startswith("link") and detail == "eth0":
                yield Line(at_ns, f"{host}: its {what.replace('-', ' is ')}")

    def _from_wire(self) -> Iterator[Line]:
        seen = self._cluster.capture.sightings() if self._cluster.capture else []
        fresh, self._sightings_told = seen[self._sightings_told :], len(seen)
        for sighting in fresh:
            host = self.view.hosts.get(sighting.host)
            if host is not None:
                text = self._of_sighting(host, sighting)
                if text:
                    yield Line(sighting.at_ns, f"{sighting.host}: {text}")

    @staticmethod
    def _of_sighting(host: HostView, seen: Sighting) -> str:
        match seen.kind:
            case Kind.ADVERT:
                host.heard_ns = seen.at_ns
                role = "resigned" if seen.is_resignation else seen.role or "MASTER (plain CARP)"
                if (role, seen.term) == (host.role, host.term):
                    return ""
                host.role, host.term = role, seen.term
                return f"its adverts say {role}, term {seen.term}"
            case Kind.GARP if seen.address == VIP and not host.announced:
                host.announced = True
                return "tells the network by gratuitous ARP that it has the VIP"
            case Kind.SYN_ACK if seen.address == VIP and seen.port == 9421 and not host.accepted:  # noqa: PLR2004
                host.accepted = True
                return "accepts a client on 9421"
            case _:
                return ""

    def _from_writer(self) -> Iterator[Line]:
        view = self.view
        for record in self._writer.fresh():
            if "error" in record:
                yield Line(record["at_ns"], f"client: {record['name']} failed: {record['error']}")
                continue
            if "stuck" in record:
                continue
            if view.is_stalled:
                waited_s = (record["done_ns"] - view.written_ns) / 1e9
                yield Line(record["done_ns"], f"client: writes go on, after {waited_s:.2f} s")
            view.files, view.written_ns, view.is_stalled = view.files + 1, record["done_ns"], False
        if view.files and not (view.is_stalled or view.is_done) and boottime_ns() - view.written_ns > _STALL_NS:
            view.is_stalled = True
            yield Line(view.written_ns, "client: this is the last write that went through")
