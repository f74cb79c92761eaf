"""What retention must be able to ask of a log's rows, wherever they are kept."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """An event in the log, as far as retention looks at it."""

    offset: int
    latest: int
    """1 for the class `latest`, 0 for durable."""
    channel: str
    type: str
    key: str | None
    size: int
    """Bytes of its `data`."""
    received_ns: int


class Rows(Protocol):
    """The rows of a log."""

    def after(self, offset: int, limit: int) -> Sequence[Row]:
        """Return the first rows with a greater offset, in order."""
        ...

    def latest_after(self, offset: int, limit: int) -> Sequence[Row]:
        """Return the first rows of class `latest` with a greater offset, in order."""
        ...

    def durable_of(self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int) -> Sequence[Row]:
        """Return the first durable rows of one key and type after `after`, in order, less the newest `keep`."""
        ...

    def find(self, offset: int) -> Row | None:
        """Return the row at `offset`, if it is still there."""
        ...

    def delete(self, offsets: Iterable[int]) -> None:
        """Delete the rows at `offsets`, which are all there."""
        ...
