"""What the heartbeat waits on: its descriptors and one deadline, by epoll and a timerfd.

Of the descriptors only those are read on which there is something; the set is built when it changes, not each round.
"""

import select

from pycarpd.linux.clock import DeadlineTimer


class Waiter:
    """Waits for descriptors or a deadline; ``ready`` are the descriptors that ended the last wait."""

    def __init__(self) -> None:
        self._timer = DeadlineTimer()
        self._epoll = select.epoll()
        self._armed_ns: int | None = None
        self.ready: frozenset[int] = frozenset()

    def watch(self, filenos: tuple[int, ...]) -> None:
        """Wait on these descriptors from now on.

        To be called anew when any of them was closed and another opened: a closed one has left the set by itself, but
        its number may be in use again.
        """
        self._epoll.close()
        self._epoll = select.epoll()
        for fileno in (self._timer.fileno(), *filenos):
            self._epoll.register(fileno, select.EPOLLIN)

    def wait(self, deadline_ns: int) -> None:
        """Return when there is something to read, or the deadline has come."""
        if deadline_ns != self._armed_ns:
            self._timer.arm(deadline_ns)
            self._armed_ns = deadline_ns
        self.ready = frozenset(fileno for fileno, _ in self._epoll.poll(-1))
        if self._timer.fileno() in self.ready:
            self._armed_ns = None  # arming it anew also takes back that it is readable
