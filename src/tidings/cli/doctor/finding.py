"""What a check found."""

from enum import StrEnum

from msgspec import Struct


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "good"
    NOTE = "note"
    """Worth knowing; nothing is broken."""
    BAD = "bad"
    SKIPPED = "skipped"
    """It would need what a check before it did not find."""


MARKS = {Verdict.GOOD: "✓", Verdict.NOTE: "!", Verdict.BAD: "✗", Verdict.SKIPPED: "–"}


class Finding(Struct, frozen=True, kw_only=True):
    """One line of the doctor's report."""

    check: str
    """What was looked at, in a word or two."""
    verdict: Verdict
    summary: str
    hint: str = ""
    """What to do about it."""


def good(check: str, summary: str) -> Finding:
    """Return that all is well."""
    return Finding(check=check, verdict=Verdict.GOOD, summary=summary)


def note(check: str, summary: str, hint: str = "") -> Finding:
    """Return something worth knowing."""
    return Finding(check=check, verdict=Verdict.NOTE, summary=summary, hint=hint)


def bad(check: str, summary: str, hint: str) -> Finding:
    """Return what is broken and what to do about it."""
    return Finding(check=check, verdict=Verdict.BAD, summary=summary, hint=hint)


def skipped(check: str) -> Finding:
    """Return that a check made no sense any more."""
    return Finding(check=check, verdict=Verdict.SKIPPED, summary="not checked")
