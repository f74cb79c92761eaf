"""The kinds of values an option can have: how each is read, from text or from TOML, and written as TOML."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tidings.cli.units import format_duration, format_size, parse_duration, parse_size

T = TypeVar("T")
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Kind(Protocol[T]):
    """One kind of value."""

    @property
    def metavar(self) -> str:
        """What stands for the value in `--help`."""
        ...

    def read(self, value: object) -> T:
        """Return the value that a text (flag, variable) or a TOML value means.

        Raises:
            ValueError: None of this kind; the message says what would be.
        """
        ...

    def write(self, value: T) -> str:
        """Return `value` as TOML, which `read` reads back."""
        ...


def toml_text(text: str) -> str:
    """Return `text` as a TOML basic string; JSON's escapes are TOML's too, but for one control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _text_of(value: object, expected: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no {expected}")
    return value


class Text:
    """Any text that is not empty."""

    def __init__(self, metavar: str, *, begins: str = "") -> None:
        self.metavar = metavar
        self._begins = begins

    def read(self, value: object) -> str:
        """See `Kind.read`."""
        text = _text_of(value, "text")
        if not text.startswith(self._begins):
            raise ValueError(f"{text[:80]!r} does not begin with {self._begins!r}")
        return text

    def write(self, value: str) -> str:
        """See `Kind.write`."""
        return toml_text(value)


class Whole:
    """A whole number within bounds."""

    metavar = "N"

    def __init__(self, least: int, most: int | None = None) -> None:
        self._least = least
        self._most = most

    def read(self, value: object) -> int:
        """See `Kind.read`."""
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if (
            not isinstance(number, int)
            or isinstance(number, bool)
            or number < self._least
            or (self._most is not None and number > self._most)
        ):
            bounds = f"from {self._least} to {self._most}" if self._most is not None else f"of at least {self._least}"
            raise ValueError(f"{value!r} is no whole number {bounds}")
        return number

    def write(self, value: int) -> str:
        """See `Kind.write`."""
        return str(value)


class Size:
    """Bytes, at least so many."""

    metavar = "SIZE"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def read(self, value: object) -> int:
        """See `Kind.read`."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"{value!r} is no size; write it like 512MiB")
        size = parse_size(value) if isinstance(value, str) else value
        if size < self._least:
            raise ValueError(f"{value!r} is less than {format_size(self._least)}")
        return size

    def write(self, value: int) -> str:
        """See `Kind.write`."""
        written = format_size(value)
        return written if written.isdigit() else toml_text(written)


class Duration:
    """Seconds within bounds."""

    metavar = "TIME"

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s

    def read(self, value: object) -> float:
        """See `Kind.read`."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"{value!r} is no duration; write it like 30s")
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
        if not self._least_s <= seconds <= self._most_s:
            bounds = f"{format_duration(self._least_s)} to {format_duration(self._most_s)}"
            raise ValueError(f"{value!r} is not within {bounds}")
        return seconds

    def write(self, value: float) -> str:
        """See `Kind.write`."""
        return toml_text(format_duration(value))


class Flag:
    """On or off.

    Args:
        off: The flag that says off, where it is not `no-` and the option's own name.
    """

    metavar = ""

    def __init__(self, off: str = "") -> None:
        self.off = off

    def read(self, value: object) -> bool:
        """See `Kind.read`."""
        flag = value if isinstance(value, bool) else _WORDS.get(str(value).strip().lower())
        if flag is None:
            raise ValueError(f"{value!r} is neither true nor false")
        return flag

    def write(self, value: bool) -> str:
        """See `Kind.write`."""
        return "true" if value else "false"


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.metavar = "|".join(words)

    def read(self, value: object) -> str:
        """See `Kind.read`."""
        word = str(value).strip().lower()
        if word not in self._words:
            raise ValueError(f"{value!r} is none of {', '.join(self._words)}")
        return word

    def write(self, value: str) -> str:
        """See `Kind.write`."""
        return toml_text(value)


class FilePath:
    """A file or folder; `~` is the user's home."""

    def __init__(self, metavar: str) -> None:
        self.metavar = metavar

    def read(self, value: object) -> Path:
        """See `Kind.read`."""
        path = Path(_text_of(value, "path"))
        try:
            return path.expanduser()
        except RuntimeError as cause:
            raise ValueError(f"{value!r} names a home that is not known") from cause

    def write(self, value: Path) -> str:
        """See `Kind.write`."""
        return toml_text(str(value))


class Several(Generic[T]):
    """Any number of values: a repeated flag, a variable with commas, a TOML array."""

    def __init__(self, kind: Kind[T]) -> None:
        self._kind = kind
        self.metavar = kind.metavar

    def read(self, value: object) -> tuple[T, ...]:
        """See `Kind.read`."""
        if isinstance(value, str):
            parts: Sequence[object] = [part for part in map(str.strip, value.split(",")) if part]
        elif isinstance(value, Sequence):
            parts = value
        else:
            raise ValueError(f"{value!r} is no list")
        return tuple(self._kind.read(part) for part in parts)

    def write(self, value: tuple[T, ...]) -> str:
        """See `Kind.write`."""
        return f"[{', '.join(map(self._kind.write, value))}]"
