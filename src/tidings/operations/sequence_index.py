"""Indexes of operations by their sequence numbers: of all of them, and of those of each name."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import islice

from tidings.operations.status import OperationStatus

_MAX_STALE_NUMBERS = 1_024
"""Numbers of removed operations that the index may hold in addition to as many as there are operations."""


class SequenceIndex:
    """Index of operations by sequence number, for paging that is stable while operations start and end.

    An operation's number never changes; a page ends at a number, and the next page continues from it.
    """

    def __init__(self) -> None:
        self._statuses: dict[int, OperationStatus] = {}
        self._numbers: list[int] = []
        self._sorted = True

    def add(self, status: OperationStatus) -> None:
        """Add an operation; the number of a new operation is the greatest."""
        numbers = self._numbers
        self._sorted = self._sorted and (not numbers or numbers[-1] < status.number)
        numbers.append(status.number)
        self._statuses[status.number] = status

    def discard(self, status: OperationStatus) -> None:
        """Remove an operation."""
        self._statuses.pop(status.number, None)
        if len(self._numbers) > 2 * len(self._statuses) + _MAX_STALE_NUMBERS:
            self._numbers = [number for number in self._numbers if number in self._statuses]

    def find(self, numbers: Iterable[int]) -> Iterator[OperationStatus]:
        """Yield the operations with these numbers, as far as there are any."""
        return (self._statuses[number] for number in numbers if number in self._statuses)

    def before(self, number: int | None, limit: int) -> list[OperationStatus]:
        """Return up to `limit` operations with a number below `number`, the greatest first; None is above all."""
        if not self._sorted:
            self._numbers.sort()
            self._sorted = True
        numbers, statuses = self._numbers, self._statuses
        end = len(numbers) if number is None else bisect_left(numbers, number)
        known = (statuses[numbers[index]] for index in range(end - 1, -1, -1) if numbers[index] in statuses)
        return list(islice(known, limit))


class RunIndex:
    """Numbers of the operations of each name, in order; those without a name are in none."""

    def __init__(self) -> None:
        self._numbers: dict[str, list[int]] = {}

    def add(self, status: OperationStatus) -> None:
        """Add an operation, which usually has the greatest number."""
        if status.name:
            insort(self._numbers.setdefault(status.name, []), status.number)

    def discard(self, name: str, number: int) -> None:
        """Remove an operation that had this name."""
        numbers = self._numbers.get(name, [])
        place = bisect_left(numbers, number)
        if numbers[place : place + 1] == [number]:
            del numbers[place]
            if not numbers:
                del self._numbers[name]

    def before(self, name: str, number: int) -> Iterator[int]:
        """Yield the numbers below `number` of operations with this name, the greatest first."""
        numbers = self._numbers.get(name, [])
        return (numbers[place] for place in range(bisect_left(numbers, number) - 1, -1, -1))

    def after(self, name: str, number: int) -> Iterator[int]:
        """Yield the numbers above `number` of operations with this name, the smallest first."""
        numbers = self._numbers.get(name, [])
        return (numbers[place] for place in range(bisect_right(numbers, number), len(numbers)))
