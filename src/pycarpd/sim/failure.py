"""The one exception of the rehearsal: a rule was broken."""


class CheckFailedError(Exception):
    """A rule was broken; the text says which, where and when."""
