"""What a job says, made fit for an event: as UTF-8 can hold it, as JSON can hold it, and not too long."""

from typing import Any

import msgspec

MAX_TEXT = 2_000
"""Characters of a name, a message or a reason: a screen shows one line of it."""
MAX_DETAILS = 8 << 10
"""Bytes of a traceback: its end says most, and escaped it stays far below the 65,535 of an event."""
MAX_VALUE = 48 << 10
"""Bytes of a result or of metadata; with the texts beside it the event stays below 65,535."""


def text(value: object, most: int = MAX_TEXT) -> str:
    """Return `value` as text of at most `most` characters; what UTF-8 cannot hold becomes a question mark."""
    said = value if isinstance(value, str) else str(value)
    if len(said) > most:
        said = said[: most - 1] + "…"
    return said.encode(errors="replace").decode()


def ending(value: str, most: int = MAX_DETAILS) -> str:
    """Return the end of `value`, at most `most` bytes of UTF-8, from the beginning of a line where there is one."""
    encoded = value.encode(errors="replace")
    if len(encoded) <= most:
        return encoded.decode()
    kept = encoded[-most:].decode(errors="ignore")
    _, newline, whole_lines = kept.partition("\n")
    return whole_lines if newline and whole_lines else kept


def jsonable(value: Any, most: int = MAX_VALUE) -> Any:
    """Return `value` as JSON can hold it: what JSON does not know is written as text.

    A value of more than `most` bytes is replaced by `{"omitted": "<n> bytes"}`: an event is no place for a table.
    """
    try:
        encoded = msgspec.json.encode(value, enc_hook=str)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return text(_shown(value))
    if len(encoded) > most:
        return {"omitted": f"{len(encoded)} bytes"}
    return msgspec.json.decode(encoded)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # whatever an object's own __repr__ raises
        return f"<{type(value).__name__}>"
