"""Bounded buffer between a link and its consumer: a slow consumer becomes a slow reader for the hub."""

import asyncio
from collections import deque

from msgspec import Struct

from tidings.client.events import InvalidEvent, Item, ReceivedEvent

_NOTICE_BYTES = 256
"""Memory of a notice, about."""
_EVENT_BYTES = 512
"""Memory of an event without its data and its struct, about."""


class BufferLimits(Struct, frozen=True, kw_only=True):
    """Bound of a receive buffer. Policy: at either limit, the link stops reading until half of it is free."""

    events: int = 1_024
    bytes: int = 4 << 20
    """A screenful of bulky events, and little compared with a job's own memory."""


class ReceiveBuffer:
    """A queue from a link to its one consumer. The link puts items only while there is room.

    Args:
        bound: Maximum content.
    """

    def __init__(self, bound: BufferLimits) -> None:
        self._bound = bound
        self._items: deque[Item | InvalidEvent] = deque()
        self._bytes = 0
        self._closed = False
        self._failure: BaseException | None = None
        self._consumer: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def bytes(self) -> int:
        """Approximate memory of the items, in bytes."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether the link must stop reading."""
        return len(self._items) >= self._bound.events or self._bytes >= self._bound.bytes

    @property
    def closed(self) -> bool:
        """Whether no more items will come."""
        return self._closed

    def put_nowait(self, item: Item | InvalidEvent) -> None:
        """Add an item, even beyond the bound: a message that was read must be kept."""
        self._items.append(item)
        self._bytes += _size(item)
        _wake(self._consumer)

    @property
    def _half_free(self) -> bool:
        return len(self._items) <= self._bound.events // 2 and self._bytes <= self._bound.bytes // 2

    async def wait_room(self) -> None:
        """Wait until half of the bound is free again."""
        while not (self._closed or self._half_free):
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None

    def close(self, failure: BaseException | None = None) -> None:
        """End the queue: its items can still be taken, then `wait_item` raises `failure` or returns False."""
        if not self._closed:
            self._closed = True
            self._failure = failure
            _wake(self._consumer)
            _wake(self._room)

    def clear(self) -> None:
        """Drop all items."""
        self._items.clear()
        self._bytes = 0

    def head(self) -> Item | InvalidEvent:
        """Return the next item without removing it; the buffer must not be empty."""
        return self._items[0]

    def take_nowait(self) -> Item | InvalidEvent:
        """Remove and return the next item; the buffer must not be empty."""
        item = self._items.popleft()
        self._bytes -= _size(item)
        if self._room is not None and self._half_free:
            _wake(self._room)
        return item

    async def wait_item(self) -> bool:
        """Wait until there is an item; return False if the queue is closed and empty.

        Raises:
            BaseException: The failure that closed the queue, after all its items were taken.
            RuntimeError: Another consumer is waiting.
        """
        while not self._items:
            if self._closed:
                if self._failure is not None:
                    raise self._failure
                return False
            if self._consumer is not None:
                raise RuntimeError("a watch has one consumer: open another watch for the second")
            self._consumer = asyncio.get_running_loop().create_future()
            try:
                await self._consumer
            finally:
                self._consumer = None
        return True


def _size(item: Item | InvalidEvent) -> int:
    return len(item.data) + _EVENT_BYTES if isinstance(item, ReceivedEvent) else _NOTICE_BYTES


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
