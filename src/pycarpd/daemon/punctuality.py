"""What the machine grants a heartbeat that is to be punctual, and what its adverts promise where it grants less.

Where real time was asked for and refused, or taken away from a loop that never waited, adverts of a few milliseconds
may come late. The node goes on sending them as often, but asks the others to wait for longer: its lease, and the
interval in its adverts, are those of an interval that a process at the best nice value keeps. A takeover takes a tenth
of a second longer then, and none is for nothing.
"""

from dataclasses import replace
from typing import Final

from pycarpd.election.settings import ElectionSettings
from pycarpd.election.timing import NS_PER_MS
from pycarpd.linux.realtime import Degradation, lost_realtime

KEPT_INTERVAL_NS: Final = 50 * NS_PER_MS
"""Three of these outlast what a busy host lets a process without a real-time priority wait."""
_CODES: Final = frozenset({"no-realtime", "no-priority"})


class Punctuality:
    """Knows what was refused at the start, and looks at what was taken away since."""

    def __init__(self, refused: tuple[Degradation, ...]) -> None:
        self._refused = refused
        self._settings: ElectionSettings | None = None

    def promised(self, settings: ElectionSettings) -> ElectionSettings:
        """Return the settings with what this node's adverts are to promise now."""
        is_longer = self._is_late() and settings.interval_ns < KEPT_INTERVAL_NS
        self._settings = replace(settings, told_interval_ns=KEPT_INTERVAL_NS if is_longer else 0)
        return self._settings

    def changed(self) -> ElectionSettings | None:
        """Return the settings with another promise if something was taken away since the last, else None."""
        was = self._settings
        return None if was is None or self.promised(was) == was else self._settings

    def degradations(self, *others: Degradation | None) -> tuple[Degradation, ...]:
        """Return what is not as it was wished, with what the adverts promise because of it, and the *others*."""
        found = [each for each in (*self._refused, lost_realtime(), *others) if each is not None]
        told_ns = self._settings.told_interval_ns if self._settings is not None else 0
        said = f"; the others wait for it as for adverts {told_ns // NS_PER_MS} ms apart" if told_ns else ""
        return tuple(replace(each, detail=each.detail + said) if each.code in _CODES else each for each in found)

    def _is_late(self) -> bool:
        return any(each.code in _CODES for each in self.degradations())
