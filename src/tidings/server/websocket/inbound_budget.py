"""One budget for the bytes that all connections of a server have sent and the server could not use yet."""

from typing import Final, Protocol

MAX_INBOUND_BYTES: Final = 128 << 20
"""Bytes of incomplete and undelivered messages of all connections together: 500 messages of the largest size."""

_TARGET_BYTES: Final = MAX_INBOUND_BYTES * 9 // 10
"""Bytes that are left after connections were dropped, so that they are sorted once for many."""

_SMALL_BYTES: Final = 1_024
"""Kept bytes that are not counted, so that a connection with little to read costs nothing here."""


class InboundConnection(Protocol):
    """A connection whose kept bytes are counted."""

    def waits_for_peer(self) -> bool:
        """Return whether only the peer can complete what is kept."""

    def drop_inbound(self) -> None:
        """Release the kept bytes, and end the connection."""


class InboundBudget:
    """Counts what connections keep. Beyond the budget, those with the largest incomplete messages are dropped."""

    __slots__ = ("_kept", "total")

    def __init__(self) -> None:
        self._kept: dict[InboundConnection, int] = {}
        self.total = 0
        """Bytes that are kept."""

    def update(self, connection: InboundConnection, size: int) -> None:
        """Record that `connection` keeps `size` bytes now."""
        before = self._kept.get(connection, 0)
        if size < _SMALL_BYTES:
            if before:
                del self._kept[connection]
                self.total -= before
            return
        self._kept[connection] = size
        self.total += size - before
        if self.total > MAX_INBOUND_BYTES:
            self._shrink()

    def _shrink(self) -> None:
        largest = sorted(self._kept, key=lambda each: (each.waits_for_peer(), self._kept[each]), reverse=True)
        for connection in largest:
            if self.total <= _TARGET_BYTES:
                return
            self.update(connection, 0)
            connection.drop_inbound()
