"""Publishing in order what comes faster or slower than a hub takes it, over any number of its restarts."""

import asyncio
from collections.abc import Callable
from functools import partial

from tidings.client.options import LinkOptions
from tidings.client.pending import Draft
from tidings.client.publisher import Publisher
from tidings.client.status import State, Status
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused
from tidings.producer.outbox.queue import OutboxLimits, OutboxQueue, QueuedEvent, Rank
from tidings.protocol.messages import Accepted

_RETRY_S = 1.0
"""Before events that the hub could not store are sent again: a full disk is not empty the next moment."""
_ENOUGH = 500
"""Events that may wait for a hub that is there: half of what one connection may have unacknowledged (CONTRACT §6)."""

OnSettled = Callable[[Draft, Accepted | CommandRefused], None]
"""Called when an event is in the log, or refused for good."""


class PublishQueue:
    """A bounded queue and the connection that empties it.

    What the hub cannot take now is sent again until it can, in the order of those that it could not take; what it
    refuses for good is told. While the hub
    is away, events of class `latest` wait only in their newest, and when the queue is full, the lowest rank goes first.

    Args:
        url: Where the hub is.
        options: How to connect.
        on_settled: Called once for each event that did not have to go.
        contract: What event types are known here.
        limits: How much waits.
        on_change: Called when the state of the connection changes.
        on_held_up: Called with why, when the hub cannot take what it was sent.
        retry_s: Seconds before that is sent again.
    """

    def __init__(
        self,
        url: str,
        options: LinkOptions,
        *,
        on_settled: OnSettled,
        contract: Contract,
        limits: OutboxLimits,
        on_change: Callable[[Status], None] | None = None,
        on_held_up: Callable[[CommandRefused], None] | None = None,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._queue = OutboxQueue(limits)
        self._enough_bytes = limits.bytes // 4
        self._failed: list[QueuedEvent] = []
        self._in_flight = 0
        self._probing = False
        self._changed = asyncio.Event()
        self._on_settled = on_settled
        self._on_change = on_change
        self._on_held_up = on_held_up
        self._retry_s = retry_s
        self.publisher = Publisher(url, options, contract=contract, on_change=self._link_changed)

    @property
    def left(self) -> int:
        """Events that are not settled."""
        return len(self._queue) + len(self._failed) + self._in_flight

    @property
    def waiting(self) -> int:
        """Of these, those that were not sent, or not with success."""
        return len(self._queue) + len(self._failed)

    @property
    def conflated(self) -> int:
        """Events that a newer one replaced while they waited."""
        return self._queue.conflated

    @property
    def shed(self) -> int:
        """Events that were dropped for want of room."""
        return self._queue.shed

    def put(self, draft: Draft, rank: Rank, key: str | None) -> bool:
        """Send an event, or let it wait behind those that wait.

        It is sent at once where it can be: what a service says in one message, such as two steps of an operation, is
        not conflated while the hub keeps up.

        Returns:
            False where there is no room for it, nor anything worth less.
        """
        taken = self._queue.put(draft, rank, key)
        self._changed.set()
        if len(self._queue) == 1:
            self._pump()
        return taken

    async def run(self) -> None:
        """Send until it is cancelled.

        Raises:
            ClientError: The hub ended the connection for good, or was not there and not to be waited for.
        """
        link = self.publisher.link
        while True:
            await link.wait_until(lambda: link.state is State.LIVE)
            if self._failed:
                await self._begin_again()
                continue
            self._changed.clear()
            needed = self._pump()
            if needed:
                await self._wait_room(needed)
            else:
                await self._changed.wait()

    def _pump(self) -> int:
        """Send what waits, as far as the window has room; return the bytes that need more."""
        if not self._live or self._failed:
            return 0
        while (entry := self._queue.head()) is not None and not (self._probing and self._in_flight):
            answer = self.publisher.publish_nowait(entry.draft)
            if answer is None:
                return len(entry.draft.data)
            self._queue.pop()
            self._in_flight += 1
            answer.add_done_callback(partial(self._answered, entry))
        return 0

    async def wait_below(self, left: int) -> None:
        """Wait until fewer than `left` events are unsettled; `run` must be running."""
        while self.left >= left:
            self._changed.clear()
            await self._changed.wait()

    @property
    def crowded(self) -> bool:
        """Whether so much waits for a hub that is there that no more should be read: it is slower than a burst."""
        return self._taking and self._is_over(1)

    async def wait_uncrowded(self) -> None:
        """Wait until half of that is gone, or the hub."""
        while self._taking and self._is_over(2):
            self._changed.clear()
            await self._changed.wait()

    @property
    def _taking(self) -> bool:
        """Whether the hub is there and has not just refused for want of room."""
        return self._live and not self._failed and not self._probing

    @property
    def _live(self) -> bool:
        return self.publisher.link.state is State.LIVE

    def _is_over(self, part: int) -> bool:
        return self.waiting >= _ENOUGH // part or self._queue.bytes >= self._enough_bytes // part

    async def aclose(self) -> None:
        """Close the connection; what is left may or may not be in the log."""
        await self.publisher.aclose()

    async def _wait_room(self, size: int) -> None:
        """Wait for room in the window, or for something that goes before it."""
        room = asyncio.ensure_future(self.publisher.wait_room(size))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait([room, changed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            room.cancel()
            changed.cancel()
            await asyncio.wait([room, changed])

    async def _begin_again(self) -> None:
        """Put what failed back to its place, when the fate of all that was sent with it is known."""
        while self._in_flight:
            self._changed.clear()
            await self._changed.wait()
        await asyncio.sleep(self._retry_s)
        failed, self._failed = self._failed, []
        self._queue.put_back(failed)
        # One event alone, until the log takes one: what is sent behind one that fails might pass it.
        self._probing = True

    def _answered(self, entry: QueuedEvent, answer: "asyncio.Future[Accepted]") -> None:
        self._in_flight -= 1
        self._changed.set()
        failure = None if answer.cancelled() else answer.exception()
        if answer.cancelled():
            self._failed.append(entry)
        elif failure is None:
            self._probing = False
            self._on_settled(entry.draft, answer.result())
        elif isinstance(failure, CommandRefused) and not failure.recoverable:
            self._on_settled(entry.draft, failure)
        else:
            self._failed.append(entry)
            if isinstance(failure, CommandRefused) and self._on_held_up is not None:
                self._on_held_up(failure)

    def _link_changed(self, status: Status) -> None:
        self._changed.set()
        if self._on_change is not None:
            self._on_change(status)
