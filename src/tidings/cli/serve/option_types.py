"""Types of `tidings serve` options: each reads a flag, a variable or a TOML value, and writes TOML."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidings.cli.units import format_duration, format_size, parse_duration, parse_size
from tidings.exceptions import ConfigError
from tidings.server.link_templates import LinkTemplate, parse_link

_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def format_toml(value: Any) -> str:
    """Return `value` as a TOML basic string; JSON's escapes are TOML's too, except for one control character."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True)
class OptionType:
    """One type of option. `read` raises ValueError for a value that it rejects."""

    metavar: str
    read: Callable[[Any], Any]
    """Parses text (a flag or a variable) or checks a TOML value."""
    write: Callable[[Any], str] = format_toml
    """Formats a value as TOML that `read` accepts."""


def text(metavar: str, *, prefix: str = "") -> OptionType:
    """Return the type of non-empty text that begins with `prefix`."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not value:
            raise _invalid("text", value, "expected at least one character")
        if not value.startswith(prefix):
            raise _invalid("text", value, f"expected it to begin with {prefix!r}")
        return value

    return OptionType(metavar, read)


_URL_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/]*@")


def journal_url() -> OptionType:
    """Return the type of URLs of a journal, which are shown without their password."""
    urls = text("URL")

    def read(value: object) -> str:
        if not isinstance(value, str) or "://" not in value:
            raise ValueError("invalid URL: expected nats://host:4222/NAME or postgresql://host:5432/database")
        return str(urls.read(value))

    return OptionType("URL", read, lambda value: format_toml(_URL_PASSWORD.sub(r"\1:***@", value)))


_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")


def place() -> OptionType:
    """Return the type of addresses to listen on: a host and a port, which may be 0 for a free one."""

    def read(value: object) -> str:
        match = _PLACE.fullmatch(value) if isinstance(value, str) else None
        if match is None or int(match[2]) > 0xFFFF:
            raise _invalid("address", value, "expected HOST:PORT, such as '127.0.0.1:9100'")
        return match[0]

    return OptionType("HOST:PORT", read)


_CLAIM_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9_]*)=([A-Za-z0-9!#$%&'*+.^_`|~-]+)")
"""A claim, and the name of a header (RFC 9110 §5.1)."""


def claim_header() -> OptionType:
    """Return the type of claims and the headers that hold them, in lower case."""

    def read(value: object) -> str:
        match = _CLAIM_HEADER.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise _invalid("header", value, "expected CLAIM=HEADER, such as 'user=X-Webauth-User'")
        return f"{match[1]}={match[2].lower()}"

    return OptionType("CLAIM=HEADER", read)


def integer(minimum: int, maximum: int | None = None) -> OptionType:
    """Return the type of integers within bounds, which are included."""
    bounds = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def read(value: object) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool):
            number = None
        if number is None or number < minimum or (maximum is not None and number > maximum):
            raise _invalid("number", value, f"expected an integer {bounds}")
        return number

    return OptionType("N", read, str)


AUTO = "auto"


def integer_or_auto(minimum: int, maximum: int) -> OptionType:
    """Return the type of integers within bounds, which are included, or `auto`, which is read as 0."""
    numbers = integer(minimum, maximum)

    def read(value: object) -> int:
        if value == AUTO:
            return 0
        try:
            return int(numbers.read(value))
        except ValueError:
            raise _invalid("number", value, f"expected 'auto' or an integer from {minimum} to {maximum}") from None

    return OptionType("N|auto", read, lambda value: str(value) if value else format_toml(AUTO))


def size(minimum: int, maximum: int) -> OptionType:
    """Return the type of sizes, in bytes, within bounds, which are included."""

    def read(value: object) -> int:
        if value == 0 and not isinstance(value, bool):
            value = "0"
        if not isinstance(value, str):
            raise _invalid("size", value, "expected text with a unit, such as '512MiB'")
        number = parse_size(value)
        if number < minimum:
            raise _invalid("size", value, f"expected at least {format_size(minimum)}")
        if number > maximum:
            raise _invalid("size", value, f"expected at most {format_size(maximum)}")
        return number

    return OptionType("SIZE", read, lambda value: format_toml(format_size(value)))


def size_or_off(minimum: int, maximum: int, default: int) -> OptionType:
    """Return the type of sizes from which something is done, in bytes: `on` is `default`, and `off`, which is 0, never.

    Args:
        minimum: Smallest size.
        maximum: Largest size.
        default: The size that `on` stands for.
    """
    sizes = size(minimum, maximum)

    def read(value: object) -> int:
        word = value if isinstance(value, bool) else _WORDS.get(str(value).strip().lower())
        if word is not None:
            return default if word else 0
        return int(sizes.read(value))

    return OptionType("SIZE|off", read, lambda value: sizes.write(value) if value else format_toml("off"))


def duration(minimum_s: float, maximum_s: float) -> OptionType:
    """Return the type of durations, in seconds, within bounds."""

    def read(value: object) -> float:
        if value == 0 and not isinstance(value, bool):
            value = "0"
        if not isinstance(value, str):
            raise _invalid("duration", value, "expected text with a unit, such as '30s'")
        seconds = parse_duration(value)
        if not minimum_s <= seconds <= maximum_s:
            bounds = f"{format_duration(minimum_s)} to {format_duration(maximum_s)}"
            raise _invalid("duration", value, f"expected {bounds}")
        return seconds

    return OptionType("TIME", read, lambda value: format_toml(format_duration(value)))


def choice(*words: str) -> OptionType:
    """Return the type of one of a few words, in any case."""

    def read(value: object) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise _invalid("value", value, f"expected {', '.join(words[:-1])} or {words[-1]}")
        return word

    return OptionType("|".join(words), read)


def path(metavar: str) -> OptionType:
    """Return the type of paths; `~` is the user's home."""

    def read(value: object) -> Path:
        if not isinstance(value, str) or not value:
            raise _invalid("path", value, "expected text")
        try:
            return Path(value).expanduser()
        except RuntimeError as cause:
            raise _invalid("path", value, "expected the home of an existing user after ~") from cause

    return OptionType(metavar, read)


def link_template() -> OptionType:
    """Return the type of links to other systems."""

    def read(value: object) -> LinkTemplate:
        if not isinstance(value, str):
            raise _invalid("link", value, "expected LABEL=TEMPLATE")
        try:
            return parse_link(value)
        except ConfigError as error:
            raise ValueError(str(error)) from error

    return OptionType("LABEL=TEMPLATE", read)


def _read_flag(value: object) -> bool:
    flag = value if isinstance(value, bool) else _WORDS.get(str(value).strip().lower())
    if flag is None:
        raise _invalid("value", value, "expected true or false")
    return flag


FLAG = OptionType("", _read_flag, lambda value: "true" if value else "false")
"""On or off."""


def _invalid(thing: str, value: object, expected: str) -> ValueError:
    shown = value[:80] if isinstance(value, str) else value
    return ValueError(f"invalid {thing} {shown!r}: {expected}")
