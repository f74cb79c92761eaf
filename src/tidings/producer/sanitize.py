"""Sanitizing: makes the values of a job fit for an event: valid UTF-8, valid JSON, and of bounded size."""

from typing import Any

import msgspec

from tidings.client.drafts import MAX_DATA_DEPTH
from tidings.protocol.envelope import measure_depth

MAX_TEXT_CHARS = 2_000
"""Longest name or message, in characters: a screen shows one line of it."""
MAX_REASON_CHARS = 1_000
"""Longest reason of a cancellation and longest name of its author that the protocol allows, in characters."""
MAX_DETAILS_BYTES = 8 << 10
"""Longest traceback, in bytes: its end matters most, and escaped it stays far below the 65,535 bytes of an event."""
MAX_VALUE_BYTES = 48 << 10
"""Largest result or metadata, in bytes; with the texts beside it the event stays below 65,535."""
MAX_VALUE_DEPTH = MAX_DATA_DEPTH - 1
"""Most levels of arrays and objects in a result or in metadata, which are one level below the data of the event."""


def text(value: object, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return `value` as text of at most `max_chars` characters; what UTF-8 cannot encode becomes a question mark."""
    string = value if isinstance(value, str) else str(value)
    if len(string) > max_chars:
        string = string[: max_chars - 1] + "…"
    return string.encode(errors="replace").decode()


def tail(value: str, max_bytes: int = MAX_DETAILS_BYTES) -> str:
    """Return the end of `value`, at most `max_bytes` of UTF-8, from the start of a line if there is one."""
    encoded = value.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    kept = encoded[-max_bytes:].decode(errors="ignore")
    _, newline, whole_lines = kept.partition("\n")
    return whole_lines if newline and whole_lines else kept


def jsonable(value: Any, max_bytes: int = MAX_VALUE_BYTES) -> Any:
    """Return `value` as JSON can represent it; objects of other types become text.

    A value of more than `max_bytes` is replaced by `{"omitted": "<n> bytes"}`: events are not made for tables. So is
    one that nests deeper than `MAX_VALUE_DEPTH`, by `{"omitted": "<n> levels"}`: no hub would accept the event.
    """
    try:
        encoded = msgspec.json.encode(value, enc_hook=str)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return text(_repr(value))
    if len(encoded) > max_bytes:
        return {"omitted": f"{len(encoded)} bytes"}
    if (levels := measure_depth(encoded)) > MAX_VALUE_DEPTH:
        return {"omitted": f"{levels} levels"}
    return msgspec.json.decode(encoded)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # the __repr__ of an object may raise anything
        return f"<{type(value).__name__}>"
