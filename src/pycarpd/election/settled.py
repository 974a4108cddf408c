"""What a node knows of its own files once its metalogger was stopped, and how long it waits for the others'."""

from dataclasses import dataclass


@dataclass(slots=True)
class Settled:
    """One node's part in settling.

    ``is_settled``: a look has found all that there is, and no master was followed since, nor anything served here.
    ``has_given_way``: a candidacy was given up for newer files since then. ``until_ns``: until when a candidate that is
    ready waits for the others.
    """

    is_settled: bool = False
    has_given_way: bool = False
    until_ns: int | None = None
