"""The part of a journal that is the same for every engine behind a connection: what waits, who follows, and closing."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import Protocol

from tidings.exceptions import LogBusy, LogError, LogUnavailable

MAX_BODY_BYTES = 1 << 20
MAX_QUEUED_BYTES = 4 << 20
"""Size of the entries that may wait for the connection. Others are lost, as the port allows."""


class EngineFollower(Protocol):
    """Receives the entries after a sequence."""

    @property
    def place(self) -> int | None:
        """The sequence of the newest entry that was received; None while it receives none."""

    def pause(self) -> None:
        """Receive nothing until `resume`."""

    def resume(self) -> None:
        """Continue after `pause`."""

    def end(self) -> None:
        """Receive no more."""

    async def wait_ended(self) -> None:
        """Return when nothing of it runs any more, after `end`."""


class EngineJournal(ABC):
    """A `tidings.log.journal.base.Journal` over a connection, on which one task writes.

    Args:
        label: The address of the journal, for people.
        max_bytes: See `Journal.max_bytes`.
    """

    def __init__(self, label: object, max_bytes: int = MAX_BODY_BYTES) -> None:
        self.max_bytes = max_bytes
        self.failure: LogError | None = None
        self._label = label
        self._loop = asyncio.get_running_loop()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._waits = asyncio.Event()
        """Whether something is in the queue."""
        self._follower: EngineFollower | None = None
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        self._closing: asyncio.Task[None] | None = None

    @abstractmethod
    async def _write(self) -> None:
        """Append what comes into the queue, until the task is cancelled."""

    @abstractmethod
    async def _write_queued(self) -> None:
        """Append all entries in the queue."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close the connections."""

    @property
    def _is_away(self) -> bool:
        """Whether an entry cannot be sent now, and would be kept by the driver."""
        return False

    def _start_writing(self) -> None:
        self._writer = self._loop.create_task(self._write())

    def _replace_follower(self, follower: EngineFollower) -> None:
        if self._follower is not None:
            self._follower.end()
        self._follower = follower

    def append(self, body: bytes) -> None:
        """See `Journal.append`."""
        if self._closed:
            self.failure = LogUnavailable(f"{self._label} is closed")
        elif len(body) > self.max_bytes:
            self.failure = LogUnavailable(f"the entry has {len(body)} bytes; {self.max_bytes} are allowed")
        elif self._is_away:
            self.failure = LogUnavailable(f"{self._label} cannot be reached")
        elif self._queued_bytes + len(body) > MAX_QUEUED_BYTES:
            self.failure = LogBusy(f"{self._label}: too much waits to be appended")
        else:
            self._queue.append(body)
            self._queued_bytes += len(body)
            self._waits.set()

    def pause(self) -> None:
        """See `Journal.pause`."""
        if self._follower is not None:
            self._follower.pause()

    def resume(self) -> None:
        """See `Journal.resume`."""
        if self._follower is not None:
            self._follower.resume()

    @property
    def place(self) -> int | None:
        """The sequence of the newest entry that was received; None without a follower that receives any."""
        return None if self._follower is None else self._follower.place

    def close(self) -> None:
        """See `Journal.close`."""
        if self._closed:
            return
        self._closed = True
        if self._follower is not None:
            self._follower.end()
        if self._writer is not None:
            self._writer.cancel()
        self._closing = self._loop.create_task(self._close())

    async def _close(self) -> None:
        if self._follower is not None:
            await self._follower.wait_ended()
        with suppress(Exception):
            await self._write_queued()
        await self._disconnect()

    async def wait_closed(self) -> None:
        """Return when the connections are closed, after `close`."""
        if self._closing is not None:
            await self._closing
