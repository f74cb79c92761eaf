"""Sanitizing: makes the values of a job fit for an event: valid UTF-8, valid JSON, and of bounded size.

The methods and attributes of these values are foreign code, which may raise anything. This module reads them for the
whole producer. Its functions raise nothing but a KeyboardInterrupt, which may be a person's.
"""

import numbers
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from tidings.client.drafts import MAX_DATA_DEPTH
from tidings.protocol.envelope import measure_depth
from tidings.redaction import redact_text

T = TypeVar("T")

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


def read(function: Callable[[], T], default: T) -> T:
    """Return what `function` returns; `default` if it raises anything but a KeyboardInterrupt."""
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException:  # even SystemExit: the exit code of the job is not that of its `__str__`
        return default


def read_attribute(value: object, name: str) -> Any:
    """Return an attribute of `value`; None if there is none, or if it raises."""
    return read(lambda: getattr(value, name, None), None)


def class_name(value: object) -> str:
    """Return the name of the class of `value`, without calling its metaclass."""
    name: str = _CLASS_NAME.__get__(type(value))
    return name


_CLASS_NAME = type.__dict__["__name__"]


def text(value: object, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return `value` as text of at most `max_chars` characters; what UTF-8 cannot encode becomes a question mark.

    A value whose `__str__` raises becomes the name of its class: `<Order>`.
    """
    string = value if type(value) is str else read(lambda: _string(value), None)
    if string is None:
        string = f"<{class_name(value)}>"
    if len(string) > max_chars:
        string = string[: max_chars - 1] + "…"
    return string.encode(errors="replace").decode()


def redacted_text(value: object, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return `value` as `text` does, with `REDACTED` in place of what looks like a secret.

    Redaction comes before the cut: the first half of a secret may not look like one.
    """
    return text(redact_text(text(value, 4 * max_chars)), max_chars)


def _string(value: object) -> str:
    # A subclass of str may override any method; this returns a plain copy.
    return str.__str__(value if isinstance(value, str) else str(value))


def tail(value: str, max_bytes: int = MAX_DETAILS_BYTES) -> str:
    """Return the end of `value`, at most `max_bytes` of UTF-8, from the start of a line if there is one."""
    encoded = value.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    kept = encoded[-max_bytes:].decode(errors="ignore")
    _, newline, whole_lines = kept.partition("\n")
    return whole_lines if newline and whole_lines else kept


def jsonable(value: Any, max_bytes: int = MAX_VALUE_BYTES) -> Any:
    """Return `value` as JSON can represent it; objects of other types become numbers, if they are numbers, or text.

    An integer beyond 64 bits becomes text, because no hub would accept the event. A value of more than `max_bytes` is
    replaced by `{"omitted": "<n> bytes"}`: events are not made for tables. So is one that nests deeper than
    `MAX_VALUE_DEPTH`, by `{"omitted": "<n> levels"}`.
    """

    def convert() -> tuple[Any]:
        encoded = msgspec.json.encode(value, enc_hook=_plain)
        if len(encoded) > max_bytes:
            return ({"omitted": f"{len(encoded)} bytes"},)
        if (levels := measure_depth(encoded)) > MAX_VALUE_DEPTH:
            return ({"omitted": f"{levels} levels"},)
        decoded = msgspec.json.decode(encoded)
        return (decoded if _fits(decoded) else _with_integers_as_text(decoded),)

    converted = read(convert, None)
    return _repr(value) if converted is None else converted[0]


def _fits(value: Any) -> bool:
    """Return whether decoded JSON has no integer beyond 64 bits."""
    try:
        msgspec.msgpack.encode(value)
    except OverflowError:
        return False
    return True


def _with_integers_as_text(value: Any) -> Any:
    """Return decoded JSON with text in place of the integers beyond 64 bits."""
    if isinstance(value, dict):
        return {name: _with_integers_as_text(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_integers_as_text(member) for member in value]
    return value if _fits(value) else str(value)


def _plain(value: object) -> int | float | str:
    """Return the number that a number of another library is, as one of numpy; else the text of `value`."""
    kind = type(value)
    number: int | float | None = None
    if issubclass(kind, numbers.Integral):
        number = read(lambda: int(value), None)  # type: ignore[call-overload]
    elif issubclass(kind, numbers.Real) and not issubclass(kind, numbers.Rational):
        number = read(lambda: float(value), None)  # type: ignore[arg-type]
    return text(value, MAX_VALUE_BYTES) if number is None else number


def _repr(value: object) -> str:
    return text(read(lambda: repr(value), None) or f"<{class_name(value)}>")
