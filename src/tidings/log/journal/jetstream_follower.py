"""Following the stream of a journal: one consumer after the other, and no entry missed or doubled between them.

A push consumer alone is not enough. It may skip messages, go silent without an error, or be created beyond the end of
a stream that was put back from a copy. So sequences are checked one by one, silence ends a consumer, and before a new
one begins, the stream is compared with what was received. Until the new one exists, entries are read one by one: for
creating it, the servers need their common leader, which they may elect seconds after that of the stream.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from uuid import uuid4

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, ReplayPolicy
from nats.js.manager import JetStreamManager

from tidings.exceptions import LogError, LogUnavailable
from tidings.log.journal.base import JournalEntry, JournalState, LossReason, Lost, Mark, Receive
from tidings.log.journal.jetstream_stream import REQUEST_S, RETRY_S, JetStreamAddress

HEARTBEAT_S = 1.0
"""Time without messages after which a server sends a sign of life."""
SILENCE_S = 3.0
"""Time without messages and signs of life after which a consumer is given up; also that without entries, of which
every node writes one each second."""
MIN_PATIENCE_S = 1.0
"""Time after which a request is made again: a stream without a leader answers none. It grows by a tenth with each one
that fails, up to `REQUEST_S`."""
_MAX_FAILURES = 4
"""Number of failures in a row after which another server is tried: this one may be cut off from the others."""
_READ_INTERVAL_S = 0.05
"""Time between two requests for the next entry while there is no consumer."""
_INACTIVE_S = 10.0
"""Time after which the servers delete a consumer that no one listens to."""
_CONTROL = "100"
_STALLED = "Nats-Consumer-Stalled"
_LAST_STREAM = "Nats-Last-Stream"
_OLD_ACK_TOKENS = 9
"""Tokens of `$JS.ACK.stream.consumer.delivered.seq.consumer-seq.time.pending`; newer ones begin with two more."""

logger = logging.getLogger(__name__)


class StreamFollower:
    """Receives the entries of a stream after a sequence.

    Args:
        connection: The connection.
        manager: The stream's API.
        address: The stream.
        loop: The event loop.
        after: The sequence up to which nothing is received.
        look: Returns the range of entries; None if there is no stream.
        find: Returns one entry, or None.
        receive: See `Journal.follow`.
        lost: See `Journal.follow`.
    """

    def __init__(
        self,
        connection: Client,
        manager: JetStreamManager,
        address: JetStreamAddress,
        loop: asyncio.AbstractEventLoop,
        after: int,
        *,
        look: Callable[[], Awaitable[JournalState | None]],
        find: Callable[[int], Awaitable[JournalEntry | None]],
        receive: Receive,
        lost: Lost,
    ) -> None:
        self._connection = connection
        self._manager = manager
        self._address = address
        self._look = look
        self._find = find
        self._receive = receive
        self._lost = lost
        self._loop = loop
        self._place = after
        """The sequence of the newest entry that was taken over from a consumer."""
        self._mark: Mark | None = None
        """Identifies the newest entry that was received."""
        self._entries: list[JournalEntry] = []
        """Entries to receive in the next round of the loop, or after `resume`."""
        self._unanswered: list[str] = []
        """Where a server waits for an answer before it sends more."""
        self._paused = False
        self._ended = False
        self._deliver_subject = ""
        self._active_at = 0.0
        """When there was a message or a sign of life."""
        self._received_at = 0.0
        """When there was an entry, or a wait for one began."""
        self._patience_s = MIN_PATIENCE_S
        self._failures = 0
        self._trouble = asyncio.Event()
        self._task = self._loop.create_task(self._run())

    @property
    def place(self) -> int | None:
        """The sequence of the newest entry that was received; None after `end`, a loss or while paused."""
        if self._ended or self._paused:
            return None
        return self._place - len(self._entries)

    def pause(self) -> None:
        """Receive nothing until `resume`; the servers send no more than a window of messages."""
        self._paused = True

    def resume(self) -> None:
        """Continue after `pause`."""
        self._paused = False
        self._received_at = self._loop.time()
        self._loop.call_soon(self._pass_on)

    def check(self) -> None:
        """Compare the stream with what was received, after it could not be read for a while."""
        self._trouble.set()

    def end(self) -> None:
        """Receive no more."""
        self._ended = True
        self._task.cancel()

    async def wait_ended(self) -> None:
        """Return when nothing of it runs any more, after `end`."""
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not self._ended:
            self._trouble.clear()
            try:
                async with asyncio.timeout(self._patience_s):
                    if await self._has_lost():
                        return
                self._patience_s, self._failures = MIN_PATIENCE_S, 0
                await self._consume()
            except Exception as error:  # also of the driver: whatever it is, the next consumer may work
                logger.info("following %s: %r", self._address, error)
                self._patience_s = min(1.1 * self._patience_s, REQUEST_S)
                self._failures += 1
                if self._failures >= _MAX_FAILURES:
                    await self._connection.force_reconnect()
                await asyncio.sleep(RETRY_S)

    async def _consume(self) -> None:
        """Follow a new consumer until there is trouble."""
        self._deliver_subject = subject = self._connection.new_inbox()
        subscription = await self._connection.subscribe(subject, cb=partial(self._take, subject))
        configuration = self._configuration(uuid4().hex)
        creating = self._loop.create_task(self._manager.add_consumer(self._address.stream, configuration))
        try:
            await self._read_until(creating)
            await creating
            self._active_at = self._received_at = self._loop.time()
            await self._wait_for_trouble()
        finally:
            self._deliver_subject = ""
            creating.cancel()
            await self._end_consumer(subscription, configuration.name or "")

    async def _read_until(self, creating: asyncio.Task[ConsumerInfo]) -> None:
        """Receive entries by requests while a consumer is created."""
        while not creating.done():
            entry: JournalEntry | None = None
            if not self._paused:
                with suppress(LogError, TimeoutError):
                    async with asyncio.timeout(MIN_PATIENCE_S):
                        entry = await self._find(self._place + 1)
            if entry is None:
                await asyncio.wait([creating], timeout=_READ_INTERVAL_S)
            else:
                self._accept(entry)

    def _configuration(self, name: str) -> ConsumerConfig:
        return ConsumerConfig(
            name=name,
            deliver_subject=self._deliver_subject,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._place + 1,
            ack_policy=AckPolicy.NONE,
            replay_policy=ReplayPolicy.INSTANT,
            max_deliver=1,
            flow_control=True,
            idle_heartbeat=HEARTBEAT_S,
            inactive_threshold=_INACTIVE_S,
            num_replicas=1,
            mem_storage=True,
        )

    async def _end_consumer(self, subscription: Subscription, consumer: str) -> None:
        with suppress(Exception):  # the servers delete it by themselves
            await subscription.unsubscribe()
            if self._ended and self._connection.is_connected:
                await self._manager.delete_consumer(self._address.stream, consumer)

    async def _wait_for_trouble(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._trouble.wait(), HEARTBEAT_S)
                return
            if self._loop.time() - self._active_at > SILENCE_S:
                logger.info("the consumer of %s is silent", self._address)
                return
            if self._loop.time() - self._received_at > SILENCE_S and not self._paused:
                # Every node writes an entry each second. A server that is cut off from the others shows signs of life,
                # and may also believe that it still leads the stream.
                logger.info("%s brings no entries: another server is tried", self._address)
                await self._connection.force_reconnect()
                return

    async def _has_lost(self) -> bool:
        """Return whether the next entry will never come, and report it."""
        place = self._place
        state = await self._look()
        if state is None:
            return self._lose(LossReason.REWRITTEN, "the stream does not exist any more")
        if state.last < place:
            return self._lose(
                LossReason.REWRITTEN,
                f"it ends at {state.last}, before {place}: it is another stream or an older copy",
            )
        if state.first > place + 1:
            return self._lose(LossReason.TRIMMED, f"the entries from {place + 1} to {state.first - 1} were trimmed")
        mark = self._mark
        if mark is not None and mark.seq >= state.first:
            entry = await self._find(mark.seq)
            if entry is not None and Mark.of(entry) != mark:
                return self._lose(LossReason.REWRITTEN, f"the entry at {mark.seq} is another one than before")
        return False

    def _lose(self, reason: LossReason, why: str) -> bool:
        if not self._ended:
            self._pass_on()
            self._ended = True
            self._lost(reason, LogUnavailable(f"{self._address}: {why}"))
        return True

    # The callback of the driver, which logs and drops whatever is raised in it.

    async def _take(self, deliver_subject: str, message: Msg) -> None:
        try:
            if self._ended or deliver_subject != self._deliver_subject:  # of an earlier consumer
                return
            self._active_at = self._loop.time()
            if message.headers and message.headers.get("Status"):
                await self._take_status(message)
            else:
                self._take_entry(message)
        except Exception:
            logger.exception("a message of %s was not understood", self._address)
            self._trouble.set()

    async def _take_status(self, message: Msg) -> None:
        headers = message.headers or {}
        if headers["Status"] != _CONTROL:
            logger.info("the consumer of %s ended: %s", self._address, headers.get("Description", headers["Status"]))
            self._trouble.set()
            return
        if int(headers.get(_LAST_STREAM, 0)) > self._place:
            self._trouble.set()  # what was sent before this sign of life did not arrive
            return
        answer = message.reply or headers.get(_STALLED, "")
        if answer and self._paused:
            if answer not in self._unanswered:
                self._unanswered.append(answer)
        elif answer:
            await self._connection.publish(answer)

    def _take_entry(self, message: Msg) -> None:
        seq, at_ns = _read_place(message.reply)
        self._accept(JournalEntry(seq, at_ns, message.data))

    def _accept(self, entry: JournalEntry) -> None:
        if entry.seq <= self._place:
            return
        if entry.seq > self._place + 1:
            self._trouble.set()
            return
        self._place = entry.seq
        self._received_at = self._loop.time()
        self._entries.append(entry)
        if len(self._entries) == 1 and not self._paused:
            self._loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        if self._ended or self._paused:
            return
        entries, self._entries = self._entries, []
        answers, self._unanswered = self._unanswered, []
        if answers:
            self._loop.create_task(self._answer(answers))
        if entries:
            self._mark = Mark.of(entries[-1])
            self._receive(entries)

    async def _answer(self, subjects: list[str]) -> None:
        with suppress(Exception):  # without an answer, the server is silent, and another consumer begins
            for subject in subjects:
                await self._connection.publish(subject)


def _read_place(reply: str) -> tuple[int, int]:
    """Return sequence and time of a message, from the subject on which it would be acknowledged.

    Raises:
        ValueError: The message does not come from a stream.
    """
    tokens = reply.split(".")
    if len(tokens) < _OLD_ACK_TOKENS or tokens[:2] != ["$JS", "ACK"]:
        raise ValueError(f"{reply!r} is not the address of an acknowledgement")
    first = 5 if len(tokens) == _OLD_ACK_TOKENS else 7
    return int(tokens[first]), int(tokens[first + 2])
