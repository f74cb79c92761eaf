"""Frames as the documents show them: JSON in which `…` stands for what differs from run to run."""

import json
import re
from typing import Any

ANY = "…"
_STAMPS = re.compile(r"(?<=[,{])\s*…\s*(?=[,}])")
_LETTERS = re.compile(r"…×(?P<count>[0-9]+)")


class Mismatch(AssertionError):
    """A frame differs from the document. The message has the place of the first difference."""


def read(text: str) -> Any:
    """Return a frame of a document as JSON; a bare `…` among members becomes the two that every frame has."""
    return json.loads(_STAMPS.sub('"timestamp":"…","trace_id":"…"', text))


class Names:
    """Values of the names in one example: `"…p1"` keeps the value of its first occurrence."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def match(self, pattern: Any, value: Any, path: str = "$") -> None:
        """Check `value` against `pattern`, including the order of members, and store the values of new names.

        Raises:
            Mismatch: They differ.
        """
        if isinstance(pattern, str) and pattern.startswith(ANY):
            self._match_name(pattern, value, path)
        elif isinstance(pattern, dict) and isinstance(value, dict):
            if list(pattern) != list(value):
                raise Mismatch(f"{path} has the members {list(value)}, not {list(pattern)}")
            for name, part in pattern.items():
                self.match(part, value[name], f"{path}.{name}")
        elif isinstance(pattern, list) and isinstance(value, list):
            if len(pattern) != len(value):
                raise Mismatch(f"{path} has {len(value)} items, not {len(pattern)}")
            for index, part in enumerate(pattern):
                self.match(part, value[index], f"{path}[{index}]")
        elif type(pattern) is not type(value) or pattern != value:
            raise Mismatch(f"{path} is {value!r}, not {pattern!r}")

    def _match_name(self, pattern: str, value: Any, path: str) -> None:
        if value is None or value == "":
            raise Mismatch(f"{path} is empty")
        if pattern == ANY:
            return
        letters = _LETTERS.fullmatch(pattern)
        known = "x" * int(letters["count"]) if letters else self.known.setdefault(pattern, value)
        if value != known:
            raise Mismatch(f"{path} is {value!r}; {pattern} is {known!r}")

    def fill(self, pattern: Any, number: int = 0) -> Any:
        """Return the frame to send for `pattern`: names replaced by their values, `…n` by `number`."""
        if isinstance(pattern, dict):
            return {name: self.fill(part, number) for name, part in pattern.items()}
        if isinstance(pattern, list):
            return [self.fill(part, number) for part in pattern]
        if not isinstance(pattern, str) or ANY not in pattern:
            return pattern
        letters = _LETTERS.fullmatch(pattern)
        if letters:
            return "x" * int(letters["count"])
        return number if pattern == "…n" else self.fill_text(pattern)

    def fill_text(self, text: str) -> str:
        """Return `text`, such as a URL, with names replaced by their values."""
        for name, value in sorted(self.known.items(), key=lambda item: -len(item[0])):
            text = text.replace(name, str(value))
        if ANY in text:
            raise ValueError(f"{text!r} has no value yet")
        return text
