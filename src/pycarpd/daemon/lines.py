"""Whom the heartbeat speaks with, and whom first."""

from dataclasses import dataclass

from pycarpd.daemon.channel import Channel
from pycarpd.election import effects as fx


@dataclass(frozen=True, slots=True)
class Lines:
    """The channels to the worker, to its thread that writes votes, and to the supervisor."""

    worker: Channel
    votes: Channel
    supervisor: Channel


def place(effect: fx.Effect) -> int:
    """Return an effect's place among those of one answer, 0 for the first; equal ones keep their order.

    The disk and the address come first, since others rely on them; then the peers, who wait for an advert; then this
    host's worker.
    """
    if isinstance(effect, fx.Persist | fx.DetachVip | fx.AttachVip):
        return 0
    return 1 if isinstance(effect, fx.Send | fx.RenewLease) else 2
