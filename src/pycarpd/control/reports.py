"""Coded reports: what is wrong, which rule says so, what to do next.

An operator's fault, a refusal and a degradation are all told as a Report. The code is stable and is what scripts
and tests compare; the sentence may be reworded at any time. The long text of every code is kept in
``explanations.toml`` beside this module and shown by ``pycarpctl explain CODE``.
"""

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from pycarpd.invariant import invariant


class Severity(StrEnum):
    """How much a report matters; ordered by ``rank``."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Return 0 for info, 1 for warning, 2 for error."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the registry knows of a code: its usual severity, one line, the long text and the next step."""

    code: str
    severity: Severity
    summary: str
    text: str
    hint: str
    force_code: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One thing an operator should know.

    ``key`` is the configuration key path, file, interface or host concerned, ``value`` what was found there,
    ``rule`` what holds instead, ``hint`` the next step, ``force_code`` the one word that overrides the refusal
    (None where nothing may override it).
    """

    code: str
    severity: Severity
    message: str
    key: str | None = None
    value: str | None = None
    rule: str | None = None
    hint: str | None = None
    force_code: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return the report as plain JSON values; the severity as its word."""
        return asdict(self)

    @property
    def line(self) -> str:
        """Return the report on one line: severity, where, what, and the code to look up."""
        where = f"{self.key}: " if self.key else ""
        return f"{self.severity}: {where}{self.message} [{self.code}]"


@cache
def explanations() -> dict[str, Explanation]:
    """Return the registry of codes, read once from the package's own data file."""
    text = resources.files("pycarpd.control").joinpath("explanations.toml").read_text(encoding="utf-8")
    return {code: _explanation(code, entry) for code, entry in tomllib.loads(text).items()}


def _explanation(code: str, entry: dict[str, str]) -> Explanation:
    return Explanation(
        code=code,
        severity=Severity(entry["severity"]),
        summary=entry["summary"],
        text=entry["text"].strip(),
        hint=entry["hint"],
        force_code=entry.get("force_code"),
    )


def report(
    code: str,
    message: str,
    *,
    key: str | None = None,
    value: object = None,
    rule: str | None = None,
    hint: str | None = None,
    severity: Severity | None = None,
) -> Report:
    """Return a report of a registered code; severity and hint come from the registry unless given."""
    known = explanations().get(code)
    invariant(known is not None, f"report code {code} is not in the registry")
    assert known is not None  # noqa: S101  narrows the type after the invariant above
    return Report(
        code=code,
        severity=severity or known.severity,
        message=message,
        key=key,
        value=None if value is None else str(value),
        rule=rule,
        hint=hint or known.hint,
        force_code=known.force_code,
    )


def degradation(code: str, message: str, hint: str) -> Report:
    """Return a report of a degradation that another room has named; its code need not be registered."""
    known = explanations().get(code)
    return Report(code, known.severity if known else Severity.WARNING, message, hint=hint)


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that *word* was probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)), None)


def worst(reports: Iterable[Report]) -> Severity | None:
    """Return the gravest severity among *reports*, or None when there is none."""
    return max((each.severity for each in reports), key=lambda severity: severity.rank, default=None)
