"""What a check found."""

from enum import StrEnum

from msgspec import Struct


class CheckStatus(StrEnum):
    """How a check ended."""

    GOOD = "good"
    NOTE = "note"
    """Worth knowing; nothing is broken."""
    BAD = "bad"
    SKIPPED = "skipped"
    """It would need what a check before it did not find."""


MARKS = {CheckStatus.GOOD: "✓", CheckStatus.NOTE: "!", CheckStatus.BAD: "✗", CheckStatus.SKIPPED: "–"}


class CheckResult(Struct, frozen=True, kw_only=True):
    """One line of the doctor's report."""

    check: str
    """What was looked at, in a word or two."""
    verdict: CheckStatus
    summary: str
    hint: str = ""
    """What to do about it."""


def good(check: str, summary: str) -> CheckResult:
    """Return that all is well."""
    return CheckResult(check=check, verdict=CheckStatus.GOOD, summary=summary)


def note(check: str, summary: str, hint: str = "") -> CheckResult:
    """Return something worth knowing."""
    return CheckResult(check=check, verdict=CheckStatus.NOTE, summary=summary, hint=hint)


def bad(check: str, summary: str, hint: str) -> CheckResult:
    """Return what is broken and what to do about it."""
    return CheckResult(check=check, verdict=CheckStatus.BAD, summary=summary, hint=hint)


def skipped(check: str) -> CheckResult:
    """Return that a check made no sense any more."""
    return CheckResult(check=check, verdict=CheckStatus.SKIPPED, summary="not checked")
