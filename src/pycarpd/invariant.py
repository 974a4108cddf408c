"""The one way to state a fact whose failure is a bug of ours.

Unlike ``assert`` it survives ``python -O``. Faults of peers, operators and the system are values, never this.
"""


class InvariantError(Exception):
    """A bug in pycarpd itself: the process that meets it must stop."""


def invariant(condition: bool, text: str) -> None:
    """Raise InvariantError with *text* unless *condition* holds."""
    if not condition:
        raise InvariantError(text)
