"""What is told once, however often it recurs."""

from collections.abc import Callable

Say = Callable[[str, str], None]
"""Tells a person: a sentence, and a hint, which may be ""."""
_MOST = 256
"""Kinds that are told. A service that makes up a new fault each time must fill neither screen nor memory."""


class RelayWarnings:
    """Tells each kind of remark once.

    Args:
        say: Tells it.
        most: How many kinds are told.
    """

    def __init__(self, say: Say, *, most: int = _MOST) -> None:
        self._say = say
        self._most = most
        self._told: set[str] = set()

    def once(self, kind: str, text: str, hint: str = "") -> bool:
        """Tell `text`, unless its kind was told before or there were too many; return whether it was told."""
        if kind in self._told or len(self._told) >= self._most:
            return False
        self._told.add(kind)
        self._say(text, hint)
        if len(self._told) == self._most:
            self._say("no further kinds of trouble are told of; the figures go on", "")
        return True
