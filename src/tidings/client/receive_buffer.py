"""What was read and not yet taken: bounded, so that a slow consumer becomes a slow reader for the hub."""

import asyncio
from collections import deque

from msgspec import Struct

from tidings.client.events import InvalidEvent, Item, ReceivedEvent

_NOTICE_BYTES = 256
_EVENT_BYTES = 512
"""Of memory, beside its data and its struct."""


class BufferLimits(Struct, frozen=True, kw_only=True):
    """The bound of an inbox; when either is reached, the connection is not read until half of it is taken."""

    events: int = 1_024
    bytes: int = 4 << 20
    """Four megabytes: a screenful of bulky events, and nothing beside a job's own memory."""


class ReceiveBuffer:
    """A queue from the link to its one consumer. The link puts an item only while there is room.

    Args:
        bound: How much it holds.
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
        """Bytes of the items in it, about."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether nothing should be put into it now."""
        return len(self._items) >= self._bound.events or self._bytes >= self._bound.bytes

    @property
    def closed(self) -> bool:
        """Whether nothing more comes."""
        return self._closed

    def put_nowait(self, item: Item | InvalidEvent) -> None:
        """Add an item; one over the bound is taken, so that a message that was read has its place."""
        self._items.append(item)
        self._bytes += _size(item)
        _wake(self._consumer)

    @property
    def _roomy(self) -> bool:
        return len(self._items) <= self._bound.events // 2 and self._bytes <= self._bound.bytes // 2

    async def wait_room(self) -> None:
        """Wait until half of the bound is free again."""
        while not (self._closed or self._roomy):
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None

    def close(self, failure: BaseException | None = None) -> None:
        """End the queue: what is in it can be taken, then `wait_item` raises `failure`, or says that it was all."""
        if not self._closed:
            self._closed = True
            self._failure = failure
            _wake(self._consumer)
            _wake(self._room)

    def clear(self) -> None:
        """Drop what is in it."""
        self._items.clear()
        self._bytes = 0

    def head(self) -> Item | InvalidEvent:
        """Return the next item, of which there must be one, and leave it."""
        return self._items[0]

    def take_nowait(self) -> Item | InvalidEvent:
        """Return the next item, of which there must be one."""
        item = self._items.popleft()
        self._bytes -= _size(item)
        if self._room is not None and self._roomy:
            _wake(self._room)
        return item

    async def wait_item(self) -> bool:
        """Wait until there is an item; return False where none will come any more, because the queue was closed.

        Raises:
            BaseException: What the queue was closed with, when everything in it was taken.
            RuntimeError: Somebody else is waiting.
        """
        while not self._items:
            if self._closed:
                if self._failure is not None:
                    raise self._failure
                return False
            if self._consumer is not None:
                raise RuntimeError("a watch has one consumer: open another watch for another")
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
