"""Results of checks."""

from enum import StrEnum

from msgspec import Struct


class CheckStatus(StrEnum):
    """Result of a check."""

    GOOD = "good"
    NOTE = "note"
    """A remark; nothing is broken."""
    BAD = "bad"
    SKIPPED = "skipped"
    """Not run, because an earlier check failed."""


MARKS = {CheckStatus.GOOD: "✓", CheckStatus.NOTE: "!", CheckStatus.BAD: "✗", CheckStatus.SKIPPED: "–"}


class CheckResult(Struct, frozen=True, kw_only=True):
    """One line of the doctor's report."""

    check: str
    """Name of the check."""
    verdict: CheckStatus
    summary: str
    hint: str = ""
    """Remedy."""


def good(check: str, summary: str) -> CheckResult:
    """Return a successful result."""
    return CheckResult(check=check, verdict=CheckStatus.GOOD, summary=summary)


def note(check: str, summary: str, hint: str = "") -> CheckResult:
    """Return a remark."""
    return CheckResult(check=check, verdict=CheckStatus.NOTE, summary=summary, hint=hint)


def bad(check: str, summary: str, hint: str) -> CheckResult:
    """Return a fault and its remedy."""
    return CheckResult(check=check, verdict=CheckStatus.BAD, summary=summary, hint=hint)


def skipped(check: str) -> CheckResult:
    """Return the result of a check that was not run."""
    return CheckResult(check=check, verdict=CheckStatus.SKIPPED, summary="not checked")
