"""The engine that publishes and retries: used by the client, the outbox, the relay and `tidings replay`.

It sends the events of one `PublishQueue` in order, over any number of connections, until each has a final answer. The
session below it sends an event once and forgets it; only this engine sends it again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from tidings.client.attachment import Attachment, Holder
from tidings.client.close_reason import CloseReason
from tidings.client.drafts import Draft
from tidings.client.events import AttachRefused, CancelAsked, Delivery, Settled
from tidings.client.link import Link
from tidings.client.options import LinkOptions, OnChange
from tidings.client.publish_queue import PublishQueue, QueuedEvent, Rank
from tidings.client.session import Session
from tidings.client.status import State, Status
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused
from tidings.protocol.messages import Accepted, Attached, CancelAnswer

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""Delay before events that the hub could not store are sent again: a full disk is not empty the next moment."""
_BATCH = 32
"""Events sent before other tasks of the loop run: well under a millisecond."""
_MAX_BACKLOG = 500
"""Events that may wait for a connected hub before `backed_up`: half of the default window."""
_MAX_ANSWERS = 1_000
"""Answers to cancel requests that are remembered, so that a repeated request gets the same answer."""

OnSettled = Callable[[QueuedEvent, Accepted | CommandRefused], None]
"""Called when an event is in the log, or refused for good."""


