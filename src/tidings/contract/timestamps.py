"""RFC 3339 timestamps as text, with every digit of the fraction kept.

A `datetime` holds microseconds and Go writes nanoseconds, so a timestamp stays the text it arrived as, in one
canonical form: UTC with ``Z``, the fraction's trailing zeros dropped (CONTRACT §1). Canonical timestamps of four-digit
years with the same number of digits sort as text; use `nanoseconds` to compare any two.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from tidings.exceptions import InvalidTimestamp

ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time, which a struct nobody filled in carries; it means "stamp it on receipt"."""

_FORM = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FRACTION = re.compile(r"(?:\.\d{0,8}[1-9])?Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_OFFSET = timedelta(hours=24)


def canonical(text: str) -> str:
    """Return `text` in canonical form.

    Args:
        text: RFC 3339 with 0–9 fraction digits and any offset.

    Raises:
        InvalidTimestamp: It is not RFC 3339, or no such moment exists in years 1–9999.
    """
    if _is_second(text[:19]) and _FRACTION.fullmatch(text, 19):
        return text
    match = _FORM.fullmatch(text)
    if match is None:
        raise _invalid(text)
    day, time, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}")
        if zone not in "Zz":
            sign = -1 if zone[0] == "+" else 1
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
            if offset >= _MAX_OFFSET or zone[4:6] > "59":
                raise _invalid(text)
            moment += sign * offset
            day, time = moment.date().isoformat(), moment.time().isoformat()
    except (ValueError, OverflowError) as cause:
        raise _invalid(text) from cause
    digits = fraction.rstrip("0") if fraction else ""
    return f"{day}T{time}.{digits}Z" if digits else f"{day}T{time}Z"


@lru_cache(maxsize=256)  # events come in time's order: the same second again and again
def _is_second(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def from_nanoseconds(unix_ns: int) -> str:
    """Return the canonical text of `unix_ns`, nanoseconds since 1970-01-01T00:00:00Z."""
    seconds, fraction = divmod(unix_ns, 1_000_000_000)
    moment = _EPOCH + timedelta(seconds=seconds)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"


def nanoseconds(text: str) -> int:
    """Return nanoseconds since 1970-01-01T00:00:00Z of a canonical timestamp.

    Raises:
        InvalidTimestamp: `text` is not RFC 3339.
    """
    whole, _, fraction = canonical(text)[:-1].partition(".")
    since = datetime.fromisoformat(whole).replace(tzinfo=UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)


def _invalid(text: str) -> InvalidTimestamp:
    return InvalidTimestamp(
        f"timestamp {text[:64]!r} is not RFC 3339",
        hint='Write UTC like "2025-07-30T12:00:00.5Z", or leave it out and the hub stamps it.',
    )
