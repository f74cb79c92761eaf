"""Short forms of operation ids: enough of each to name it, as git shows commits."""

from collections.abc import Iterable, Mapping

MIN_CHARACTERS = 6
"""Characters of an id that are shown at least: a shorter prefix would soon name another operation as well."""
_MAX_WHOLE = 12
"""Characters of an id that is shown whole: people chose it, and can read it."""


def shorten_ids(ids: Iterable[str]) -> Mapping[str, str]:
    """Return the shortest prefix of each id that no other of them begins with; short ids are whole."""
    ordered = sorted(set(ids))
    short: dict[str, str] = {}
    for before, id, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        length = max(MIN_CHARACTERS, 1 + _common(id, before), 1 + _common(id, after))
        short[id] = id if len(id) <= max(_MAX_WHOLE, length) else id[:length]
    return short


def _common(one: str, other: str) -> int:
    """Return the number of characters that two texts begin with in common."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
