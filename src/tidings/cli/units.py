"""Sizes and durations in text: `1GiB`, `7d`, `1m30s`."""

import re
from collections.abc import Mapping

_BYTES: Mapping[str, int] = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_WRITTEN_BYTES = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_SECONDS: Mapping[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_WRITTEN_SECONDS = (("d", 86_400), ("h", 3600), ("m", 60))

_NUMBER = r"(\d+(?:\.\d+)?)"
_SIZE = re.compile(_NUMBER + r"\s*([a-zA-Z]*)", re.ASCII)
_DURATION_PART = re.compile(_NUMBER + r"\s*(ms|[smhdw])\s*", re.ASCII)
_SIZE_FORMS = "7MB, 512MiB or 65536B"
_DURATION_FORMS = "7d, 1h30m, 45s or 500ms"


def parse_size(text: str) -> int:
    """Return a size in bytes, written as `1GiB`, `500 MB` or `65536B`; only 0 needs no unit.

    Raises:
        ValueError: `text` is not a size.
    """
    if text.strip() == "0":
        return 0
    match = _SIZE.fullmatch(text.strip().replace("_", ""))
    factor = _BYTES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"invalid size {text[:40]!r}: expected a number with a unit, such as {_SIZE_FORMS}")
    return round(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def format_size(size: int) -> str:
    """Return a size in bytes as text that `parse_size` reads back exactly."""
    for unit, factor in _WRITTEN_BYTES:
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B" if size else "0"


def describe_size(size: int) -> str:
    """Return a size in bytes for people, rounded to about three digits: `1.46 GiB`."""
    for unit, factor in _WRITTEN_BYTES:
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 1000 * factor else f"{size // factor:,} {unit}"
    return f"{size} B"


def parse_duration(text: str) -> float:
    """Return a duration in seconds, written as `7d`, `1h30m` or `500ms`; only 0 needs no unit.

    Raises:
        ValueError: `text` is not a duration.
    """
    text = text.strip()
    if text == "0":
        return 0.0
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"invalid duration {text[:40]!r}: expected a number with a unit, such as {_DURATION_FORMS}")
    return sum(float(part[1]) * _SECONDS[part[2]] for part in parts)


def format_duration(seconds: float) -> str:
    """Return a duration as text that `parse_duration` reads back, to the millisecond."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    written = ""
    rest = round(seconds, 3)
    for unit, length in _WRITTEN_SECONDS:
        count = int(rest // length)
        if count:
            written += f"{count}{unit}"
            rest = round(rest - count * length, 3)
    return f"{written}{rest:g}s" if rest or not written else written


def clock_time(seconds: float) -> str:
    """Return an elapsed time for people: `0:07`, `12:03`, `1:02:03`."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def describe_duration(seconds: float) -> str:
    """Return a duration for people: `0.9 s`, `42 s`, `12:03`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 59.5 else clock_time(seconds)


def describe_span(seconds: float) -> str:
    """Return a duration for people, in its largest fitting unit: `3 s`, `14 min`, `2 h`, `3 days`."""
    if seconds < 99.5:
        return f"{max(0, round(seconds))} s"
    if seconds < 99.5 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 47.5 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86_400)} days"


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `4th`, `11th`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
