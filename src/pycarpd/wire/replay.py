"""Replay protection without clocks: a window of sequence numbers in the sender's boot epoch.

A sender's boot epoch grows with each of its starts, its sequence with each advert. So a greater epoch is a new life and
begins a new window, a smaller one is a recording, and within an epoch each sequence is taken once, out of order by
at most 63. A constant amount of memory, whatever arrives.
"""

from typing import Final

WINDOW: Final = 64
"""How far behind the newest an advert may arrive; the network reorders by a handful."""
_MASK = (1 << WINDOW) - 1


class ReplayWindow:
    """The newest epoch heard from one sender and which of its last 64 sequences have been heard.

    ``epoch`` is -1 before anything was heard. Bit n of ``seen`` stands for sequence ``newest - n``.
    """

    __slots__ = ("epoch", "newest", "seen")

    def __init__(self) -> None:
        self.epoch = -1
        self.newest = 0
        self.seen = 0

    def is_fresh(self, sequence: int) -> bool:
        """Tell whether *sequence* of the present epoch is new; one older than the window never is."""
        behind = self.newest - sequence
        return behind < 0 or (behind < WINDOW and not self.seen >> behind & 1)

    def has_heard(self, sequence: int) -> bool:
        """Tell whether *sequence* of the present epoch is known to have been taken."""
        behind = self.newest - sequence
        return 0 <= behind < WINDOW and bool(self.seen >> behind & 1)

    def begin(self, epoch: int, sequence: int) -> None:
        """Begin the window of a new epoch with its first heard sequence."""
        self.epoch = epoch
        self.newest = sequence
        self.seen = 1

    def take(self, sequence: int) -> bool:
        """Mark a fresh *sequence* of the present epoch; True when it is the newest."""
        ahead = sequence - self.newest
        if ahead <= 0:
            self.seen |= 1 << -ahead
            return False
        self.seen = 1 if ahead >= WINDOW else (self.seen << ahead | 1) & _MASK
        self.newest = sequence
        return True
