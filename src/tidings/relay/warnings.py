"""Warnings of the relay and of `tidings replay`: each kind is reported once."""

from collections.abc import Callable

Report = Callable[[str, str], None]
"""Reports to a person: a sentence, and a hint, which may be ""."""
_MAX_KINDS = 256
"""Default number of kinds. A service with a new fault each time must fill neither screen nor memory."""


class RelayWarnings:
    """Reports each kind of warning once.

    Args:
        report: Called with each warning.
        max_kinds: Number of kinds to report.
    """

    def __init__(self, report: Report, *, max_kinds: int = _MAX_KINDS) -> None:
        self._report = report
        self._max_kinds = max_kinds
        self._reported: set[str] = set()

    def once(self, kind: str, text: str, hint: str = "") -> bool:
        """Report `text` unless its kind was reported or there are too many kinds; return whether it was reported."""
        if kind in self._reported or len(self._reported) >= self._max_kinds:
            return False
        self._reported.add(kind)
        self._report(text, hint)
        if len(self._reported) == self._max_kinds:
            self._report("further kinds of warnings are not shown; the figures go on", "")
        return True
