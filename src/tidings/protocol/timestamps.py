"""RFC 3339 timestamps as text, with every digit of the fraction kept.

A `datetime` holds microseconds and Go writes nanoseconds, so a timestamp stays the text it arrived as, in one
canonical form: UTC with ``Z``, without trailing zeros in the fraction (PROTOCOL.md, "Envelope"). Canonical timestamps
of four-digit years with the same number of digits sort as text; use `to_nanoseconds` to compare any two.
"""

import re
from datetime import datetime, timedelta

from tidings.exceptions import InvalidTimestamp

GO_ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time, the timestamp of an unset field; the hub then stamps the event on receipt."""
MIN_YEAR, MAX_YEAR = 1678, 2261
"""The years whose moments are nanoseconds since 1970 in 64 bits, as Go's `time.Time.UnixNano` counts them
(https://pkg.go.dev/time#Time.UnixNano). Events have timestamps within them."""
MIN_UNIX_NS = -(2**63)

_RFC_3339 = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"[Tt](?P<minute>(?:[01][0-9]|2[0-3]):[0-5][0-9]):(?P<second>[0-5][0-9]|60)(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9]))"
)
_SPACED_OFFSET = re.compile(" (?=[0-9]{2}:[0-9]{2}$)")
MAX_TIMESTAMP_CHARS = len("2025-07-30T12:00:00.123456789Z")
"""Maximum characters of a canonical timestamp."""
is_canonical_end = re.compile(r"\.[0-9]{0,8}[1-9]Z").fullmatch
"""Called with a timestamp and 19: matches if the rest, from there, is a fraction in canonical form and `Z`."""
known_seconds: dict[str, int] = {}
"""Cache of the first 19 characters of canonical timestamps, with their seconds since 1970; events come in order of
time, many per second."""
_MAX_KNOWN_SECONDS = 256
_GO_ZERO_DAYS = {"0000-12-31": -1, "0001-01-01": 0, "0001-01-02": 1}
"""The dates that Go's zero time has in local times, in days after its own."""
_EPOCH = datetime(1970, 1, 1)
_DAY_S = 86_400
_NS = 1_000_000_000


def canonicalize(text: str) -> str:
    """Return `text` in canonical form.

    A leap second is read as the following second, as POSIX clocks count it; neither `time.Time` nor `datetime` can
    represent it. Go's zero time in a local time is read as the zero time: the local mean times of its year have
    seconds, which Go leaves out of the offset, as in `0001-01-01T00:53:28+00:53` for Berlin.

    Args:
        text: RFC 3339 with 0–9 fraction digits and any offset.

    Raises:
        InvalidTimestamp: `text` is not RFC 3339, or not in the years 1–9999.
    """
    if text[:19] in known_seconds and (text[19:] == "Z" or is_canonical_end(text, 19)):
        return text
    try:
        match = _RFC_3339.fullmatch(text)
        if match is None:
            raise ValueError("it has another form")
        day, minute, second, fraction, sign, hours, minutes = match.groups()
        if sign is not None and not fraction and day in _GO_ZERO_DAYS:
            offset_s = int(f"{sign}1") * (int(hours) * 60 + int(minutes)) * 60
            local_s = (int(minute[:2]) * 60 + int(minute[3:])) * 60 + int(second)
            if abs(_GO_ZERO_DAYS[day] * _DAY_S + local_s - offset_s) < 60:
                return GO_ZERO_TIME
        moment = datetime.fromisoformat(f"{day}T{minute}")
        if sign is not None:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            moment += -offset if sign == "+" else offset
        if second == "60" and (moment.hour, moment.minute) != (23, 59):
            raise ValueError("a leap second ends a day of UTC")
        moment += timedelta(seconds=int(second))
    except (ValueError, OverflowError) as cause:
        raise InvalidTimestamp(
            f"$.timestamp: {text[:64]!r} is not RFC 3339",
            hint='Write UTC like "2025-07-30T12:00:00.5Z", or leave it out and the hub stamps it.',
        ) from cause
    if MIN_YEAR <= moment.year <= MAX_YEAR:  # an event with a known second is not checked again
        if len(known_seconds) >= _MAX_KNOWN_SECONDS:
            known_seconds.clear()
        known_seconds[moment.isoformat()] = _unix_seconds(moment)
    return _text(moment, (fraction or "").rstrip("0"))


def check_year(timestamp: str) -> None:
    """Check that a canonical timestamp lies within `MIN_YEAR` and `MAX_YEAR`.

    Raises:
        InvalidTimestamp: It does not.
    """
    if not MIN_YEAR <= int(timestamp[:4]) <= MAX_YEAR:
        raise InvalidTimestamp(
            f"$.timestamp: invalid year of {timestamp!r}: expected {MIN_YEAR} to {MAX_YEAR}",
            hint="Correct the clock or the conversion that it comes from, or leave it out and the hub stamps it.",
        )


def _text(moment: datetime, fraction: str) -> str:
    return f"{moment.isoformat()}.{fraction}Z" if fraction else f"{moment.isoformat()}Z"


def from_nanoseconds(unix_ns: int) -> str:
    """Return the canonical text of `unix_ns`, nanoseconds since 1970-01-01T00:00:00Z.

    Raises:
        OverflowError: The time is not in the years 1–9999.
    """
    seconds, rest = divmod(unix_ns, _NS)
    return _text(_EPOCH + timedelta(seconds=seconds), f"{rest:09d}".rstrip("0"))


def to_nanoseconds(text: str) -> int:
    """Return the RFC 3339 timestamp `text` as nanoseconds since 1970-01-01T00:00:00Z.

    Raises:
        InvalidTimestamp: `text` is not RFC 3339.
    """
    text = canonicalize(text)
    seconds = known_seconds.get(text[:19])
    if seconds is None:
        seconds = _unix_seconds(datetime.fromisoformat(text[:19]))
    return seconds * _NS + int(text[20:-1].ljust(9, "0"))


def _unix_seconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return since.days * _DAY_S + since.seconds


def restore_plus(text: str) -> str:
    """Return a time with the `+` of its offset, which people leave unencoded in a URL and which then is a space."""
    return _SPACED_OFFSET.sub("+", text)


def stored_nanoseconds(text: str, received_ns: int) -> int:
    """Return the timestamp of an event in a log as nanoseconds since 1970, in 64 bits and never after its receipt.

    Any text has a result: older hubs stored timestamps of every year, and a row may be damaged. Text that is not a
    moment in 64 bits counts as a timestamp that was left out.
    """
    try:
        unix_ns = to_nanoseconds(text)
    except InvalidTimestamp:
        return received_ns
    return min(unix_ns, received_ns) if unix_ns >= MIN_UNIX_NS else received_ns
