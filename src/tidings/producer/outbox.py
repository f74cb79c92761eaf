"""The outbox: a job says what happens and goes on at once; a thread tells the hub."""

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from msgspec import Struct

from tidings.client.loop_thread import LoopThread
from tidings.client.options import LinkOptions
from tidings.client.publications import PayloadLike
from tidings.client.publisher import Publisher, make_draft
from tidings.client.reading import event_key, event_type
from tidings.client.state import State, Status
from tidings.client.url import hub_url
from tidings.contract.catalogue import EventType
from tidings.contract.commands import Accepted
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused, ConnectionLost, ContractError, InternalError, LogBusy, TidingsError
from tidings.producer.queue import Entry, OutboxLimits, OutboxQueue, rank_of

logger = logging.getLogger(__name__)

_RETRY_S = 1.0
"""Before an event that the hub could not store is sent again: a full disk is not empty the next moment."""
_SLICE = 32
"""Events sent while the job may have to wait for the lock: well under a millisecond."""


class OutboxStatistics(Struct, frozen=True, kw_only=True):
    """An outbox's figures."""

    waiting: int
    """Events not yet sent."""
    unacknowledged: int
    """Events sent, and not yet answered."""
    accepted: int
    """Events in the hub's log."""
    conflated: int
    """`latest` events that a newer one replaced before they were sent."""
    shed: int
    """Events dropped for want of room."""
    refused: int
    """Events that could not be published: not what the contract allows."""


