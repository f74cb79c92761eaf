"""Parsers of the arguments that shell scripts pass to `tidings report`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from tidings.exceptions import ConfigError

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%?", re.ASCII)
_FRACTION = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)", re.ASCII)
UNKNOWN = "?"
_MAX_DETAILS_CHARACTERS = 16_000
"""Characters of details that are kept, from the end: escaped, in UTF-8, they stay below the limit of 65,535 bytes."""


def read_percent(text: str) -> float | None:
    """Return the percentage of `42`, `42%` or `3/7`; None for `?`, an unknown share.

    Raises:
        ConfigError: `text` is not one of these, or not from 0 to 100.
    """
    text = text.strip()
    if text == UNKNOWN:
        return None
    percent = _PERCENT.fullmatch(text)
    fraction = _FRACTION.fullmatch(text)
    value = -1.0
    if percent is not None:
        value = float(percent[1])
    elif fraction is not None and float(fraction[2]) > 0:
        value = 100.0 * float(fraction[1]) / float(fraction[2])
    if not 0.0 <= value <= 100.0:
        raise ConfigError(
            f"invalid progress {text[:40]!r}: expected 0 to 100 percent",
            option="percent",
            source="argument",
            hint="Pass 42%, a share such as 3/7, or ? if the amount of work is unknown.",
        )
    return value


def read_text(option: str, text: str | None) -> str | None:
    """Return the text of an option: itself, stdin for `-`, or a file for `@FILE`; of a long text the end.

    Raises:
        ConfigError: The file cannot be read.
    """
    if text is None:
        return None
    if text == "-":
        text = sys.stdin.buffer.read().decode(errors="replace")
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_bytes().decode(errors="replace")
        except OSError as cause:
            raise ConfigError(
                f"--{option}: cannot read {text[1:]!r}: {cause.strerror}",
                option=option,
                source="argument",
                hint="Check the path after @.",
            ) from cause
    return text[-_MAX_DETAILS_CHARACTERS:].encode(errors="replace").decode()


def read_json(option: str, text: str | None) -> Any:
    """Return the value of a JSON option: itself, stdin for `-`, or a file for `@FILE`.

    Raises:
        ConfigError: The text is not JSON, or the file cannot be read.
    """
    read = read_text(option, text)
    if read is None:
        return None
    try:
        return json.loads(read)
    except ValueError as cause:
        raise ConfigError(
            f"--{option}: invalid JSON {read[:40]!r}: {cause}",
            option=option,
            source="argument",
            hint="""Quote it for the shell: '{"rows": 12}', or '"text"'.""",
        ) from cause


def read_object(option: str, text: str | None) -> dict[str, Any] | None:
    """Return the value of an option that takes a JSON object.

    Raises:
        ConfigError: The value is not a JSON object.
    """
    value = read_json(option, text)
    if value is not None and not isinstance(value, dict):
        raise ConfigError(
            f"--{option}: expected a JSON object",
            option=option,
            source="argument",
            hint="""Write it like '{"weight": 3}'.""",
        )
    return value


def read_steps(text: str | None) -> list[str] | None:
    """Return the names in `a,b,c`."""
    if text is None:
        return None
    return [name for name in (part.strip() for part in text.split(",")) if name]
