"""The worker's line to an arbiter outside the cluster: it passes wishes on, and brings back terms given and lost."""

import asyncio
from collections.abc import Callable

from pycarpd.arbiter.etcd import EtcdArbiter, Listener
from pycarpd.arbiter.gateway import Access, Gateway
from pycarpd.control.reports import Report, report
from pycarpd.daemon import messages as msg
from pycarpd.daemon.bugs import end_if_raised
from pycarpd.election.effects import AskArbiter, ReleaseTerm
from pycarpd.election.events import TermGranted, TermLost
from pycarpd.election.model import Role
from pycarpd.linux.clock import boottime_ns
from pycarpd.settings import DaemonSettings, EtcdSettings

NS_PER_S = 1_000_000_000
ATTEMPTS_PER_LEASE = 5
STANDBY_ROLES = (Role.BACKUP, Role.INIT)


class Arbitration:
    """One node's etcd, if there is one; every method is to be called in the worker's event loop."""

    def __init__(self, settings: DaemonSettings, tell: Callable[[msg.ToHeartbeat], None]) -> None:
        self._endpoints = ", ".join(settings.etcd.endpoints) if settings.etcd is not None else ""
        self._lease_s = settings.etcd.lease_s if settings.etcd is not None else 0
        self._etcd = None if settings.etcd is None else _etcd(settings.etcd, settings.node_name, tell)
        self._started_ns = boottime_ns()

    def start(self) -> None:
        """Begin."""
        for task in self._etcd.start() if self._etcd is not None else ():
            task.add_done_callback(_end_if_raised)

    async def close(self) -> None:
        """End, after what was given back is told."""
        if self._etcd is not None:
            await self._etcd.close()

    def on_message(self, message: msg.Message) -> bool:
        """Do what the election wants of the arbiter; returns whether the message was such a wish."""
        match message:
            case AskArbiter(wish=wish, term=term, is_adoption=is_adoption) if self._etcd is not None:
                self._etcd.ask(wish, term, is_adoption=is_adoption)
            case ReleaseTerm(is_free=is_free) if self._etcd is not None:
                self._etcd.release(is_free=is_free)
            case _:
                return False
        return True

    def publish(self, news: msg.StatusNews) -> None:
        """Let the other members know what this host's files prove."""
        if self._etcd is not None:
            is_standby = news.role in STANDBY_ROLES
            is_promotable = not news.why_not and not news.is_paused
            self._etcd.publish(is_standby=is_standby, is_promotable=is_promotable, freshness=news.freshness)

    def reports(self) -> tuple[Report, ...]:
        """Return what an operator has to know: that nobody can be elected without an arbiter that answers."""
        if self._etcd is None:
            return ()
        silent_s = (boottime_ns() - max(self._etcd.answered_ns, self._started_ns)) // NS_PER_S
        if silent_s < self._lease_s:
            return ()
        text = f"no answer from {self._endpoints} for {silent_s} s"
        return (report("arbiter-unreachable", text, key="etcd.endpoints"),)


def _etcd(settings: EtcdSettings, node: str, tell: Callable[[msg.ToHeartbeat], None]) -> EtcdArbiter:
    access = Access(
        endpoints=settings.endpoints,
        ca_file=settings.ca_file,
        cert_file=settings.cert_file,
        key_file=settings.cert_key_file,
        username=settings.username,
        password=settings.password,
    )
    listener = Listener(
        granted=lambda wish, term, until_ns: tell(TermGranted(wish, term, until_ns)),
        lost=lambda wish: tell(TermLost(wish)),
    )
    # Short enough that another member is asked well before the lease has run out.
    gateway = Gateway(access, settings.lease_s / ATTEMPTS_PER_LEASE)
    return EtcdArbiter(gateway, settings.prefix, node, settings.lease_s, boottime_ns, listener)


def _end_if_raised(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        end_if_raised(task)