class ReliablePublisher:
    """One connection, made again whenever it is lost, and the queue of events that it empties.

    All methods but `wake` are called in the event loop that it was made in.

    Args:
        url: Address of the hub.
        options: How to connect.
        queue: The events to publish.
        contract: Event types known here.
        on_settled: Called with the final answer to each event.
        on_refused: Called first with each refusal; returns whether the caller has taken the event out of flight to
            send it again later.
        on_retry: Called with each refusal after which the event is sent again.
        retry_s: Seconds before events are sent again that the hub could not store; None treats every refusal as final.
        on_change: Called when the state of the connection changes.
        on_lost: Called when a connection has ended.
        on_end: Called when no more connections will be made, with the reason; None if `aclose` ended it.
        on_outcome: Called with the answers to commands that `session` sent and this engine did not.
        holder: The producer that the connection belongs to; None if it holds no operations.
    """

    def __init__(
        self,
        url: str,
        options: LinkOptions,
        queue: PublishQueue,
        *,
        contract: Contract,
        on_settled: OnSettled,
        on_refused: Callable[[QueuedEvent, CommandRefused], bool] | None = None,
        on_retry: Callable[[CommandRefused], None] | None = None,
        retry_s: float | None = RETRY_S,
        on_change: OnChange | None = None,
        on_lost: Callable[[CloseReason], None] | None = None,
        on_end: Callable[[BaseException | None], None] | None = None,
        on_outcome: Callable[[Settled], None] | None = None,
        holder: Holder | None = None,
    ) -> None:
        attachment = None if holder is None else Attachment(holder.producer_id, holder.lease_s, holder.claims)
        self.queue = queue
        self.session = Session(contract, greeting_s=options.open_timeout_s, attachment=attachment)
        self._holder = holder
        self._on_settled = on_settled
        self._on_refused = on_refused
        self._on_retry = on_retry
        self._retry_s = retry_s
        self._on_change = on_change
        self._on_lost = on_lost
        self._on_end = on_end
        self._on_outcome = on_outcome
        self._cancel_answers: dict[tuple[str, str], CancelAnswer] = {}
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._scheduled = False
        """Whether the loop is about to send; set by the loop's thread only."""
        self._woken = False
        """The same, set by other threads."""
        self._parked = False
        self._resuming = False
        self._unaddressed: object = None
        """The latest refusal that names no command."""
        self.link = Link(
            self.session,
            url,
            options,
            deliver=self._deliver,
            on_end=self._link_ended,
            on_change=self._link_changed,
            on_lost=self._connection_lost,
            name="tidings publisher",
        )

    async def wait_live(self) -> None:
        """Wait until events go out: a hub has answered, and has attached the holder.

        Raises:
            HubUnreachable: Nothing answers, and `options.wait_for_hub` is false.
            HandshakeRefused: The upgrade was refused.
            NotAHub: The server does not speak tidings.
            HubClosed: The hub ended the connection for good.
        """
        await self.link.wait_until(lambda: self.link.state is State.LIVE)

    async def run(self) -> None:
        """Wait until no more connections will be made, and raise the reason.

        Raises:
            ClientError: As `wait_live`; or the publisher was closed.
        """
        await self.link.wait_until(lambda: False)

    async def aclose(self) -> None:
        """Close the connection. Events without an answer may or may not be in the log."""
        await self.link.aclose()

    # Events in.

    def put(self, draft: Draft, rank: Rank, key: str | None = None) -> QueuedEvent | None:
        """Send an event, or let it wait behind those that wait.

        It is sent immediately if possible: several events put in one go, such as two steps of an operation, are not
        conflated while the hub keeps up.

        Returns:
            None if there is no room for it and no waiting event is worth less.
        """
        entry = self.queue.put(draft, rank, key)
        if entry is not None and self.queue.waiting == 1:
            self._pump()
        return entry

    def withdraw(self, entry: QueuedEvent) -> None:
        """Forget an event: it is not sent (again), and its answer is ignored."""
        self.queue.withdraw(entry)
        self.session.withdraw(entry.id)
        self.pump_soon()

    def wake(self) -> None:
        """Send what another thread has put into the queue; may be called by any thread."""
        # Waking costs a system call. It is useless until the queue is read again, and while nothing can be sent.
        if not (self._woken or self._scheduled or self._parked):
            try:
                self._woken = True
                self._loop.call_soon_threadsafe(self._pump)
            except BaseException as error:  # as Ctrl-C: the next call must try again
                self._woken = False
                if not isinstance(error, RuntimeError) or isinstance(error, RecursionError):
                    raise
                logger.debug("the loop is closed: what is in the queue stays there")

    async def wait_below(self, left: int) -> None:
        """Wait until fewer than `left` events are without a final answer."""
        while self.queue.left >= left:
            await self._wait_change()

    @property
    def backed_up(self) -> bool:
        """Whether so much waits that a reader should pause: the connected hub is slower than the source.

        False while the hub is away or cannot store events: the source may run on, and its events wait in the queue.
        """
        return self._is_backed_up(1)

    async def wait_drained(self) -> None:
        """Wait until half of the backlog is gone, or the hub is."""
        while self._is_backed_up(2):
            await self._wait_change()

    def _is_backed_up(self, part: int) -> bool:
        queue = self.queue
        if self.link.state is not State.LIVE or queue.retrying:
            return False
        return queue.waiting >= _MAX_BACKLOG // part or queue.bytes >= queue.limits.bytes // 4 // part

    async def _wait_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # Events out.

    def pump_soon(self) -> None:
        """Send what waits, in the next step of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Send a batch of what waits, after the claims that it needs."""
        self._scheduled = self._woken = False
        session = self.session
        self._parked = not session.ready
        if self._parked:
            return
        try:
            batch = self.queue.take(_BATCH)
            self._parked = self.queue.blocked
            # After `take`: an operation is held before its events are put, so their claims are among these.
            if self._holder is not None and (claims := self._holder.new_claims()):
                session.claim(claims)
            for entry in batch:
                session.publish(entry.draft, entry.id)
        except Exception as error:
            self.link.fail(error)
            return
        self.link.flush()
        if len(batch) == _BATCH:
            self.pump_soon()

    def _deliver(self, items: Sequence[Delivery]) -> None:
        for item in items:
            if isinstance(item, Settled):
                self._settle(item)
            elif self._holder is None:
                continue
            elif isinstance(item, Attached):
                self._holder.attached(item)
                self.pump_soon()
            elif isinstance(item, AttachRefused):
                self._holder.attach_refused(item.error)
            elif isinstance(item, CancelAsked):
                self._answer_cancel(self._holder, item)

    def _settle(self, item: Settled) -> None:
        entry = self.queue.in_flight(item.id)
        result = item.result
        if entry is None and item.id:
            if self._on_outcome is not None:
                self._on_outcome(item)
            return
        if entry is None:
            self._unaddressed = result
            self.queue.note_unaddressed()
        elif isinstance(result, Accepted):
            self.queue.accept(entry, result)
            self._on_settled(entry, result)
        elif isinstance(result, CommandRefused):
            self._refused(entry, result)
        for unanswered in self.queue.take_unaddressed():
            if isinstance(self._unaddressed, CommandRefused):
                self._refused(unanswered, self._unaddressed)
        self._changed.set()
        # Also while parked: a verdict may have dropped the events that waited, and `wake` would do nothing.
        if self.queue.waiting or self._parked:
            self.pump_soon()

    def _refused(self, entry: QueuedEvent, error: CommandRefused) -> None:
        if self._on_refused is not None and self._on_refused(entry, error):
            return
        if self._retry_s is None or not error.recoverable:
            self.queue.refuse(entry)
            self._on_settled(entry, error)
            return
        self.queue.give_back(entry)
        if not self._resuming:
            self._resume_later(self._retry_s)
        if self._on_retry is not None:
            self._on_retry(error)

    def _resume_later(self, delay_s: float) -> None:
        self._resuming = True
        self.link.call_later(delay_s, lambda: self._resume(delay_s))

    def _resume(self, delay_s: float) -> None:
        self._resuming = False
        if self.queue.resume():
            self._pump()
        else:
            self._resume_later(delay_s)

    def _answer_cancel(self, holder: Holder, request: CancelAsked) -> None:
        # With the operation, because a hub that restarts may number its pushes from the start again.
        key = (request.id, request.push.operation_id)
        answer = self._cancel_answers.get(key) or holder.cancel(request.push)
        if answer is None:
            return
        if len(self._cancel_answers) >= _MAX_ANSWERS:
            del self._cancel_answers[next(iter(self._cancel_answers))]
        self._cancel_answers[key] = answer
        self.session.answer_cancel(request.id, answer)
        self.link.flush()

    # The connection.

    def _link_changed(self, status: Status) -> None:
        self._changed.set()
        self.pump_soon()
        if self._on_change is not None:
            self._on_change(status)

    def _connection_lost(self, reason: CloseReason) -> None:
        self.queue.connection_lost()
        self._changed.set()
        if self._on_lost is not None:
            self._on_lost(reason)

    def _link_ended(self, failure: BaseException | None) -> None:
        self._changed.set()
        if self._on_end is not None:
            self._on_end(failure)
