"""Operations by number, newest first: in which lists page through them while others come, go and end."""

from bisect import bisect_left
from itertools import islice

from tidings.contract.operation import OperationStatus

_SLACK = 1_024
"""Numbers of forgotten operations that may be held beside as many as are known."""


class ByNumber:
    """Operations in the order of their first events.

    An operation's number never changes, so that a page ends at one and the next page goes on from it.
    """

    def __init__(self) -> None:
        self._statuses: dict[int, OperationStatus] = {}
        self._numbers: list[int] = []
        self._sorted = True

    def add(self, status: OperationStatus) -> None:
        """Add an operation; a new one's number is the greatest."""
        numbers = self._numbers
        self._sorted = self._sorted and (not numbers or numbers[-1] < status.number)
        numbers.append(status.number)
        self._statuses[status.number] = status

    def discard(self, status: OperationStatus) -> None:
        """Forget an operation."""
        self._statuses.pop(status.number, None)
        if len(self._numbers) > 2 * len(self._statuses) + _SLACK:
            self._numbers = [number for number in self._numbers if number in self._statuses]

    def before(self, number: int | None, limit: int) -> list[OperationStatus]:
        """Return up to `limit` operations with a smaller number, the greatest first; None is greater than all."""
        if not self._sorted:
            self._numbers.sort()
            self._sorted = True
        numbers, statuses = self._numbers, self._statuses
        end = len(numbers) if number is None else bisect_left(numbers, number)
        known = (statuses[numbers[index]] for index in range(end - 1, -1, -1) if numbers[index] in statuses)
        return list(islice(known, limit))