class Outbox:
    """A way to publish that never blocks and never raises.

    Events of class `latest` are replaced by newer ones of their type and key as long as they wait; others keep their
    order and are kept, up to `limits`. Its thread, and its connection, begin with the first event.

    Args:
        url: Where the hub is; by default the variable TIDINGS_URL, else this machine.
        on_trouble: Called with what keeps events from the log, once for each kind of trouble (its code), however often
            it recurs; from the outbox's own thread or the caller's.
        limits: How much may wait.
        options: How to connect.
        contract: What event types are known here.

    Raises:
        ConfigError: `url` is no address.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        on_trouble: Callable[[TidingsError], None] | None = None,
        limits: OutboxLimits = OutboxLimits(),  # noqa: B008 -- frozen
        options: LinkOptions | None = None,
        contract: Contract | None = None,
    ) -> None:
        self._url = hub_url(url)
        self._on_trouble = on_trouble
        self._options = options or LinkOptions(wait_for_hub=True)
        self._contract = contract or Contract()
        self._queue = OutboxQueue(limits)
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._told: set[str] = set()
        self._accepted = 0
        self._refused = 0
        self._unacknowledged = 0
        self._closing = False
        self._stopped = False
        self._thread: LoopThread | None = None
        self._wake: asyncio.Event | None = None
        self._woken = False
        self._holding = False
        self._returned: list[Entry] = []

    # The job's side.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def put_nowait(
        self,
        type: str,
        payload: PayloadLike = None,
        *,
        trace_id: str | None = None,
        channel: str | None = None,
        event_id: str | None = None,
        timestamp: str | None = None,
    ) -> bool:
        """Take one event to be published; return whether it was taken. Never blocks, never raises.

        What is not taken was reported to `on_trouble` and counted: it is not what the contract allows, there is no room
        for it, or the outbox is at its end. See `Client.publish` for the arguments.
        """
        try:
            draft = make_draft(
                type, payload, trace_id=trace_id, channel=channel, event_id=event_id, timestamp=timestamp
            )
            row, key = self._read(draft.type, b"" + draft.data)
            with self._lock:
                if self._closing or self._stopped:
                    self._refused += 1
                    return False
                taken = self._queue.put(draft, rank_of(row), key)
                self._start()
        except Exception as error:
            self._refuse(error if isinstance(error, TidingsError) else ContractError(f"{type}: {error}"))
            return False
        if not taken:
            self._tell(LogBusy("the outbox is full, because the hub is away or slow: events are dropped"))
        return taken

    def statistics(self) -> OutboxStatistics:
        """Return the outbox's figures."""
        with self._lock:
            return OutboxStatistics(
                waiting=len(self._queue) + len(self._returned),
                unacknowledged=self._unacknowledged,
                accepted=self._accepted,
                conflated=self._queue.conflated,
                shed=self._queue.shed,
                refused=self._refused,
            )

    def close(self, timeout_s: float = 2.0) -> int:
        """Take nothing more, wait until everything is in the log, and end; return how many events are not.

        Args:
            timeout_s: How long to wait; a hub that is away must not hold the job up. Closing a connection whose hub
                does not answer takes up to a second more.
        """
        with self._lock:
            self._closing = True
            self._settled.wait_for(lambda: self._stopped or self._left() == 0, timeout_s)
            left = self._left()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()
        return left

    def _left(self) -> int:
        return len(self._queue) + len(self._returned) + self._unacknowledged

    def _read(self, type: str, data: bytes) -> tuple[EventType | None, str | None]:
        row = event_type(self._contract, type)
        if row is None:
            return None, None  # the hub's contract may know it
        return row, event_key(row, self._contract.decode(type, data))

    def _refuse(self, error: TidingsError) -> None:
        with self._lock:
            self._refused += 1
        self._tell(error)

    def _tell(self, error: TidingsError) -> None:
        code = error.refusal if isinstance(error, CommandRefused) else error.code
        with self._lock:
            if code in self._told or self._on_trouble is None:
                return
            self._told.add(code)
        try:
            self._on_trouble(error)
        except Exception:
            logger.exception("an on_trouble callback failed")

    def _start(self) -> None:
        """Begin, or wake, the thread; called with the lock held."""
        if self._thread is None:
            self._thread = LoopThread("tidings outbox")
            self._thread.start(self._work())
        elif not self._woken and self._wake is not None:
            # Waking costs a system call; once is enough until it has looked.
            self._woken = True
            self._thread.loop.call_soon_threadsafe(self._wake.set)

    # The thread's side.

    async def _work(self) -> None:
        with self._lock:
            wake = self._wake = asyncio.Event()
        publisher = Publisher(self._url, self._options, contract=self._contract, on_change=self._changed)
        link = publisher.link
        try:
            while True:
                await link.wait_until(lambda: link.state is State.LIVE)
                needed = self._pump(publisher)
                if needed is None:
                    await asyncio.sleep(0)
                elif needed:
                    await publisher.wait_room(needed)
                else:
                    await wake.wait()
                    wake.clear()
        except TidingsError as error:
            self._tell(error)
        except Exception as error:
            logger.exception("the outbox failed")
            self._tell(InternalError(f"the outbox failed: {error}"))
        finally:
            with self._lock:
                self._stopped = True
                self._settled.notify_all()
            await publisher.aclose()

    def _pump(self, publisher: Publisher) -> int | None:
        """Send a slice of what waits, as far as the window has room.

        Returns:
            The bytes that need more room; 0 where nothing waits; None where there is more.
        """
        with self._lock:
            self._woken = False
            for _ in range(_SLICE):
                entry = None if self._holding else self._queue.head()
                if entry is None:
                    return 0
                answer = publisher.publish_nowait(entry.draft)
                if answer is None:
                    return len(entry.draft.data)
                self._queue.pop()
                self._unacknowledged += 1
                answer.add_done_callback(partial(self._answered, entry))
        return None

    def _answered(self, entry: Entry, answer: "asyncio.Future[Accepted]") -> None:
        failure = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        with self._lock:
            self._unacknowledged -= 1
            if failure is None:
                self._accepted += 1
            elif isinstance(failure, CommandRefused) and not failure.recoverable:
                self._refused += 1
            else:
                self._returned.append(entry)
                if isinstance(failure, CommandRefused):
                    self._hold()
            if self._left() == 0:
                self._settled.notify_all()
        if isinstance(failure, CommandRefused):
            self._tell(failure)

    def _hold(self) -> None:
        """Send nothing for a while: what failed comes back first, behind only what was on its way already."""
        if not self._holding:
            self._holding = True
            asyncio.get_running_loop().call_later(_RETRY_S, self._release)

    def _release(self) -> None:
        with self._lock:
            self._holding = False
            if self._unacknowledged:
                self._hold()
                return
            self._queue.put_back(self._returned)
            self._returned.clear()
            assert self._wake is not None
            self._wake.set()

    def _changed(self, status: Status) -> None:
        # A connection that is lost comes back, as a rule, before anyone would have read about it.
        if status.error is not None and not isinstance(status.error, ConnectionLost):
            self._tell(status.error)
